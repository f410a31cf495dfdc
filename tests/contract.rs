//! Contract tests of the data API against the real daemon: with one shard, and with two where every
//! connection starts on the shard that does not own the volume.

mod contract_cases;
mod daemon_harness;
