//! Which version of each object was acknowledged last, where objects are overwritten under load.

use std::sync::atomic::{AtomicU64, Ordering};

/// Set while an object is being written.
const BUSY: u64 = 1 << 63;

/// The versions of all objects: the time of the write (nanoseconds since 1970), 0 for what was there before.
pub struct Versions(Vec<AtomicU64>);

impl Versions {
    /// Of so many objects.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    fn slot(&self, index: u64) -> Option<&AtomicU64> {
        self.0.get(usize::try_from(index).ok()?)
    }

    /// The oldest version that may be found from now on.
    #[must_use]
    pub fn oldest(&self, index: u64) -> u64 {
        self.slot(index).map_or(0, |slot| slot.load(Ordering::SeqCst) & !BUSY)
    }

    /// Takes an object to write it: whether nobody else does.
    #[must_use]
    pub fn begin(&self, index: u64) -> bool {
        self.slot(index).is_some_and(|slot| slot.fetch_or(BUSY, Ordering::SeqCst) & BUSY == 0)
    }

    /// It was written.
    pub fn written(&self, index: u64, version: u64) {
        if let Some(slot) = self.slot(index) {
            slot.store(version, Ordering::SeqCst);
        }
    }

    /// It was not written. When nobody knows, an object stays taken: the old and the new version will do.
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
    fn an_object_is_written_by_one_at_a_time_and_its_version_rises() {
        let versions = Versions::new(2);
        assert!(versions.begin(1) && !versions.begin(1));
        assert_eq!(versions.oldest(1), 0, "until it is acknowledged the old version will do");
        versions.written(1, 77);
        assert_eq!(versions.oldest(1), 77);
        assert!(versions.begin(1));
        versions.refused(1);
        assert!(versions.begin(1));
        assert_eq!(versions.oldest(1), 77);
        assert!(!versions.begin(2), "there is no such object");
    }
}
