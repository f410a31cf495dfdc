//! Contents of stable media.

use std::collections::{BTreeMap, BTreeSet};

use crate::runtime::sim::blocks::touched;
use crate::runtime::sim::pages::Pages;

/// Contents of stable media: files by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Contents of each file.
    pub files: BTreeMap<String, Pages>,
    /// Bad sectors, which can be neither read nor written, by file name and sector number.
    pub bad: BTreeSet<(String, usize)>,
    /// Sectors that cannot be read until they are written, by file name and sector number.
    pub unreadable: BTreeSet<(String, usize)>,
}

impl Image {
    /// Creates an image with one file.
    #[must_use]
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        Self { files: [(name.to_owned(), Pages::from(bytes))].into(), ..Self::default() }
    }

    /// Returns a copy of a file's bytes.
    ///
    /// # Panics
    /// When there is no such file.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.files[name].to_vec()
    }

    /// Returns a file, to be modified.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn file(&mut self, name: &str) -> &mut Pages {
        self.files.get_mut(name).expect("a file of that name")
    }

    /// Changes a file's bytes. Its allocated blocks stay the same, up to its new length.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn edit<T>(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut bytes = self.bytes(name);
        let result = change(&mut bytes);
        let mut edited = Pages::from(&bytes[..]);
        let mut allocated = self.files[name].allocated().clone();
        allocated.truncate(touched(0, bytes.len()).end);
        edited.set_allocated(allocated);
        *self.file(name) = edited;
        result
    }
}
