//! The end of a run that was asked to stop.

/// The task was asked to stop, so the run must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;
