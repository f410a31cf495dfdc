//! Further tests of simulated shards, by topic.

mod buffers;
mod counters;
mod deadlines;
mod drain;
mod refusals;
