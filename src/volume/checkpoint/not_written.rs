//! Why no checkpoint was written.

use crate::volume::error::IoError;

/// Reason why no checkpoint was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotWritten {
    /// An operation failed; the text names the step.
    Failed(&'static str, IoError),
    /// No buffer was available.
    NoBuffer,
    /// The checkpoint writer was stopped.
    Stopped,
}
