//! An import under way: how far it is, what failed, whether it goes on.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ledger::Ledger;
use super::volumes::Volumes;
use super::{ImportError, Plan};

/// Failures that are kept; the others are counted.
const FAILURES_KEPT: usize = 20;

/// Photos that are named of those that are too large; the others are counted.
pub const TOO_LARGE_NAMED: usize = 5;

/// How far an import is. Anybody may look.
#[derive(Debug, Default)]
pub struct Progress {
    /// Photos that were found.
    pub found: AtomicU64,
    /// Whether all were found.
    pub all_found: AtomicBool,
    /// Photos of the manifest.
    pub to_ask: AtomicU64,
    /// Those of them for which the store was asked.
    pub asked: AtomicU64,
    /// Photos that were stored.
    pub stored: AtomicU64,
    /// Those of them that were stored again under a URL that the manifest names.
    pub restored: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Photos of a tar that were stored without their media type, since it is that of a form.
    pub retyped: AtomicU64,
    /// Photos that were there already.
    pub present: AtomicU64,
    /// Photos of the manifest that are in the store as the manifest names them.
    pub confirmed: AtomicU64,
    /// Photos that were deleted because their files are gone.
    pub pruned: AtomicU64,
    /// Photos that were not stored.
    pub failed: AtomicU64,
    /// Set to end it early.
    pub stop: AtomicBool,
    /// What is to be said before its end.
    notices: Mutex<Vec<String>>,
    trouble: Mutex<Trouble>,
    /// Of a directory: what stands in the manifest, and where that is, once it is open.
    ledger: Mutex<Option<(Arc<Mutex<Ledger>>, PathBuf)>>,
}

impl Progress {
    /// Photos that are dealt with.
    #[must_use]
    pub fn done(&self) -> u64 {
        let counts = [&self.stored, &self.present, &self.confirmed, &self.pruned, &self.failed];
        counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Takes what is to be said before the end: sentences.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.notices))
    }

    pub(super) fn notice(&self, sentence: String) {
        locked(&self.notices).push(sentence);
    }

    /// Has [`abandon`](super::abandon) find the manifest.
    pub(super) fn keeps(&self, ledger: &Arc<Mutex<Ledger>>, manifest: &Path) {
        *locked(&self.ledger) = Some((Arc::clone(ledger), manifest.to_owned()));
    }

    /// The manifest is whole, and need not be found any more.
    pub(super) fn keeps_no_more(&self) {
        *locked(&self.ledger) = None;
    }

    /// What [`Self::keeps`] was told.
    pub(super) fn kept(&self) -> Option<(Arc<Mutex<Ledger>>, PathBuf)> {
        locked(&self.ledger).clone()
    }

    /// What came of it so far, and whether of some photo it is not known.
    pub(super) fn so_far(&self) -> (Report, bool) {
        let Trouble { failures, unknown, stopped: why } =
            std::mem::take(&mut *locked(&self.trouble));
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
    /// Which: its path, escaped, or its name in the tar.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Why an import ended early, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The same command resumes it.
    Pause(String),
    /// The tar cannot be read on, or holds what it must not: the same command would end in the same way.
    BadTar(String),
}

/// What came of an import, beside what [`Progress`] counts.
#[derive(Debug, Default)]
pub struct Report {
    /// The first of the failures.
    pub failures: Vec<Failure>,
    /// Why it ended early.
    pub stopped: Option<Stop>,
    /// Symbolic links and special files, which were passed over.
    pub special: u64,
    /// Hidden files and directories, which were passed over.
    pub hidden: u64,
    /// Photos of the manifest whose files are gone, which stay in the store.
    pub gone: u64,
    /// Where the names stand.
    pub manifest: Option<PathBuf>,
}

impl Report {
    /// Of an import that was interrupted before it began.
    pub(super) fn interrupted() -> Self {
        Self { stopped: Some(interruption()), ..Self::default() }
    }
}

fn interruption() -> Stop {
    Stop::Pause("it was interrupted".to_owned())
}

/// Locks what a panic cannot leave half done.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Trouble {
    failures: Vec<Failure>,
    /// Of some photo it is not known whether it was stored.
    unknown: bool,
    stopped: Option<Stop>,
}

/// An import under way.
pub(super) struct Run<'a> {
    pub plan: &'a Plan,
    pub progress: &'a Progress,
    pub volumes: Volumes,
    /// The largest photo that the store takes (bytes), if that is known.
    pub largest_body: Option<u64>,
}

impl<'a> Run<'a> {
    /// One that begins: the daemon answers, and says which volumes there are.
    pub fn connect(plan: &'a Plan, progress: &'a Progress) -> Result<Self, ImportError> {
        let largest_body = plan.connect()?;
        Ok(Self { plan, progress, volumes: plan.ask_volumes()?, largest_body })
    }

    /// Why a photo of this size (bytes) need not be sent, if it is known that the store does not take it.
    pub fn too_large(&self, size: u64) -> Option<String> {
        let most = self.largest_body.filter(|most| size > *most)?;
        Some(format!(
            "it has {size} bytes, and the store takes {most} at most; raise limits.largest_body in the \
             daemon's configuration, and run the same command again"
        ))
    }

    /// Says before anything is sent which photos are larger than the store takes: `count` of them, of which
    /// `names` are the first, each with its size (bytes); `which` restricts that.
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

    /// Ends it early; the first reason counts.
    pub fn stop(&self, why: String) {
        self.end_early(Stop::Pause(why));
    }

    /// The same, for a reason of either kind; without one, it was interrupted or the reason is known.
    pub fn halt(&self, why: Option<Stop>) {
        match why {
            Some(why) => self.end_early(why),
            None => self.progress.stop.store(true, Ordering::Relaxed),
        }
    }

    fn end_early(&self, why: Stop) {
        self.trouble().stopped.get_or_insert(why);
        self.progress.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it ends early.
    pub fn stopped(&self) -> bool {
        self.progress.stop.load(Ordering::Relaxed)
    }

    /// A photo could not be stored; `unknown`: or it was, and nobody knows.
    pub fn fail(&self, what: String, why: String, unknown: bool) {
        self.progress.failed.fetch_add(1, Ordering::Relaxed);
        let mut trouble = self.trouble();
        trouble.unknown |= unknown;
        if trouble.failures.len() < FAILURES_KEPT {
            trouble.failures.push(Failure { what, why });
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        locked(&self.progress.trouble)
    }
}
