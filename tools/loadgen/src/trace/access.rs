//! A request of a trace, whatever its format.

/// What a request of a trace does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It deletes.
    Delete,
}

/// A request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// When (nanoseconds, from any beginning).
    pub time: u64,
    /// The object.
    pub id: u64,
    /// Its length (bytes).
    pub size: u64,
    /// What is done to it.
    pub action: Action,
}
