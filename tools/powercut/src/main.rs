//! Cuts the power of a running daemon on XFS and checks that acknowledged writes survive. Started by
//! `cargo xtask powercut`.

mod cli;
mod compaction;
mod cuts;
mod daemon;
mod error;
mod faults;
mod findings;
mod history;
mod http;
mod load;
mod plain_bed;
mod read;
mod record;
mod report;
mod shutdown;
mod test_bed;
mod total;
mod trials;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::report::{Row, phase_table, table};

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    if cli.short {
        cli.shorten();
    }
    let ran = if cli.compact { compaction::trials::run_all(&cli) } else { trials::run_all(&cli) };
    let rows = match ran {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("powercut: {error}");
            return ExitCode::from(2);
        }
    };
    let text = table(&rows) + &phase_table(&rows);
    println!("\n{text}");
    if let Some(path) = &cli.record
        && let Err(error) = std::fs::write(path, &text)
    {
        eprintln!("powercut: cannot write {}: {error}", path.display());
        return ExitCode::from(2);
    }
    if rows.iter().all(Row::is_right) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
