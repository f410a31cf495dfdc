//! One running store: shards on the data path, and the control plane beside them.

pub mod config;
pub mod control;
pub mod daemon;
pub mod datadir;
pub mod metrics;
pub mod shard;
