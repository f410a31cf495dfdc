//! The commands.

use clap::{Parser, Subcommand};

use super::{fill, flood, record, replay, run};
use crate::error::Error;

const EXIT_CODES: &str = "\
Exit codes: 0 every answer was as it should be; 1 some were not, or the load could not run; 2 wrong usage. A
refusal (503, 429) is as it should be, unless an object could not be filled for it.";

/// Fills, loads and torments Hayloft and its peers, verifies every byte, and measures without coordinated
/// omission.
#[derive(Debug, Parser)]
#[command(name = "hayloft-loadgen", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Store objects, as a start for the other commands
    Fill(fill::FillArgs),
    /// Read, write and delete objects that were filled
    Run(run::RunArgs),
    /// Replay a trace of another system, or of `record`
    Replay(replay::ReplayArgs),
    /// Turn the daemon's access trace into one that `replay` reads
    Record(record::RecordArgs),
    /// Behave badly as a client, many times at once
    Flood(flood::FloodArgs),
}

impl Cli {
    /// Runs the command: whether every answer was as it should be.
    ///
    /// # Errors
    /// When it could not run.
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
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
