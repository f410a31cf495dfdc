//! State of a running import: progress, failures, and why it stops.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ledger::Ledger;
use super::volumes::Volumes;
use super::{ImportError, Plan};

/// Number of failures that are kept; further ones are only counted.
const FAILURES_KEPT: usize = 20;

/// Number of photos that are named of those that are too large; further ones are only counted.
pub const TOO_LARGE_NAMED: usize = 5;

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
        let counts = [&self.stored, &self.present, &self.confirmed, &self.pruned, &self.failed];
        counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
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
        let stopped = stopped.then(|| why.unwrap_or_else(interruption));
        (Report { failures, stopped, ..Report::default() }, unknown)
    }

    pub(super) fn stored(&self, bytes: u64) {
        self.stored.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A photo that was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The photo: its escaped path, or its name in the tar.
    pub what: String,
    /// Reason, as a sentence.
    pub why: String,
}

/// Why an import ended early, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The same command resumes it.
    Pause(String),
    /// The tar cannot be read further, or contains an invalid entry: the same command would end in the same
    /// way.
    BadTar(String),
}

/// Result of an import, in addition to the counts of [`Progress`].
#[derive(Debug, Default)]
pub struct Report {
    /// The first failures, 20 at most; [`Progress::failed`] counts all.
    pub failures: Vec<Failure>,
    /// Why it ended early, if it did.
    pub stopped: Option<Stop>,
    /// Number of symbolic links and special files, which were skipped.
    pub special: u64,
    /// Number of hidden files and directories, which were skipped.
    pub hidden: u64,
    /// Number of photos of the manifest whose files are gone, which stay in the store.
    pub gone: u64,
    /// Path of the manifest, if one was written.
    pub manifest: Option<PathBuf>,
}

impl Report {
    /// Returns the report of an import that was interrupted before it started.
    pub(super) fn interrupted() -> Self {
        Self { stopped: Some(interruption()), ..Self::default() }
    }
}

fn interruption() -> Stop {
    Stop::Pause("it was interrupted".to_owned())
}

/// Locks a mutex and ignores poisoning: a panic leaves no value behind it half changed.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Failures of an import, and why it stops.
#[derive(Debug, Default)]
struct RunOutcome {
    failures: Vec<Failure>,
    /// Whether it is unknown for some photo if it was stored.
    unknown: bool,
    stopped: Option<Stop>,
}

/// A running import.
pub(super) struct Run<'a> {
    pub plan: &'a Plan,
    pub progress: &'a Progress,
    pub volumes: Volumes,
    /// Size of the largest photo that the store takes (bytes), if known.
    pub largest_body: Option<u64>,
}

impl<'a> Run<'a> {
    /// Starts an import: checks that the daemon answers, and asks for its volumes.
    pub fn connect(plan: &'a Plan, progress: &'a Progress) -> Result<Self, ImportError> {
        let largest_body = plan.connect()?;
        Ok(Self { plan, progress, volumes: plan.ask_volumes()?, largest_body })
    }

    /// Returns why a photo of this size (bytes) is not sent, if the store is known to refuse it.
    pub fn too_large(&self, size: u64) -> Option<String> {
        let most = self.largest_body.filter(|most| size > *most)?;
        Some(format!(
            "it has {size} bytes, and the store takes {most} at most; raise limits.largest_body in the \
             daemon's configuration, and run the same command again"
        ))
    }

    /// Adds a notice, before anything is sent, about photos that are larger than the store takes: `count` of
    /// them, of which `names` are the first, each with its size (bytes); `which` is a clause that restricts
    /// the statement.
    pub fn announce_too_large(&self, count: u64, names: &[(String, u64)], which: &str) {
        let Some(most) = self.largest_body.filter(|_| count > 0) else { return };
        let named: Vec<String> =
            names.iter().map(|(name, size)| format!("{name} ({size} bytes)")).collect();
        let more = count - names.len() as u64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.progress.notice(format!(
            "larger than the store takes, and not stored{which}: {}{more}; limits.largest_body of the daemon \
             is {most} bytes: raise it, and run the same command again",
            named.join(", ")
        ));
    }

    /// Ends the import early. The first reason is reported.
    pub fn stop(&self, why: String) {
        self.end_early(Stop::Pause(why));
    }

    /// Like [`Self::stop`], for a reason of either kind; `None` if it was interrupted or the reason was
    /// recorded before.
    pub fn halt(&self, why: Option<Stop>) {
        match why {
            Some(why) => self.end_early(why),
            None => self.progress.stop.store(true, Ordering::Relaxed),
        }
    }

    fn end_early(&self, why: Stop) {
        self.outcome().stopped.get_or_insert(why);
        self.progress.stop.store(true, Ordering::Relaxed);
    }

    /// Returns whether the import is to end early.
    pub fn stopped(&self) -> bool {
        self.progress.stop.load(Ordering::Relaxed)
    }

    /// Records that a photo was not stored; with `unknown`, that it may have been stored.
    pub fn fail(&self, what: String, why: String, unknown: bool) {
        self.progress.failed.fetch_add(1, Ordering::Relaxed);
        let mut outcome = self.outcome();
        outcome.unknown |= unknown;
        if outcome.failures.len() < FAILURES_KEPT {
            outcome.failures.push(Failure { what, why });
        }
    }

    fn outcome(&self) -> MutexGuard<'_, RunOutcome> {
        locked(&self.progress.outcome)
    }
}
