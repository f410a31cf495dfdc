//! Statistics of the measurements: `cargo xtask bench` and `cargo xtask compaction`.

mod estimate;
mod random;

pub use estimate::{Estimate, estimate, median};
pub use random::split_mix;
