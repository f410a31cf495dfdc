//! The name of a collection.

use std::fmt;
use std::sync::Arc;

/// Largest length of a name (bytes).
pub const COLLECTION_MAX: usize = 255;

/// The collection that a volume belongs to: a group of volumes that are assigned and deleted together, such
/// as those of a bucket. The default collection has the empty name.
///
/// A name has at most 255 bytes of UTF-8. It has no slash and no control character, so that it is one
/// unambiguous word in a path, a table and a log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Collection(Arc<str>);

impl Collection {
    /// Returns the collection of this name; `None` if no collection can have it.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_fit = |character: char| !character.is_control() && character != '/';
        let fits = name.len() <= COLLECTION_MAX && name.chars().all(is_fit);
        fits.then(|| Self(name.into()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_has_no_slash_and_no_control_character() {
        for name in
            ["", "photos", "my-bucket.2", "Fotos von heute", "\u{5199}\u{771f}", &"x".repeat(255)]
        {
            assert_eq!(Collection::new(name).unwrap().as_str(), name);
        }
        for name in ["a/b", "/", "a\0", "a\nb", "a\u{7f}", "a\u{85}", &"x".repeat(256)] {
            assert_eq!(Collection::new(name), None, "{name:?}");
        }
        assert_eq!(Collection::default().to_string(), "");
    }
}
