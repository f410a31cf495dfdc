//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  powercut --daemon target/release/hayloft --dir target/powercut
      all trials, with one and two shards and both ways of preallocation
  powercut --daemon target/debug/hayloft --dir target/powercut --short
      a selection that takes about a minute, as in the test suite
  powercut --daemon target/release/hayloft --dir target/powercut --compact
      cuts, kills and shutdowns while volumes are compacted
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
    /// Compact the volumes under load, again and again, and stop in the middle of it
    #[arg(long)]
    pub compact: bool,
    /// Power cuts per recording; with --compact: in all [default with --compact: 200]
    #[arg(long, default_value_t = 40, default_value_if("compact", "true", "200"))]
    pub cuts: u64,
    /// States to verify per power cut [default with --compact: 3]
    #[arg(long, default_value_t = 6, default_value_if("compact", "true", "3"))]
    pub states: u64,
    /// Length of a recording in seconds [default with --compact: 10]
    #[arg(long, default_value_t = 2.0, default_value_if("compact", "true", "10"))]
    pub seconds: f64,
    /// Trials in which XFS is shut down under load [default with --compact: 20, in all]
    #[arg(long, default_value_t = 8, default_value_if("compact", "true", "20"))]
    pub shutdowns: u64,
    /// Trials in which the daemon is killed, in all; only with --compact
    #[arg(long, default_value_t = 20)]
    pub kills: u64,
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

impl Cli {
    /// Sets the numbers of the short run.
    pub fn shorten(&mut self) {
        if self.compact {
            (self.cuts, self.states, self.seconds) = (6, 2, 1.0);
            (self.shutdowns, self.kills) = (2, 2);
        } else {
            (self.cuts, self.states, self.seconds) = (5, 3, 1.0);
            (self.shutdowns, self.faults) = (10, 1);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(flags: &[&str]) -> Cli {
        let args = ["powercut", "--daemon", "hayloft", "--dir", "work"];
        let mut cli = Cli::parse_from(args.iter().chain(flags));
        if cli.short {
            cli.shorten();
        }
        cli
    }

    #[test]
    fn compactions_have_defaults_of_their_own() {
        let amounts = |flags| {
            let Cli { cuts, states, kills, shutdowns, .. } = parsed(flags);
            (cuts, states, kills, shutdowns)
        };
        assert_eq!(amounts(&[]), (40, 6, 20, 8));
        assert_eq!(amounts(&["--compact"]), (200, 3, 20, 20));
        assert_eq!(amounts(&["--compact", "--cuts", "7", "--kills", "0"]), (7, 3, 0, 20));
        assert_eq!(amounts(&["--compact", "--short"]), (6, 2, 2, 2));
    }
}
