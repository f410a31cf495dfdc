//! The contract of the data API, case by case, against the real daemon: with one shard, and with two
//! where every connection begins at the shard that does not own the volume.

mod contract_cases;
mod daemon_harness;
