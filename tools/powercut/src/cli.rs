//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  powercut --daemon target/release/hayloft --dir target/powercut
      all trials, with one and two shards and both ways of preallocation
  powercut --daemon target/debug/hayloft --dir target/powercut --short
      a selection that takes about a minute, as in the test suite
  powercut --daemon target/release/hayloft --dir target/powercut --cuts 500 --shards 2 \\
           --prealloc zeroed --shutdowns 0 --faults 0
      many power cuts only, with one configuration of the daemon

Needs root, loop devices, /dev/fuse, xfsprogs. A state with a violation is
kept in the directory, with the command that recreates it.
Exit codes: 0 no violation; 1 a violation, or a control without a loss; 2 the trials could not run.";

/// Cuts the power of a running daemon on XFS and checks that acknowledged writes survive.
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
pub struct Cli {
    /// Daemon to test
    #[arg(long, value_name = "PROGRAM")]
    pub daemon: PathBuf,
    /// Working directory, on a disk with some GiB free
    #[arg(long)]
    pub dir: PathBuf,
    /// Power cuts per recording
    #[arg(long, default_value_t = 40)]
    pub cuts: u64,
    /// States to verify per power cut
    #[arg(long, default_value_t = 6)]
    pub states: u64,
    /// Length of a recording in seconds
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Trials in which XFS is shut down under load
    #[arg(long, default_value_t = 8)]
    pub shutdowns: u64,
    /// Trials in which the device fails
    #[arg(long, default_value_t = 4)]
    pub faults: u64,
    /// Number of shards and volumes: 1 or 2 [default: both in turn]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=2))]
    pub shards: Option<u32>,
    /// Preallocation of volume files [default: both in turn]
    #[arg(long)]
    pub prealloc: Option<Prealloc>,
    /// Seed of everything random, except the scheduling of threads
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Run a small selection: one shard with fallocate, and two shards with zeroed
    #[arg(long)]
    pub short: bool,
    /// Also write the table to this file
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// Preallocation of volume files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Prealloc {
    Fallocate,
    Zeroed,
}

impl Prealloc {
    /// Value of the setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fallocate => "fallocate",
            Self::Zeroed => "zeroed",
        }
    }
}
