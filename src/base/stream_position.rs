//! Where a stream of the records of a volume is, as it travels between threads.

use super::types::{Cookie, NeedleId};

/// Position of a stream of records: everything up to a version was read. Versions rise along the log, and a
/// compaction keeps them and their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition {
    /// Highest version of what was read; 0 for the start of the log.
    pub version: u64,
    /// The same as a place in a file, so that it need not be searched for; `None` if it is not known.
    pub place: Option<StreamPlace>,
}

/// A place in the log of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// Incarnation of the file.
    pub incarnation: u64,
    /// Offset of the next commit (bytes).
    pub offset: u64,
    /// Sequence of the commit before it.
    pub sequence: u64,
    /// Number of needles of the next commit that were read already.
    pub skip: usize,
    /// Offset of the first needle of the next commit that was not read (bytes); 0 if none was.
    pub skip_to: u64,
    /// Records up to this version were read already although they are behind the place.
    pub known: u64,
    /// The next commit, if some of its needles were read and it is known not to be torn. Neither its record
    /// nor the one after it has to be read again.
    pub commit: Option<StreamCommit>,
}

/// A commit as its record describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCommit {
    /// Its length (bytes).
    pub len: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Its sequence.
    pub sequence: u64,
    /// Number of its needles.
    pub needles: u32,
    /// Checksum of its record.
    pub checksum: u64,
}

impl StreamPosition {
    /// The start of the log.
    pub const START: Self = Self { version: 0, place: None };

    /// Returns the position after everything up to `version`.
    #[must_use]
    pub const fn after(version: u64) -> Self {
        Self { version, place: None }
    }
}

/// State of a stream in the exchange format.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeState {
    /// Random number of the stream; `None` before its first piece.
    pub stream: Option<u64>,
    /// Number of records so far.
    pub records: u64,
    /// Where it goes on in the log.
    pub at: StreamPosition,
    /// The large object whose body is being sent.
    pub body: Option<BodyPosition>,
}

impl ExchangeState {
    /// Returns the state of a stream that begins after `version`.
    #[must_use]
    pub const fn after(version: u64) -> Self {
        Self { stream: None, records: 0, at: StreamPosition::after(version), body: None }
    }
}

/// Position in the body of a large object.
#[derive(Clone, Copy, Debug)]
pub struct BodyPosition {
    /// Id of the object.
    pub id: NeedleId,
    /// Its cookie.
    pub cookie: Cookie,
    /// Its version.
    pub version: u64,
    /// Its time of modification (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Length of its body (bytes).
    pub body_len: u64,
    /// XXH3-64 of its body.
    pub body_checksum: u64,
    /// Number of bytes that were sent.
    pub offset: u64,
}
