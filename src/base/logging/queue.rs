//! The bounded queue between the threads that log and the writer thread.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;

use crate::base::limits::{LOG_BYTES_MAX, LOG_LINE_MAX, LOG_LINES_MAX};

/// Value of `end_by` without a deadline.
const NEVER: u64 = u64::MAX;

/// Queue of log lines, bounded in lines and bytes. Adding a line never blocks or fails: a line that does not
/// fit is dropped and counted.
#[derive(Debug)]
pub struct Queue {
    lines: ArrayQueue<Box<[u8]>>,
    /// Sum of the lengths of `lines` (bytes).
    bytes: AtomicUsize,
    dropped: Arc<AtomicU64>,
    /// Deadline for the end of the writer (nanoseconds of CLOCK_MONOTONIC), or [`NEVER`].
    end_by: AtomicU64,
    writer: OnceLock<Thread>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            lines: ArrayQueue::new(LOG_LINES_MAX),
            bytes: AtomicUsize::new(0),
            dropped: Arc::default(),
            end_by: AtomicU64::new(NEVER),
            writer: OnceLock::new(),
        }
    }
}

impl Queue {
    /// Adds a line, which must end with a line break. A line longer than [`LOG_LINE_MAX`] is cut.
    pub fn push(&self, line: &[u8]) {
        let mut line: Box<[u8]> = line[..line.len().min(LOG_LINE_MAX)].into();
        if let Some(last) = line.last_mut() {
            *last = b'\n';
        }
        let len = line.len();
        let before = self.bytes.fetch_add(len, Ordering::Relaxed);
        if before + len > LOG_BYTES_MAX || self.lines.push(line).is_err() {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            self.drop_lines(1);
        }
        self.wake();
    }

    /// Removes and returns the oldest line.
    pub fn pop(&self) -> Option<Box<[u8]>> {
        let line = self.lines.pop()?;
        self.bytes.fetch_sub(line.len(), Ordering::Relaxed);
        Some(line)
    }

    /// Counts `count` lines as lost.
    pub fn drop_lines(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Number of lines lost so far: because the queue was full, or because of a write error.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The counter behind [`Self::dropped`], to be read by the metrics.
    #[must_use]
    pub fn dropped_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Sets the thread to wake when a line is added. Must be called once, before the first line.
    ///
    /// # Panics
    /// If it is called twice.
    pub fn woken_by_lines(&self, writer: &Thread) {
        self.writer.set(writer.clone()).expect("a queue has one writer");
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Makes the writer end once the queue is empty, and at `time` at the latest (nanoseconds of
    /// CLOCK_MONOTONIC).
    pub fn end_by(&self, time: u64) {
        self.end_by.store(time, Ordering::Release);
        self.wake();
    }

    /// Deadline for the end of the writer (nanoseconds of CLOCK_MONOTONIC); `None` if none is set.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        Some(self.end_by.load(Ordering::Acquire)).filter(|time| *time != NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &Queue) -> usize {
        std::iter::from_fn(|| queue.pop()).count()
    }

    #[test]
    fn lines_beyond_the_line_limit_are_dropped_and_counted() {
        let queue = Queue::default();
        for n in 0..LOG_LINES_MAX + 7 {
            queue.push(format!("{n}\n").as_bytes());
        }
        assert_eq!(queue.dropped(), 7);
        assert_eq!(queue.pop().as_deref(), Some(&b"0\n"[..]));
        assert_eq!(drain(&queue), LOG_LINES_MAX - 1);
        queue.push(b"there is room again\n");
        assert_eq!((drain(&queue), queue.dropped()), (1, 7));
    }

    #[test]
    fn lines_beyond_the_byte_limit_are_dropped_and_counted() {
        let queue = Queue::default();
        let long = vec![b'x'; LOG_LINE_MAX];
        let fitting = LOG_BYTES_MAX / LOG_LINE_MAX;
        assert!(fitting < LOG_LINES_MAX, "the bound of bytes is reached before that of lines");
        for _ in 0..fitting + 3 {
            queue.push(&long);
        }
        assert_eq!(queue.dropped(), 3);
        assert_eq!(drain(&queue), fitting);
        queue.push(&long);
        assert_eq!((drain(&queue), queue.dropped()), (1, 3), "the bytes are given back");
    }

    #[test]
    fn long_line_is_truncated_and_ends_with_a_line_feed() {
        let queue = Queue::default();
        queue.push(&vec![b'x'; 2 * LOG_LINE_MAX]);
        let line = queue.pop().unwrap();
        assert_eq!((line.len(), line.last()), (LOG_LINE_MAX, Some(&b'\n')));
    }
}
