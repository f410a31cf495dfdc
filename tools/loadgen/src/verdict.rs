//! Assessment of answers.

/// Assessment of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Success.
    Done,
    /// The status is a success, but the content is wrong.
    Wrong,
    /// Not found, as expected.
    Missing,
    /// Refused because of overload: 503, or 429 of SeaweedFS.
    Rejected,
    /// Any other status.
    Unexpected,
}
