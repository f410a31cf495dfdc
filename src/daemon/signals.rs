//! Signals: which end the daemon, or a command that works like one, and which only cost a line.
//!
//! The handler writes to a pipe and does nothing else; the main thread reads the pipe ten times a second.

use std::io;
use std::ops::RangeInclusive;

use nix::libc::{self, SIGPWR};
use nix::sys::signal::Signal;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals as Pending;

use crate::sys;

/// Signals that drain the daemon. SIGXCPU is the warning before RLIMIT_CPU kills, SIGPWR the one of a
/// power supply or a container manager.
const STOPPING: [i32; 5] = [SIGTERM, SIGINT, SIGQUIT, SIGPWR, SIGXCPU];
/// Signals that would end the process by default, though nothing is wrong with it. SIGXFSZ is one of
/// them since the write that is too long fails as well.
const IGNORED: [i32; 7] = [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXFSZ];

/// The real-time signals that the C library leaves to programs.
fn real_time() -> RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// What a signal means to a process that is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is to stop, in order.
    Stop,
    /// Its terminal has closed (SIGHUP).
    Hangup,
    /// Nothing: it goes on.
    Nothing,
}

/// The signals that have arrived.
pub struct Signals(Pending);

impl Signals {
    /// Handles signals from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn handle() -> io::Result<Self> {
        Pending::new(all()).map(Self)
    }

    /// As [`Self::handle`], for a command: an ignored SIGHUP stays ignored, since nohup(1) relies on that.
    /// SIGINT and SIGQUIT are handled even if they are ignored, as shells have them for background jobs: a
    /// script must be able to stop the command with `kill -INT`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn handle_with_nohup() -> io::Result<Self> {
        let signals = Self::none()?;
        for number in all() {
            if number != SIGHUP || !sys::is_ignored(number)? {
                signals.0.add_signal(number)?;
            }
        }
        Ok(signals)
    }

    /// Handles none: they are the command's business that the daemon belongs to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn none() -> io::Result<Self> {
        Pending::new(<[i32; 0]>::default()).map(Self)
    }

    /// What has arrived since the last call: the name of each, and what it means. One that arrived more than
    /// once counts once.
    pub fn arrived(&mut self) -> Vec<(String, Meaning)> {
        self.0.pending().map(|number| (name_of(number), meaning(number))).collect()
    }

    /// The name of a signal that drains, if one has arrived; the others are logged.
    pub fn stop(&mut self) -> Option<String> {
        let mut stop = None;
        for (name, meaning) in self.arrived() {
            match meaning {
                Meaning::Stop => drop(stop.get_or_insert(name)),
                Meaning::Hangup => {
                    tracing::info!("received {name}: nothing is reloaded, the daemon goes on");
                }
                Meaning::Nothing => tracing::info!("received {name}: ignored, the daemon goes on"),
            }
        }
        stop
    }
}

/// All that are handled.
fn all() -> impl Iterator<Item = i32> {
    STOPPING.into_iter().chain([SIGHUP]).chain(IGNORED).chain(real_time())
}

fn meaning(number: i32) -> Meaning {
    match number {
        SIGHUP => Meaning::Hangup,
        number if STOPPING.contains(&number) => Meaning::Stop,
        _ => Meaning::Nothing,
    }
}

fn name_of(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("SIGRTMIN+{}", number - real_time().start()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_names_that_kill_knows() {
        assert_eq!(name_of(SIGHUP), "SIGHUP");
        assert_eq!(name_of(libc::SIGRTMIN() + 3), "SIGRTMIN+3");
    }

    #[test]
    fn every_signal_that_ends_a_healthy_process_is_handled() {
        // What is left: faults of the program itself, those that cannot be handled, those that stop and
        // continue a process, and those that do nothing by default.
        let faults = "SIGABRT SIGBUS SIGFPE SIGILL SIGSEGV SIGSYS SIGTRAP SIGSTKFLT";
        let unhandled = "SIGKILL SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGCONT";
        let harmless = "SIGCHLD SIGURG SIGWINCH";
        // Ignored by the runtime of Rust before main.
        let left = format!("{faults} {unhandled} {harmless} SIGPIPE");
        let handled = STOPPING.into_iter().chain([SIGHUP]).chain(IGNORED).map(name_of);
        let mut all: Vec<String> =
            handled.chain(left.split_whitespace().map(str::to_owned)).collect();
        let mut known: Vec<String> =
            Signal::iterator().map(|signal| signal.as_str().to_owned()).collect();
        all.sort();
        known.sort();
        assert_eq!(all, known);
    }
}
