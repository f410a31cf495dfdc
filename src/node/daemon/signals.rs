//! Signals: which of them stop the daemon, or a command with the same handling, and which are only logged.
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

use crate::base::sys;

/// Signals that drain the daemon. SIGXCPU is the warning before RLIMIT_CPU ends the process (setrlimit(2));
/// SIGPWR is sent for a power failure, and by container managers.
const STOPPING: [i32; 5] = [SIGTERM, SIGINT, SIGQUIT, SIGPWR, SIGXCPU];
/// Signals whose default action ends the process, although they report no fault of it. SIGXFSZ is in the
/// list because the write beyond RLIMIT_FSIZE fails with an error as well.
const IGNORED: [i32; 7] = [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXFSZ];

/// Range of the real-time signals that the C library leaves to programs (signal(7)).
fn real_time() -> RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// How the process reacts to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Stop in order.
    Stop,
    /// The terminal has closed (SIGHUP).
    Hangup,
    /// Ignored.
    Nothing,
}

/// Handler of signals; holds those that have arrived and were not read yet.
pub struct Signals(Pending);

impl Signals {
    /// Installs the handler for all handled signals.
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

    /// Handles no signals: for a daemon inside the process of a command, which handles them itself.
    ///
    /// # Errors
    /// The kernel's.
    pub fn none() -> io::Result<Self> {
        Pending::new(<[i32; 0]>::default()).map(Self)
    }

    /// Returns name and meaning of the signals that have arrived since the last call. A signal that arrived
    /// more than once is returned once.
    pub fn arrived(&mut self) -> Vec<(String, Meaning)> {
        self.0.pending().map(|number| (name_of(number), meaning(number))).collect()
    }

    /// Returns the name of a stop signal, if one has arrived since the last call; logs the other signals.
    pub fn stop(&mut self) -> Option<String> {
        let mut stop = None;
        for (name, meaning) in self.arrived() {
            match meaning {
                Meaning::Stop => drop(stop.get_or_insert(name)),
                Meaning::Hangup => {
                    tracing::info!("received {name}: nothing is reloaded, the daemon continues");
                }
                Meaning::Nothing => {
                    tracing::info!("received {name}: ignored, the daemon continues");
                }
            }
        }
        stop
    }
}

/// Numbers of all signals that are handled.
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
    fn signal_names_are_those_of_kill() {
        assert_eq!(name_of(SIGHUP), "SIGHUP");
        assert_eq!(name_of(libc::SIGRTMIN() + 3), "SIGRTMIN+3");
    }

    #[test]
    fn every_signal_that_ends_a_healthy_process_is_handled() {
        // Not handled: faults of the program itself, signals that cannot be handled, signals that stop and
        // continue a process, and signals that are ignored by default.
        let faults = "SIGABRT SIGBUS SIGFPE SIGILL SIGSEGV SIGSYS SIGTRAP SIGSTKFLT";
        let unhandled = "SIGKILL SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGCONT";
        let harmless = "SIGCHLD SIGURG SIGWINCH";
        // SIGPIPE is ignored by the Rust runtime before main.
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
