//! Outcome of a mistake: noticed by a test or not.

use std::fmt;
use std::time::Duration;

/// Outcome of a mistake.
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
    /// A test exceeded its time limit.
    Hung {
        /// The test, or its binary.
        by: String,
    },
    /// All tests passed.
    Survived {
        /// Number of tests that were run.
        tests: usize,
        /// Number of further tests that reach it and were not run, because the budget was used up.
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

/// Outcome of one mistake, and its cost.
#[derive(Clone, Debug)]
pub struct MutantResult {
    /// The outcome.
    pub outcome: Outcome,
    /// Duration of its tests.
    pub took: Duration,
}
