//! A volume on the simulated disk: what it promises, at every power cut and with every operation failing.
//!
//! All of it is one binary, because the async code of the library is compiled once more for each binary that
//! awaits it.

#[path = "../common/mod.rs"]
mod common;

mod act_first;
mod batch;
mod bit_flips;
mod checkpoints;
mod cluster_volumes;
mod compaction;
mod compaction_faults;
mod compaction_losses;
mod compaction_order;
mod compaction_rules;
mod compaction_support;
mod crash;
mod crash_states;
mod engine;
mod errors;
mod exchange;
mod expiry;
mod generation_states;
mod generations;
mod golden;
mod golden_cluster;
mod golden_large;
mod golden_losses;
mod golden_support;
mod health;
mod large;
mod losses;
mod multi_delete;
mod near_the_end;
mod no_buffer;
mod oldest_dead;
mod pull;
mod pull_support;
mod read_only;
mod record_stream;
mod regressions;
mod reserved_harness;
mod reserved_space;
mod reserved_space_crash;
mod scrub;
mod scrub_support;
mod states;
mod undelete;
mod undelete_orders;
mod undelete_support;
mod volume_support;
