//! State of a running import, and how it stops.

use std::sync::atomic::Ordering;

use super::error::ImportError;
use super::plan::Plan;
use super::progress::Progress;
use super::report::{Failure, Stop};
use super::volumes::Volumes;

/// Number of failures that are kept; further ones are only counted.
const FAILURES_KEPT: usize = 20;

/// Number of photos that are named of those that are too large; further ones are only counted.
pub const TOO_LARGE_NAMED: usize = 5;

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
        self.progress.outcome().stopped.get_or_insert(why);
        self.progress.stop.store(true, Ordering::Relaxed);
    }

    /// Returns whether the import is to end early.
    pub fn stopped(&self) -> bool {
        self.progress.stop.load(Ordering::Relaxed)
    }

    /// Records that a photo was not stored; with `unknown`, that it may have been stored.
    pub fn fail(&self, what: String, why: String, unknown: bool) {
        self.progress.failed.fetch_add(1, Ordering::Relaxed);
        let mut outcome = self.progress.outcome();
        outcome.unknown |= unknown;
        if outcome.failures.len() < FAILURES_KEPT {
            outcome.failures.push(Failure { what, why });
        }
    }
}
