//! The number of an upload.

/// Identifies an upload of a volume, and may outlive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadKey(pub(in crate::volume) u64);
