//! Mutants that a test reaches.

use std::time::Duration;

use super::test_process::Test;

/// What a test reaches, and how long it takes.
#[derive(Clone, Debug)]
pub struct TestCoverage {
    /// The test.
    pub test: Test,
    /// How long it takes.
    pub took: Duration,
    /// Numbers of the mistakes, ascending.
    pub reached: Vec<u32>,
}
