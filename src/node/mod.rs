//! One running store: shards on the data path, and the control plane beside them.

pub mod board;
pub mod config;
pub mod control;
pub mod daemon;
pub mod datadir;
pub mod label;
pub mod metrics;
pub mod shard;
