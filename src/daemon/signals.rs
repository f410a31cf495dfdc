//! Signals: which end the daemon, and which only cost a line in the log.
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

/// The signals that have arrived.
pub struct Signals(Pending);

impl Signals {
    /// Handles signals from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn handle() -> io::Result<Self> {
        let named = STOPPING.into_iter().chain([SIGHUP]).chain(IGNORED);
        Pending::new(named.chain(real_time())).map(Self)
    }

    /// Handles none: they are the command's business that the daemon belongs to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn none() -> io::Result<Self> {
        Pending::new(<[i32; 0]>::default()).map(Self)
    }

    /// The name of a signal that drains, if one has arrived; the others are logged.
    pub fn stop(&mut self) -> Option<String> {
        let mut stop = None;
        for number in self.0.pending() {
            let name = name_of(number);
            if STOPPING.contains(&number) {
                stop.get_or_insert(name);
            } else if number == SIGHUP {
                tracing::info!("received {name}: nothing is reloaded, the daemon goes on");
            } else {
                tracing::info!("received {name}: ignored, the daemon goes on");
            }
        }
        stop
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
