//! The log of the process.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::line::panic_line;
use super::queue::Queue;
use super::writer::Writer;
use crate::base::sys;
use crate::base::threads::{Threads, name};

/// Time limit for writing the last lines at the end of the process.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// Additional time to wait for the writer thread, which checks its deadline ten times a second.
const GRACE: Duration = Duration::from_millis(200);

/// The log of the process. Dropping it writes what is queued, within about a second.
#[derive(Debug)]
pub struct Log {
    queue: Arc<Queue>,
    threads: Threads,
    /// Disconnected when the writer thread has ended.
    ended: Receiver<()>,
}

impl Log {
    /// Starts the writer thread, and installs the subscriber and the panic hook of the process.
    ///
    /// # Errors
    /// The thread cannot be started, or the process has a subscriber already.
    pub fn start(targets: Targets) -> io::Result<Self> {
        let (queue, threads) = (Arc::new(Queue::default()), Threads::default());
        let format = tracing_subscriber::fmt::layer()
            .with_writer(Lines(Arc::clone(&queue)))
            .with_ansi(io::stderr().is_terminal())
            // Internal errors would be printed to standard error directly, bypassing the queue.
            .log_internal_errors(false);
        let subscriber = tracing_subscriber::registry().with(targets).with(format);
        subscriber.try_init().map_err(io::Error::other)?;
        // Before the first thread, which may panic at once.
        let lines = Arc::clone(&queue);
        std::panic::set_hook(Box::new(move |panic| lines.push(panic_line(panic).as_bytes())));
        let (end, ended) = channel::<()>();
        let lines = Arc::clone(&queue);
        let thread = threads.spawn(name::LOG, move || {
            let _end = end;
            Writer::new(&lines, io::stderr()).run();
        })?;
        queue.woken_by_lines(thread.thread());
        Ok(Self { queue, threads, ended })
    }

    /// A log without writer thread, subscriber and panic hook, for a process that has its own logging.
    #[must_use]
    pub fn none() -> Self {
        let (_, ended) = channel();
        Self { queue: Arc::default(), threads: Threads::default(), ended }
    }

    /// The list of threads of the process, including the writer thread.
    #[must_use]
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Counter of lost lines: dropped because the queue was full, or not written because of an error.
    #[must_use]
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.queue.dropped_counter()
    }

    /// Adds a line without time and level, independent of the filter: the final message of a command.
    pub fn say(&self, sentence: &str) {
        self.queue.push(format!("{sentence}\n").as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let within = u64::try_from(FLUSH_WITHIN.as_nanos()).expect("one second fits u64");
        let is_running =
            self.ended.try_recv() == Err(TryRecvError::Empty) && !self.threads.has_ended(name::LOG);
        self.queue.end_by(sys::monotonic_ns() + within);
        if is_running {
            // The thread keeps the deadline unless a write blocks. The timeout limits the wait in that case.
            let _ = self.ended.recv_timeout(FLUSH_WITHIN + GRACE);
        } else {
            Writer::new(&self.queue, io::stderr()).run();
        }
    }
}

/// Makes writers that put formatted lines into the queue.
struct Lines(Arc<Queue>);

/// Puts formatted lines into the queue.
struct LineOut<'a>(&'a Queue);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineOut<'a>;

    fn make_writer(&'a self) -> LineOut<'a> {
        LineOut(&self.0)
    }
}

impl io::Write for LineOut<'_> {
    /// Queues one line. The formatter passes one complete line per call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
