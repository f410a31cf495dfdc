//! The object that a request names.

use crate::base::types::{Cookie, NeedleId, VolumeId};

/// The object that a request names.
#[derive(Clone, Copy)]
pub struct ObjectName {
    /// Volume id.
    pub volume: VolumeId,
    /// Key and alternate key of the needle.
    pub id: NeedleId,
    /// Cookie that the client presented.
    pub cookie: Cookie,
}
