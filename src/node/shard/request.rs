//! Requests to a volume, each with its own outcome, and the errors that all share: plain data that can be
//! sent to the shard that owns the volume and back.

use crate::base::types::{Cookie, NeedleId};
use crate::http::conditional::WriteConditions;
use crate::volume::{Draft, GetError, Needle, Refusal, Stored};

/// Extent of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadExtent {
    /// The whole needle.
    Whole,
    /// The metadata that a reply to HEAD contains.
    Head,
}

/// The dialect of a request, which decides what volumes it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Hayloft's own: it reads all volumes, and stores photos in those that belong to no cluster.
    Own,
    /// That of SeaweedFS clients: it sees only the volumes of a cluster.
    Fid,
}

/// Reads a needle. Its outcome is a [`FoundNeedle`].
#[derive(Clone, Copy)]
pub struct ReadNeedle {
    /// Key and alternate key.
    pub id: NeedleId,
    /// Cookie that the client presented; must match that of the needle.
    pub cookie: Cookie,
    /// Extent of the read.
    pub extent: ReadExtent,
    /// Dialect of the request.
    pub dialect: Dialect,
}

/// Stores a needle. Its outcome is a [`StoredNeedle`].
pub struct PutNeedle {
    /// Key and alternate key.
    pub id: NeedleId,
    /// Cookie of the new needle; must match that of an existing one.
    pub cookie: Cookie,
    /// Content.
    pub draft: Draft,
    /// Preconditions.
    pub conditions: Option<WriteConditions>,
    /// Dialect of the request.
    pub dialect: Dialect,
}

/// Stores a needle under a name that the volume picks. Its outcome is a [`StoredNeedle`].
pub struct PostNeedle {
    /// Content.
    pub draft: Draft,
}

/// Checks whether a needle could be stored. Its outcome is the preconditions.
pub struct CheckPut {
    /// Key and alternate key.
    pub id: NeedleId,
    /// Cookie that the needle would get.
    pub cookie: Cookie,
    /// Preconditions.
    pub conditions: Option<WriteConditions>,
}

/// Deletes a needle. Its outcome is empty.
pub struct DeleteNeedle {
    /// Key and alternate key.
    pub id: NeedleId,
    /// Cookie that the client presented; must match that of the needle.
    pub cookie: Cookie,
    /// Version under which the delete is sent to other nodes (nanoseconds since 1970).
    pub origin: Option<u64>,
    /// Preconditions.
    pub conditions: Option<WriteConditions>,
}

/// Deletes a needle of a volume of a cluster. Its outcome is a [`DeletedFid`].
pub struct DeleteFid {
    /// Key and alternate key.
    pub id: NeedleId,
    /// Cookie that the client presented; `None` if it need not know it.
    pub cookie: Option<Cookie>,
    /// Version that the delete has where it was made first (nanoseconds since 1970); `None` if that is here.
    pub origin: Option<u64>,
}

/// How a needle of a cluster was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletedFid {
    /// It is deleted; its size as SeaweedFS counts it (bytes).
    Deleted(u64),
    /// There is none.
    Absent,
    /// It has another cookie.
    OtherCookie,
    /// It was written later than it was deleted, and stays.
    Outdated,
}

/// Asks for the highest origin version of what a name has or had, before a change of it that is made on
/// several nodes. Its outcome is that version; 0 if none is known.
pub struct FindOrigin {
    /// Key and alternate key.
    pub id: NeedleId,
    /// Length of what is to be stored (bytes); `None` if it is to be deleted.
    pub len: Option<u64>,
}

/// Changes when a needle expires. Its outcome is empty.
pub struct SetExpiry {
    /// Key and alternate key.
    pub id: NeedleId,
    /// Cookie that the client presented; must match that of the needle.
    pub cookie: Cookie,
    /// Time at which it expires (nanoseconds since 1970); `None` for never.
    pub expires_ns: Option<u64>,
    /// Preconditions.
    pub conditions: Option<WriteConditions>,
}

/// A needle that was read.
pub struct FoundNeedle {
    /// The needle.
    pub needle: Needle,
    /// Whether the volume takes writes and is not full.
    pub is_writable: bool,
}

/// A needle that was stored.
pub struct StoredNeedle {
    /// Key and alternate key.
    pub id: NeedleId,
    /// Cookie.
    pub cookie: Cookie,
    /// Result of the write in the volume.
    pub stored: Stored,
    /// Whether the volume takes writes and is not full.
    pub is_writable: bool,
}

/// Reason why a request has no outcome.
#[derive(Debug)]
pub enum RequestError {
    /// There is no such volume.
    NoVolume,
    /// The volume is being recovered.
    Recovering,
    /// The volume could not be opened.
    NotOpened,
    /// The volume belongs to a cluster, whose clients alone store photos there.
    OfCluster,
    /// No buffer is free.
    NoBuffer,
    /// Too many messages are under way.
    Busy,
    /// The needle was not read.
    NotRead(GetError),
    /// The write was refused or failed.
    Refused(Refusal),
}

impl From<GetError> for RequestError {
    fn from(error: GetError) -> Self {
        Self::NotRead(error)
    }
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
