//! The result of a comparison of two copies.

use super::difference::DifferenceKind;
use super::object_details::ObjectDetails;

/// One of the two copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparedSide {
    /// Position up to which it was compared.
    pub position: String,
    /// Number of objects.
    pub objects: u64,
    /// Number of those that cannot be read.
    pub damaged: u64,
}

/// The result of a comparison of two copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The copies.
    pub sides: [ComparedSide; 2],
    /// Number of objects that are in the first copy only.
    pub only_first: u64,
    /// Number of objects that are in the second copy only.
    pub only_second: u64,
    /// Number of objects that are in both and differ.
    pub differ: u64,
}

/// An object that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDifference {
    /// Photo id.
    pub key: u64,
    /// Size variant.
    pub alt: u32,
    /// Kind of the difference.
    pub kind: DifferenceKind,
    /// The object in the first and in the second copy.
    pub sides: [Option<ObjectDetails>; 2],
}

impl Comparison {
    /// Whether no difference was found.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.only_first + self.only_second + self.differ == 0
    }
}
