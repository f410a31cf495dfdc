//! The result of a pass.

use crate::base::types::NeedleId;

/// What a pass has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes read from the device.
    pub bytes_read: u64,
    /// Live needles and tombstones that were verified.
    pub needles: u64,
    /// Parts of multipart objects that were verified.
    pub parts: u64,
    /// Places that read differently the second time: errors that went away.
    pub healed: u64,
    /// Places that are wrong.
    pub findings: u64,
    /// Whether the index was compared with the log: not if parts of the log could not be read when the volume
    /// was opened, since the index is known to be incomplete then.
    pub is_index_compared: bool,
}

/// A needle of which only the footer can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadlessNeedle {
    /// The object that it belongs to, where that is known.
    pub owner: Option<NeedleId>,
    /// Its range in the file (bytes).
    pub start: u64,
    /// End of the range (bytes).
    pub end: u64,
}
