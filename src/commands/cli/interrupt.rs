//! Runs a command so that a signal ends it soon, even while it waits for I/O: its work has a thread of its
//! own, and the main thread polls signals and deadlines.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::output::{fail, note_at_once};
use crate::node::daemon::{Meaning, Signals};

/// Interval between polls of signals and deadlines.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Signals within this time after the first count as the same request: timeout(1) sends one to the process
/// and one to its group.
const TOGETHER: Duration = Duration::from_millis(100);
/// Time limit of [`Stage::Save`] after a signal: writing the manifest, closing volumes.
const SAVE: Duration = Duration::from_secs(10);
/// Time limit of [`Stage::Output`] after a signal: the reader of the output may have stopped reading.
const OUTPUT: Duration = Duration::from_millis(300);
/// Stack of a work thread (bytes): as large as that of a main thread by default.
const STACK: usize = 8 << 20;

/// A stage of a command, which decides how long it may go on after a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Work that can be abandoned.
    Work,
    /// Work that must not be cut short: the manifest, volumes.
    Save,
    /// Writing the last lines of output.
    Output,
}

/// The current stage of a thread.
#[derive(Clone, Debug)]
pub struct Staged(Arc<AtomicU8>);

impl Staged {
    fn at(stage: Stage) -> Self {
        Self(Arc::new(AtomicU8::new(stage as u8)))
    }

    /// Enters a stage.
    pub fn enter(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    fn stage(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            stage if stage == Stage::Work as u8 => Stage::Work,
            stage if stage == Stage::Save as u8 => Stage::Save,
            _ => Stage::Output,
        }
    }
}

/// A work thread, with the stage that it was last seen in.
struct WatchedThread {
    thread: JoinHandle<()>,
    staged: Staged,
    /// The stage at the last poll.
    stage: Stage,
    /// When that stage was first seen.
    since: Instant,
}

impl WatchedThread {
    fn start(
        stage: Stage,
        body: impl FnOnce(&Staged) -> ExitCode + Send + 'static,
        done: &Sender<ExitCode>,
    ) -> std::io::Result<Self> {
        let staged = Staged::at(stage);
        let (reported, done) = (staged.clone(), done.clone());
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            // The receiver is gone when the process is ending.
            let _ = done.send(body(&reported));
        })?;
        Ok(Self { thread, staged, stage, since: Instant::now() })
    }

    /// Returns whether the stage has exceeded its time limit after a signal at `signal`; `work_limit` is the
    /// limit of [`Stage::Work`].
    fn is_overdue(&mut self, signal: Instant, work_limit: Duration) -> bool {
        let stage = self.staged.stage();
        if stage != self.stage {
            (self.stage, self.since) = (stage, Instant::now());
        }
        let grace = match stage {
            Stage::Work => work_limit,
            Stage::Save => SAVE,
            Stage::Output => OUTPUT,
        };
        self.since.max(signal).elapsed() >= grace
    }

    /// Resumes the panic of the thread on this one, if the thread ended with one.
    fn resume_panic(self) -> Self {
        if !self.thread.is_finished() {
            return self;
        }
        match self.thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("the exit code of a thread that ended was received before"),
        }
    }
}

/// Runs `work` until it ends. The first terminating signal ([`Meaning::Stop`] or [`Meaning::Hangup`]) sets
/// `stop`, which `work` polls; if `work` is still in [`Stage::Work`] after `work_limit`, `give_up` runs
/// instead, to save what was done. A second [`Meaning::Stop`] ends the command at once, with exit code 1.
/// Other signals are reported and ignored.
///
/// The exit code is that of whichever returns first. Neither is waited for once its [`Stage`] has exceeded
/// its time limit.
pub fn run(
    mut signals: Signals,
    stop: &AtomicBool,
    work_limit: Duration,
    work: impl FnOnce(&Staged) -> ExitCode + Send + 'static,
    give_up: impl FnOnce(&Staged) -> ExitCode + Send + 'static,
) -> ExitCode {
    let (done, ended) = channel();
    let cannot = |error| fail(&format_args!("cannot start a thread: {error}; try again"));
    let mut watched = match WatchedThread::start(Stage::Work, work, &done) {
        Ok(watched) => watched,
        Err(error) => return cannot(error),
    };
    let mut give_up = Some(give_up);
    let mut first = None;
    loop {
        if let Ok(code) = ended.recv_timeout(POLL_INTERVAL) {
            return code;
        }
        if watched.thread.is_finished() {
            // The exit code may have been sent after the timeout.
            if let Ok(code) = ended.try_recv() {
                return code;
            }
            watched = watched.resume_panic();
        }
        for (name, meaning) in signals.arrived() {
            if ends_at_once(&name, meaning, first) {
                return ExitCode::FAILURE;
            }
            if meaning != Meaning::Nothing {
                stop.store(true, Ordering::Relaxed);
                first.get_or_insert_with(Instant::now);
            }
        }
        if !first.is_some_and(|first| watched.is_overdue(first, work_limit)) {
            continue;
        }
        let Some(give_up) = give_up.take().filter(|_| watched.stage == Stage::Work) else {
            note_at_once(match watched.stage {
                Stage::Output => "interrupted while its output could not be written",
                _ => {
                    "interrupted, and ended before volumes were closed or the manifest was written"
                }
            });
            return ExitCode::FAILURE;
        };
        match WatchedThread::start(Stage::Save, give_up, &done) {
            Ok(giving_up) => watched = giving_up,
            Err(error) => return cannot(error),
        }
    }
}

/// Returns whether this signal ends the command at once: a second one, after one at `first`. A signal without
/// a meaning is reported and ignored.
fn ends_at_once(name: &str, meaning: Meaning, first: Option<Instant>) -> bool {
    match meaning {
        // A shell may send SIGHUP as well as the kernel.
        Meaning::Hangup => false,
        Meaning::Stop => first.is_some_and(|first| first.elapsed() >= TOGETHER),
        Meaning::Nothing => {
            note_at_once(format_args!("received {name}: ignored, the command goes on"));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(work: impl FnOnce(&Staged) -> ExitCode + Send + 'static) -> ExitCode {
        let signals = Signals::none().unwrap();
        let give_up = |_: &Staged| unreachable!("no signal came");
        run(signals, &AtomicBool::new(false), Duration::ZERO, work, give_up)
    }

    #[test]
    fn exit_code_and_panic_of_the_work_are_passed_on() {
        assert_eq!(runs(|_| ExitCode::from(7)), ExitCode::from(7));
        let panic = std::panic::catch_unwind(|| runs(|_| panic!("at work"))).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"at work"));
    }

    #[test]
    fn only_a_later_second_stop_signal_ends_at_once() {
        let just_now = Some(Instant::now());
        let before = Instant::now().checked_sub(Duration::from_secs(1));
        for (meaning, first, is_second) in [
            (Meaning::Stop, None, false),
            (Meaning::Stop, just_now, false),
            (Meaning::Stop, before, true),
            (Meaning::Hangup, before, false),
            (Meaning::Nothing, before, false),
        ] {
            assert_eq!(
                ends_at_once("a signal", meaning, first),
                is_second,
                "{meaning:?} {first:?}"
            );
        }
    }
}
