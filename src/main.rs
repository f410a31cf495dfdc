//! The `hayloft` command.

use std::process::ExitCode;

use clap::Parser;
use hayloft::cli::{Cli, Command, ServeArgs};
use hayloft::daemon::{self, Ended};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve(args),
    }
}

fn serve(args: ServeArgs) -> ExitCode {
    let config = match args.into_config() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let filter = match tracing_subscriber::EnvFilter::try_new(&config.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("hayloft: log = {:?} is no filter: {error}", config.log);
            return ExitCode::from(2);
        }
    };
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .init();
    match daemon::serve(&config) {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Poisoned | Ended::NothingToServe | Ended::ShardLost) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("hayloft: {error}");
    ExitCode::from(2)
}
