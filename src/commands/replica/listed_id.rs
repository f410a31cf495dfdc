//! An entry of a list of objects.

/// One of two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The first list.
    First,
    /// The second list.
    Second,
}

/// An object as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedId {
    /// Photo id.
    pub key: u64,
    /// Size variant.
    pub alt: u32,
    /// Digest of the object.
    pub digest: u64,
}
