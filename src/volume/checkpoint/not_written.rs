//! Why no checkpoint was written.

use crate::runtime::background::{NoWorkBuffer, Stopped};
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

impl From<Stopped> for NotWritten {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<NoWorkBuffer> for NotWritten {
    fn from(why: NoWorkBuffer) -> Self {
        match why {
            NoWorkBuffer::NoneFree => Self::NoBuffer,
            NoWorkBuffer::Stopped => Self::Stopped,
        }
    }
}
