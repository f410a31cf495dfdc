//! Writes the lines of the queue to a descriptor that may block, fail, or work again later.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::line::line;
use super::queue::Queue;
use crate::base::sys;

/// Length at which a batch of lines is written (bytes).
const BATCH: usize = 64 << 10;
/// Longest write (bytes): `PIPE_BUF`, up to which a write to a pipe is atomic, and does not block when
/// poll(2) reports the pipe as writable (pipe(7)).
const WRITE_LEN_MAX: usize = 4096;
/// Longest wait for a writable descriptor before the deadline is checked again (milliseconds).
const WAIT_MS: u16 = 100;
/// Pause after EAGAIN from a descriptor that poll(2) reported as writable.
const PAUSE: Duration = Duration::from_millis(10);

/// Why lines were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// The write failed. Later lines are tried again: space on a full disk may be freed.
    Failed,
    /// The deadline has passed.
    Late,
}

/// The reading end of the queue: writes the lines to `out`.
pub struct Writer<'a, F> {
    queue: &'a Queue,
    out: F,
    /// Whether the last byte written ended a line.
    at_line_start: bool,
    /// Number of dropped lines that were reported in the log.
    reported: u64,
}

impl<'a, F: AsFd> Writer<'a, F> {
    /// Creates a writer to `out`.
    pub fn new(queue: &'a Queue, out: F) -> Self {
        Self { queue, out, at_line_start: true, reported: 0 }
    }

    /// Writes lines until the queue is empty and has a deadline, or the deadline has passed.
    pub fn run(&mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // Read before the queue is emptied, so that lines queued before the deadline was set are written.
            let ends = self.queue.end().is_some();
            while batch.len() < BATCH
                && let Some(line) = self.queue.pop()
            {
                batch.extend_from_slice(&line);
            }
            let is_idle = batch.is_empty();
            if !is_idle {
                let written = self.write(&batch);
                batch.clear();
                if written == Err(Lost::Late) {
                    return;
                }
            }
            self.report_dropped();
            if is_idle && ends {
                return;
            }
            if is_idle {
                thread::park();
            }
        }
    }

    /// Logs the number of lines dropped since the last report, if there are any.
    fn report_dropped(&mut self) {
        let dropped = self.queue.dropped();
        if dropped == self.reported {
            return;
        }
        let text = format!("{} log lines dropped", dropped - self.reported);
        if self.write_all(line("WARN", &text).as_bytes()).is_ok() {
            self.reported = dropped;
        }
    }

    /// Writes `lines`; on failure counts those that were not written completely as lost.
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let result = self.write_all(lines);
        result.map_err(|(lost, rest)| {
            let count = rest.iter().filter(|byte| **byte == b'\n').count();
            self.queue.drop_lines(count as u64);
            lost
        })
    }

    /// Writes `lines`. The error holds the lines not written completely, including a partially written one.
    fn write_all<'b>(&mut self, lines: &'b [u8]) -> Result<(), (Lost, &'b [u8])> {
        if !self.at_line_start {
            // Ends a partially written line.
            self.write_piece(b"\n").map_err(|lost| (lost, lines))?;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(WRITE_LEN_MAX)];
            let whole = piece.iter().rposition(|byte| *byte == b'\n');
            let piece = whole.map_or(piece, |end| &piece[..=end]);
            let written = self.write_piece(piece).map_err(|lost| (lost, rest))?;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Writes the beginning of `piece`, and returns the number of bytes written.
    fn write_piece(&mut self, piece: &[u8]) -> Result<usize, Lost> {
        loop {
            self.wait_for_room()?;
            match write(&self.out, piece) {
                Ok(0) => return Err(Lost::Failed),
                Ok(written) => {
                    self.at_line_start = piece[written - 1] == b'\n';
                    return Ok(written);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => thread::sleep(PAUSE),
                Err(_) => return Err(Lost::Failed),
            }
        }
    }

    /// Waits until a write would not block. Lines stay in the bounded queue meanwhile.
    ///
    /// # Errors
    /// [`Lost::Late`] once the deadline has passed.
    fn wait_for_room(&self) -> Result<(), Lost> {
        loop {
            if self.queue.end().is_some_and(|end| sys::monotonic_ns() >= end) {
                return Err(Lost::Late);
            }
            let mut fds = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut fds, PollTimeout::from(WAIT_MS)) {
                Ok(0) | Err(Errno::EINTR) => {}
                // A descriptor that cannot be polled is written to without waiting.
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, pipe};
    use std::sync::Arc;
    use std::time::Instant;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    fn numbered(n: usize) -> String {
        format!("line {n} {}\n", "x".repeat(90))
    }

    fn end_within(queue: &Queue, time: Duration) {
        queue.end_by(sys::monotonic_ns() + u64::try_from(time.as_nanos()).unwrap());
    }

    /// Fills a pipe with lines without reading, then reads. Returns the text read, and the queue.
    fn through_a_full_pipe(non_blocking: bool) -> (String, Arc<Queue>) {
        let (read, out) = pipe().unwrap();
        if non_blocking {
            fcntl(&out, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        }
        let queue = Arc::new(Queue::default());
        let lines = Arc::clone(&queue);
        let writer = thread::spawn(move || Writer::new(&lines, out).run());
        queue.woken_by_lines(writer.thread());
        // More than a pipe holds (64 KiB), and less than the queue.
        for n in 0..3000 {
            queue.push(numbered(n).as_bytes());
        }
        // The writer waits for a full pipe, and must notice that the reader makes space.
        let reader = thread::spawn(move || {
            let mut text = String::new();
            { read }.read_to_string(&mut text).unwrap();
            text
        });
        end_within(&queue, Duration::from_secs(60));
        writer.join().unwrap();
        (reader.join().unwrap(), queue)
    }

    #[test]
    fn writer_waits_for_a_full_pipe_and_loses_no_line() {
        let expected: String = (0..3000).map(numbered).collect();
        for non_blocking in [false, true] {
            let (text, queue) = through_a_full_pipe(non_blocking);
            assert!(text == expected, "non-blocking: {non_blocking}; {} bytes", text.len());
            assert_eq!(queue.dropped(), 0);
        }
    }

    #[test]
    fn unread_pipe_does_not_delay_the_writer_past_its_deadline() {
        let (_read, out) = pipe().unwrap();
        let queue = Queue::default();
        (0..3000).for_each(|n| queue.push(numbered(n).as_bytes()));
        end_within(&queue, Duration::from_millis(300));
        let began = Instant::now();
        Writer::new(&queue, out).run();
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }

    #[test]
    fn failed_writes_are_counted_as_drops_and_reported_later() {
        let queue = Queue::default();
        let full = File::options().write(true).open("/dev/full").unwrap();
        queue.push(b"one\n");
        queue.push(b"two\n");
        end_within(&queue, Duration::from_secs(60));
        Writer::new(&queue, full).run();
        assert_eq!(queue.dropped(), 2);
        let (read, out) = pipe().unwrap();
        drop(read);
        queue.push(b"three\n");
        Writer::new(&queue, out).run();
        assert_eq!(queue.dropped(), 3);
        // Reports dropped lines once something can be written again, and ends a half-written line.
        let (read, out) = pipe().unwrap();
        queue.push(b"four\n");
        let mut writer = Writer::new(&queue, out);
        writer.at_line_start = false;
        writer.run();
        drop(writer);
        let mut text = String::new();
        { read }.read_to_string(&mut text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["", "four"], "{text}");
        assert!(lines[2].ends_with("3 log lines dropped") && lines.len() == 3, "{text}");
    }
}
