//! A copy of a volume on another node, as it is shown.

/// A copy of a volume on another node, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCopy {
    /// Name of the node: `HOST:PORT`.
    pub peer: String,
    /// Whether the master lists it.
    pub is_listed: bool,
    /// Whether the node answers.
    pub answers: bool,
    /// Whether it may lack something.
    pub is_behind: bool,
    /// Version up to which both nodes have everything; 0 if that is not known.
    pub mark: u64,
}
