//! Coverage of one test.

use std::time::Duration;

use super::test_process::Test;

/// The mistakes that a test reaches, and its duration.
#[derive(Clone, Debug)]
pub struct TestCoverage {
    /// The test.
    pub test: Test,
    /// Its duration without a mistake.
    pub took: Duration,
    /// Numbers of the mistakes it reaches, ascending.
    pub reached: Vec<u32>,
}
