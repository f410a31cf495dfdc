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
//! | `log` | the log of the process: starts and ends the writer thread, installs subscriber and panic hook |
//! | `line` | formats lines that do not come from the subscriber |
//! | `queue` | the bounded queue |
//! | `writer` | the loop of the writer thread |

#![expect(
    clippy::disallowed_methods,
    reason = "the log is what writes to standard error, on a thread of its own"
)]

mod line;
mod log;
mod queue;
mod writer;

pub use log::Log;
