//! Non-blocking logging: threads put lines into a bounded queue, and a writer thread writes them to standard
//! error. No thread that logs waits, fails or panics because of the output. A full disk, a closed pipe, a
//! pipe without a reader or a closed terminal only loses lines, which are counted.
//!
//! Why not `tracing-appender`: at the end it tries to queue a last message, and when the queue is full, as
//! it is without a reader, it prints to standard output, which waits for the same reader or panics; it drops
//! a line immediately when a pipe is non-blocking; its thread cannot be watched; its queue has no bound in
//! bytes.
//!
//! | file | holds |
//! | --- | --- |
//! | `queue` | the bounded queue |
//! | `writer` | the loop of the writer thread |

mod queue;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer as Text;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::base::sys;
use crate::base::threads::{Threads, name};
use queue::Queue;
use writer::Writer;

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
        std::panic::set_hook(Box::new(move |panic| lines.push(described(panic).as_bytes())));
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

/// Formats a log line as the subscriber does.
fn line(level: &str, text: &str) -> String {
    let mut line = String::new();
    // Writing to a String does not fail; a clock before 1970 is formatted, too.
    let _ = SystemTime.format_time(&mut Text::new(&mut line));
    line + &format!(" {level:>5} hayloft: {text}\n")
}

/// Formats a panic as a log line. The standard hook would write to standard error itself, and block on a pipe
/// without a reader, before the thread can end and be noticed.
fn described(panic: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let message = panic.payload_as_str().unwrap_or("a value that is no text");
    let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
    let mut text = format!("thread {thread} panicked{place}: {message}");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text += &format!("\n{backtrace}");
    }
    line("ERROR", &text)
}
