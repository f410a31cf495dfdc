//! Checkpoints on the simulated disk: whatever happens to a checkpoint, recovery finds exactly what the log
//! holds.

mod checkpoint_cases;
mod common;
