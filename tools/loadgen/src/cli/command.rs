//! The subcommands.

use clap::{Parser, Subcommand};

use super::{fill, flood, record, replay, run};
use crate::error::Error;

const EXIT_CODES: &str = "\
Exit codes: 0 every answer was correct; 1 some were not, or the load could not run; 2 wrong usage. A refusal
(503, 429) is correct, unless an object of a fill could not be stored because of it.";

/// Fills, loads and stress-tests Hayloft and other servers, verifies every byte, and measures latency without
/// coordinated omission.
#[derive(Debug, Parser)]
#[command(name = "hayloft-loadgen", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Store objects for the other commands to use
    Fill(fill::FillArgs),
    /// Read, write and delete stored objects
    Run(run::RunArgs),
    /// Replay a trace of another system, or one made with `record`
    Replay(replay::ReplayArgs),
    /// Convert the daemon's access trace to the format that `replay` reads
    Record(record::RecordArgs),
    /// Open many connections that misbehave
    Flood(flood::FloodArgs),
}

impl Cli {
    /// Runs the command; returns whether every answer was correct.
    ///
    /// # Errors
    /// When the command could not run.
    pub fn run(self) -> Result<bool, Error> {
        match self.command {
            Command::Fill(args) => args.run(),
            Command::Run(args) => args.run(),
            Command::Replay(args) => args.run(),
            Command::Record(args) => args.run(),
            Command::Flood(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_definitions_pass_clap_debug_assert() {
        Cli::command().debug_assert();
    }
}
