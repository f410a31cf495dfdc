//! Verdicts on answers.

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Done,
    /// The status says so, and the bytes are not what they must be.
    Wrong,
    /// Not found, as it should be.
    Missing,
    /// Too much to do: 503, or 429 of SeaweedFS.
    Rejected,
    /// Anything else.
    Unexpected,
}
