//! Why an attempt to take a photo back ended.

use super::not_undeleted::NotUndeleted;
use crate::runtime::background::Stopped;
use crate::volume::error::Refusal;
use crate::volume::scrub::steps::Interrupted;

/// Reason why an attempt to take a photo back ended without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume) enum EndedEarly {
    /// A compaction has exchanged the file: what was found in the old one does not count.
    Exchanged,
    /// It cannot be taken back.
    Not(NotUndeleted),
}

impl From<NotUndeleted> for EndedEarly {
    fn from(why: NotUndeleted) -> Self {
        Self::Not(why)
    }
}

impl From<Refusal> for EndedEarly {
    fn from(refusal: Refusal) -> Self {
        Self::Not(NotUndeleted::Refused(refusal))
    }
}

impl From<Stopped> for EndedEarly {
    fn from(_: Stopped) -> Self {
        Self::Not(NotUndeleted::Stopped)
    }
}

impl From<Interrupted> for EndedEarly {
    fn from(why: Interrupted) -> Self {
        match why {
            Interrupted::Stopped => Self::Not(NotUndeleted::Stopped),
            Interrupted::Compacting => Self::Exchanged,
        }
    }
}
