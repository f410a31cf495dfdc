//! `hayloft init`: makes data directories.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output::{announce, fail};
use crate::commands::offline::{Initialised, init};

const INIT_EXAMPLES: &str = "\
Examples:
  hayloft init /disk3/hayloft/data
      then name it with --data or in the configuration, beside the others, and restart the daemon

Only for a disk that is added to a store: a new store makes its own directories. If other \
directories are in use, hayloft serve takes an empty or absent one for a disk that is not \
mounted, and does not create it. Mount the disk first. The directory belongs to the user who \
runs this command: run it as the daemon's user, or chown -R it.
Exit codes: 0 all are data directories; 1 they are, but standard output could not be written; \
2 one cannot be made, and those after it were not tried.";

/// Flags of `hayloft init`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = INIT_EXAMPLES)]
pub struct InitArgs {
    /// Directory, empty or absent; its parent must exist
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
