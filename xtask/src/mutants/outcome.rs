//! What became of a mistake.

use std::fmt;
use std::time::Duration;

/// What became of a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does not compile.
    NotBuilt,
    /// No test reaches it.
    NotReached,
    /// A test failed.
    Caught {
        /// The test, or its binary.
        by: String,
    },
    /// A test did not end.
    Hung {
        /// The test, or its binary.
        by: String,
    },
    /// All tests passed.
    Survived {
        /// Tests that were run,
        tests: usize,
        /// and that also reach it, and were not, because the budget was used up.
        left_out: usize,
    },
}

impl Outcome {
    /// Whether no test noticed it.
    #[must_use]
    pub fn is_survivor(&self) -> bool {
        matches!(self, Self::NotReached | Self::Survived { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt => f.write_str("does not compile"),
            Self::NotReached => f.write_str("no test reaches it"),
            Self::Caught { by } => write!(f, "noticed by {by}"),
            Self::Hung { by } => write!(f, "noticed by {by}, which hung"),
            Self::Survived { tests, left_out: 0 } => write!(f, "{tests} tests passed"),
            Self::Survived { tests, left_out } => {
                write!(f, "{tests} tests passed, {left_out} were not run within the budget")
            }
        }
    }
}

/// The result of one mistake.
#[derive(Clone, Debug)]
pub struct MutantResult {
    /// What became of it.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
}
