//! Why the daemon stops, and how it ended.

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal arrived, and the daemon drained.
    Drained,
    /// Every volume is poisoned, read-only or failed, and at least one is poisoned.
    Poisoned,
    /// No volume could be opened.
    NothingToServe,
    /// A thread ended without being asked to.
    ThreadLost,
}

/// Why the daemon stops.
#[derive(Debug)]
pub(super) enum Reason {
    /// A signal arrived: its name.
    Signal(String),
    /// A thread ended without being asked to: its name.
    ThreadEnded(String),
    /// See [`Ended::NothingToServe`].
    NothingToServe,
    /// See [`Ended::Poisoned`].
    Poisoned,
}

impl Reason {
    /// Logs the reason.
    pub(super) fn log(&self) {
        match self {
            Self::Signal(signal) => tracing::info!("received {signal}: draining"),
            Self::ThreadEnded(thread) => tracing::error!(
                "thread {thread} ended by itself, which is a fault of the program: stopping, so that a \
                 restart can help"
            ),
            Self::NothingToServe => tracing::error!("no volume could be opened: stopping"),
            Self::Poisoned => tracing::error!(
                "no volume takes writes any more: stopping, so that a restart can help"
            ),
        }
    }

    /// How a daemon that stops for this reason has ended, if the drain succeeds.
    pub(super) fn ended(&self) -> Ended {
        match self {
            Self::Signal(_) => Ended::Drained,
            Self::ThreadEnded(_) => Ended::ThreadLost,
            Self::NothingToServe => Ended::NothingToServe,
            Self::Poisoned => Ended::Poisoned,
        }
    }
}
