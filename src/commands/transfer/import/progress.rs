//! Progress of an import, shared by its threads and those that display it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ledger::Ledger;
use super::report::{Failure, Report, Stop};

/// Progress of an import, shared by its threads and those that display it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Photos that were found.
    pub found: AtomicU64,
    /// Whether the search for photos is complete.
    pub all_found: AtomicBool,
    /// Photos of the manifest for which the store is to be asked.
    pub to_ask: AtomicU64,
    /// Photos of the manifest for which the store was asked.
    pub asked: AtomicU64,
    /// Photos that were stored.
    pub stored: AtomicU64,
    /// Stored photos that were lost before and were stored again under their URL in the manifest.
    pub restored: AtomicU64,
    /// Total size of the stored photos (bytes).
    pub bytes: AtomicU64,
    /// Photos of a tar that were stored without their media type, since it is that of a form.
    pub retyped: AtomicU64,
    /// Photos of a tar that were left out, since they have expired.
    pub expired: AtomicU64,
    /// Photos of a tar that the store already had.
    pub present: AtomicU64,
    /// Photos of a directory that the store already had.
    pub confirmed: AtomicU64,
    /// Photos that were deleted because their files are gone.
    pub pruned: AtomicU64,
    /// Photos that were not stored.
    pub failed: AtomicU64,
    /// Stop flag: set to end the import early.
    pub stop: AtomicBool,
    /// Sentences to be printed while the import runs.
    notices: Mutex<Vec<String>>,
    outcome: Mutex<RunOutcome>,
    /// For a directory: the ledger while it is open, and the path of its manifest.
    ledger: Mutex<Option<(Arc<Mutex<Ledger>>, PathBuf)>>,
}

impl Progress {
    /// Returns the number of photos that need no more work.
    #[must_use]
    pub fn done(&self) -> u64 {
        let there = [&self.present, &self.confirmed];
        let gone = [&self.expired, &self.pruned, &self.failed];
        let counts = [&self.stored].into_iter().chain(there).chain(gone);
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Takes the sentences that are to be printed while the import runs.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.notices))
    }

    pub(super) fn notice(&self, sentence: String) {
        locked(&self.notices).push(sentence);
    }

    /// Sets the ledger that [`abandon`](super::abandon) writes to `manifest`.
    pub(super) fn set_ledger(&self, ledger: &Arc<Mutex<Ledger>>, manifest: &Path) {
        *locked(&self.ledger) = Some((Arc::clone(ledger), manifest.to_owned()));
    }

    /// Drops the reference to the ledger, after its manifest was written.
    pub(super) fn clear_ledger(&self) {
        *locked(&self.ledger) = None;
    }

    /// Returns the ledger and manifest of [`Self::set_ledger`].
    pub(super) fn open_ledger(&self) -> Option<(Arc<Mutex<Ledger>>, PathBuf)> {
        locked(&self.ledger).clone()
    }

    /// Takes the result so far, and whether it is unknown for some photo if it was stored.
    pub(super) fn so_far(&self) -> (Report, bool) {
        let RunOutcome { failures, unknown, stopped: why } =
            std::mem::take(&mut *locked(&self.outcome));
        let stopped = self.stop.load(Ordering::Relaxed);
        let stopped = stopped.then(|| why.unwrap_or_else(Stop::interrupted));
        (Report { failures, stopped, ..Report::default() }, unknown)
    }

    /// Returns the failures so far, locked.
    pub(super) fn outcome(&self) -> MutexGuard<'_, RunOutcome> {
        locked(&self.outcome)
    }

    /// Counts a photo of this size (bytes) as stored.
    pub(super) fn stored(&self, bytes: u64) {
        self.stored.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Failures of an import, and why it stops.
#[derive(Debug, Default)]
pub(super) struct RunOutcome {
    pub failures: Vec<Failure>,
    /// Whether it is unknown for some photo if it was stored.
    pub unknown: bool,
    pub stopped: Option<Stop>,
}

/// Locks a mutex and ignores poisoning: a panic leaves no value behind it half changed.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
