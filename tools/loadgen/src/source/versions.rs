//! Last acknowledged version of each object, for loads that overwrite objects.

use std::sync::atomic::{AtomicU64, Ordering};

/// Flag of an object with a write in flight.
const BUSY: u64 = 1 << 63;

/// Versions of all objects: the time of the write (nanoseconds since 1970), 0 for the version of the fill.
pub struct Versions(Vec<AtomicU64>);

impl Versions {
    /// Creates version 0 for `count` objects.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    fn slot(&self, index: u64) -> Option<&AtomicU64> {
        self.0.get(usize::try_from(index).ok()?)
    }

    /// Oldest version that a read may return from now on.
    #[must_use]
    pub fn oldest(&self, index: u64) -> u64 {
        self.slot(index).map_or(0, |slot| slot.load(Ordering::SeqCst) & !BUSY)
    }

    /// Reserves an object for a write; returns whether it was free.
    #[must_use]
    pub fn begin(&self, index: u64) -> bool {
        self.slot(index).is_some_and(|slot| slot.fetch_or(BUSY, Ordering::SeqCst) & BUSY == 0)
    }

    /// Releases an object after an acknowledged write.
    pub fn written(&self, index: u64, version: u64) {
        if let Some(slot) = self.slot(index) {
            slot.store(version, Ordering::SeqCst);
        }
    }

    /// Releases an object after a write that was not applied. After an unknown effect it stays reserved:
    /// reads may return the old or the new version.
    pub fn refused(&self, index: u64) {
        if let Some(slot) = self.slot(index) {
            slot.fetch_and(!BUSY, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_one_writer_at_a_time_and_its_version_rises() {
        let versions = Versions::new(2);
        assert!(versions.begin(1) && !versions.begin(1));
        assert_eq!(
            versions.oldest(1),
            0,
            "the old version is valid until the write is acknowledged"
        );
        versions.written(1, 77);
        assert_eq!(versions.oldest(1), 77);
        assert!(versions.begin(1));
        versions.refused(1);
        assert!(versions.begin(1));
        assert_eq!(versions.oldest(1), 77);
        assert!(!versions.begin(2), "the object does not exist");
    }
}
