//! The `hayloft-loadgen` command: fills, loads and stress-tests Hayloft and other servers, verifies every
//! byte, and measures without coordinated omission. Usage: `tools/loadgen/README.md`.

mod batch;
mod buffers;
mod cli;
mod connection;
mod content;
mod error;
mod flood;
mod load;
mod object;
mod operation;
mod permutation;
mod plan;
mod popularity;
mod progress;
mod random;
mod reactor;
mod receive;
mod record;
mod reply;
mod report;
mod schedule;
mod sizes;
mod source;
mod stats;
mod target;
mod trace;
mod tree;
mod verdict;
mod worker;
mod zipf;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hayloft-loadgen: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
