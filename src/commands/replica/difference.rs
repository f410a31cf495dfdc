//! A difference between two lists.

/// Kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// The object is in the first list only.
    OnlyFirst,
    /// The object is in the second list only.
    OnlySecond,
    /// The digests differ.
    Differs,
}

/// A difference between two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Photo id.
    pub key: u64,
    /// Size variant.
    pub alt: u32,
    /// Kind of the difference.
    pub kind: DifferenceKind,
    /// What was noted of the object in the first and in the second list; 0 where it is not.
    pub notes: [u64; 2],
}
