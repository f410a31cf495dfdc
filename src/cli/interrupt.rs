//! A command that signals end soon, whatever it waits for: its work has a thread of its own, and the main
//! thread looks after signals and clocks.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::fail;
use super::output::note_at_once;
use crate::daemon::{Meaning, Signals};

/// How often to look for signals.
const LOOK: Duration = Duration::from_millis(50);
/// Signals that come this close behind the first are the same wish: timeout(1) sends to the process and to
/// its group.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long what must not be cut short may take: writing down what was done, closing volumes.
const SAVE: Duration = Duration::from_secs(10);
/// How long the last lines may take to be written: maybe nobody reads them.
const TELL: Duration = Duration::from_millis(300);
/// The work's stack, as large as that of a main thread by default (bytes).
const STACK: usize = 8 << 20;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Work that can be left where it is.
    Work,
    /// What must not be cut short.
    Save,
    /// The last lines are written.
    Tell,
}

/// The stage that a thread has come to.
#[derive(Clone, Debug)]
pub struct Staged(Arc<AtomicU8>);

impl Staged {
    fn at(stage: Stage) -> Self {
        Self(Arc::new(AtomicU8::new(stage as u8)))
    }

    /// Goes on to a stage.
    pub fn enter(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    fn stage(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            stage if stage == Stage::Work as u8 => Stage::Work,
            stage if stage == Stage::Save as u8 => Stage::Save,
            _ => Stage::Tell,
        }
    }
}

/// A thread, and what is known of how far it is.
struct Looked {
    thread: JoinHandle<()>,
    staged: Staged,
    /// Where it was at the last look, and since when.
    stage: Stage,
    since: Instant,
}

impl Looked {
    fn start(
        stage: Stage,
        body: impl FnOnce(&Staged) -> ExitCode + Send + 'static,
        done: &Sender<ExitCode>,
    ) -> std::io::Result<Self> {
        let staged = Staged::at(stage);
        let (reported, done) = (staged.clone(), done.clone());
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            // Nobody listens any more when the process ends.
            let _ = done.send(body(&reported));
        })?;
        Ok(Self { thread, staged, stage, since: Instant::now() })
    }

    /// Whether its stage has lasted longer than it may after a signal at `signal`; work may take `patience`.
    fn is_overdue(&mut self, signal: Instant, patience: Duration) -> bool {
        let stage = self.staged.stage();
        if stage != self.stage {
            (self.stage, self.since) = (stage, Instant::now());
        }
        let grace = match stage {
            Stage::Work => patience,
            Stage::Save => SAVE,
            Stage::Tell => TELL,
        };
        self.since.max(signal).elapsed() >= grace
    }

    /// Ends the process as a panic of its thread says, if it ended so.
    fn resume_panic(self) -> Self {
        if !self.thread.is_finished() {
            return self;
        }
        match self.thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("its exit code was received before"),
        }
    }
}

/// Runs `work` until it ends. The first signal that ends it (SIGINT, SIGTERM and their like, or SIGHUP) sets
/// `stop`, which `work` looks at; if it still works when `patience` is over, `give_up` is run instead, to
/// save what was done. A second signal ends the command at once, with exit code 1. The others cost a line.
///
/// Both end the process with the exit code that they return; none is waited for once its [`Stage`] has had
/// its time.
pub fn run(
    mut signals: Signals,
    stop: &AtomicBool,
    patience: Duration,
    work: impl FnOnce(&Staged) -> ExitCode + Send + 'static,
    give_up: impl FnOnce(&Staged) -> ExitCode + Send + 'static,
) -> ExitCode {
    let (done, ended) = channel();
    let cannot = |error| fail(&format_args!("cannot start a thread: {error}; try again"));
    let mut looked = match Looked::start(Stage::Work, work, &done) {
        Ok(looked) => looked,
        Err(error) => return cannot(error),
    };
    let mut give_up = Some(give_up);
    let mut first = None;
    loop {
        if let Ok(code) = ended.recv_timeout(LOOK) {
            return code;
        }
        if looked.thread.is_finished() {
            // Its code may have come since.
            if let Ok(code) = ended.try_recv() {
                return code;
            }
            looked = looked.resume_panic();
        }
        for (name, meaning) in signals.arrived() {
            if is_last(&name, meaning, first) {
                return ExitCode::FAILURE;
            }
            if meaning != Meaning::Nothing {
                stop.store(true, Ordering::Relaxed);
                first.get_or_insert_with(Instant::now);
            }
        }
        if !first.is_some_and(|first| looked.is_overdue(first, patience)) {
            continue;
        }
        let Some(give_up) = give_up.take().filter(|_| looked.stage == Stage::Work) else {
            note_at_once(match looked.stage {
                Stage::Tell => "interrupted while its output could not be written",
                _ => {
                    "interrupted, and ended before volumes were closed or the manifest was written"
                }
            });
            return ExitCode::FAILURE;
        };
        match Looked::start(Stage::Save, give_up, &done) {
            Ok(giving_up) => looked = giving_up,
            Err(error) => return cannot(error),
        }
    }
}

/// Whether a signal is the second one that ends the command, after one at `first`. What means nothing costs
/// a line.
fn is_last(name: &str, meaning: Meaning, first: Option<Instant>) -> bool {
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
    fn the_code_of_the_work_is_that_of_the_command_and_its_panic_too() {
        assert_eq!(runs(|_| ExitCode::from(7)), ExitCode::from(7));
        let panic = std::panic::catch_unwind(|| runs(|_| panic!("at work"))).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"at work"));
    }

    #[test]
    fn a_second_signal_is_one_that_does_not_come_with_the_first() {
        let just_now = Some(Instant::now());
        let before = Instant::now().checked_sub(Duration::from_secs(1));
        for (meaning, first, is_second) in [
            (Meaning::Stop, None, false),
            (Meaning::Stop, just_now, false),
            (Meaning::Stop, before, true),
            (Meaning::Hangup, before, false),
            (Meaning::Nothing, before, false),
        ] {
            assert_eq!(is_last("a signal", meaning, first), is_second, "{meaning:?} {first:?}");
        }
    }
}
