//! The `hayloft` command.

use std::process::ExitCode;

use clap::Parser;
use hayloft::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
