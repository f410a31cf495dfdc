//! The `hayloft` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hayloft::cli::main()
}
