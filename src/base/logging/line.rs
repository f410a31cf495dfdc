//! Log lines that do not come from the subscriber: panics, and lines about the log itself.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::thread;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Formats a log line as the subscriber does.
pub fn line(level: &str, text: &str) -> String {
    let mut line = String::new();
    // Writing to a String does not fail; a clock before 1970 is formatted, too.
    let _ = SystemTime.format_time(&mut Writer::new(&mut line));
    line + &format!(" {level:>5} hayloft: {text}\n")
}

/// Formats a panic as a log line. The standard hook would write to standard error itself, and block on a pipe
/// without a reader, before the thread can end and be noticed.
pub fn panic_line(panic: &PanicHookInfo<'_>) -> String {
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
