//! Why the log ends where it does.

/// Reason why the log ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A hint says that nothing follows: the volume was closed cleanly.
    Closed,
    /// Nothing follows: the process was killed or the power failed while nothing was being written.
    Open,
    /// The last commit was being written and was not acknowledged. Its complete needles stay.
    Torn {
        /// Number of needles that stay.
        kept: u32,
    },
}
