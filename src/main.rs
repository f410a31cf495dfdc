//! The `hayloft` command; see the module `cli` of the library.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

use std::process::ExitCode;

fn main() -> ExitCode {
    hayloft::commands::cli::main()
}
