//! `cargo xtask compaction`: measures compactions on a file system of its own, and records the figures.

mod admin;
mod amounts;
mod blocks;
mod command;
mod copy;
mod counters;
mod erased;
mod idle;
mod index;
mod latencies;
mod load;
mod options;
mod outcome;
mod part;
mod reads;
mod refill;
mod report;
mod scene;
mod steady;
mod swaps;

pub use command::compaction;
