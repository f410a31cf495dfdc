//! A run of pages that is in use.

use std::sync::Arc;

use super::region::{Pages, Region};

/// A run of pages that is in use. Several copies may describe the same run; one of them is responsible for
/// returning it, by [`Self::give_back`].
#[derive(Clone)]
pub struct Run {
    region: Arc<Region>,
    pool: u16,
    pages: Pages,
}

impl Run {
    /// The run of `pages`, which the allocator of pool `pool` of `region` has taken.
    pub fn new(region: &Arc<Region>, pool: u16, pages: Pages) -> Self {
        Self { region: Arc::clone(region), pool, pages }
    }

    /// Length (bytes).
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Index of the fixed buffer (see [`Region::registrations`]) that contains the run.
    pub fn registration(&self) -> u16 {
        Pages::registration(&self.region, usize::from(self.pool))
    }

    /// Address of byte `at`.
    ///
    /// # Panics
    /// When `at` is above the length.
    pub fn address(&self, at: usize) -> *mut u8 {
        self.pages.address(&self.region, at)
    }

    /// Returns the pages to their pool. Nothing may access them afterwards.
    pub fn give_back(&self) {
        self.pages.give_back(&self.region, usize::from(self.pool));
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Pages { first, count } = self.pages;
        write!(f, "{count} pages at {first} of pool {}", self.pool)
    }
}
