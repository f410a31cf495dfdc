//! `cargo xtask compaction` and `cargo xtask health`: measure compactions and scrubs on a file system of
//! their own, and record the figures.

mod admin;
mod amounts;
mod blocks;
mod command;
mod copy;
mod counters;
mod erased;
mod found;
mod idle;
mod ill_disk;
mod ill_node;
mod index;
mod latencies;
mod lists;
mod load;
mod measurement;
mod options;
mod outcome;
mod part;
mod planted;
mod pulls;
mod reads;
mod refill;
mod report;
mod scene;
mod slow_disk;
mod steady;
mod streams;
mod swaps;
mod work;

pub use command::{compaction, health};
