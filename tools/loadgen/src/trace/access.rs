//! A request of a trace, independent of the trace format.

/// Effect of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads the object.
    Read,
    /// Writes the object.
    Write,
    /// Deletes the object.
    Delete,
}

/// A request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Time (nanoseconds, relative to any origin).
    pub time: u64,
    /// Id of the object.
    pub id: u64,
    /// Length of the object (bytes).
    pub size: u64,
    /// Effect on the object.
    pub action: Action,
}
