//! `hayloft init`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::fail;
use super::output::announce;
use crate::offline::{Initialised, init};

const INIT_EXAMPLES: &str = "\
Examples:
  hayloft init /disk3/hayloft/data
      then name it with --data or in the configuration, beside the others, and restart the daemon

Only for a disk that joins others: a new store makes its own directories. Beside directories \
that are in use, hayloft serve takes one that is empty or absent for a disk that is not \
mounted, and so does not make it. Mount the disk first. The directory belongs to the user who \
runs this command: run it as the daemon's user, or chown -R it.
Exit codes: 0 all are data directories; 1 they are, and standard output does not take the \
lines; 2 one cannot be made, and those after it were not tried.";

/// Flags of `hayloft init`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = INIT_EXAMPLES)]
pub struct InitArgs {
    /// Directory, empty or absent; its parent must be there
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,
}

impl InitArgs {
    pub(super) fn run(self) -> ExitCode {
        let mut is_announced = true;
        for path in &self.dirs {
            let made = match init(path) {
                Ok(made) => made,
                Err(error) => return fail(&error),
            };
            let shown = path.display();
            is_announced &= announce(&match made {
                Initialised::Made => format!("{shown}: a data directory from now on"),
                Initialised::Before(volumes) => {
                    format!("{shown}: a data directory already, volumes: {volumes}")
                }
            });
        }
        if is_announced { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
