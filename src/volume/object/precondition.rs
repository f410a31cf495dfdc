//! Preconditions of a write.

/// Properties of the needle that a write would supersede.
#[derive(Clone, Copy, Debug)]
pub struct Existing {
    /// Entity tag: XXH3-64 of its body.
    pub etag: u64,
    /// Time of modification (nanoseconds since 1970).
    pub modified_ns: u64,
}

/// A precondition of a write. Receives what would be superseded (`None` when the id is new) and returns
/// whether it holds.
pub type Check<'a> = Option<&'a dyn Fn(Option<&Existing>) -> bool>;
