//! The `hayloft` command; see the module `cli` of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hayloft::commands::cli::main()
}
