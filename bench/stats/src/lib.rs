//! Statistics of the measurements: `cargo xtask bench` and `cargo xtask compaction`.

mod estimate;

pub use estimate::{Estimate, estimate, median};
