//! Large bodies, stored in the log as parts and a manifest: their guarantees without crashes, and under
//! single faults.

mod common;
mod large_cases;
