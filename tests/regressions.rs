//! Regression tests of the engine, one per fixed bug.

mod common;
mod regression_cases;
