//! Further tests of simulated shards, by topic.

mod counters;
mod refusals;
