//! `hayloft config`: checks a configuration without starting a daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::{deliver, fail, note};
use super::serve::ServeArgs;
use crate::node::config::effective;
use crate::node::daemon;

const CHECK_EXAMPLES: &str = "\
Examples:
  hayloft config check /etc/hayloft/hayloft.toml
      before a restart: would the daemon start with this file, and with what?
  hayloft config check --config /etc/hayloft/hayloft.toml --cores 0-3
      the same with a flag that overrides the file
  hayloft config check > hayloft.toml
      a file with every setting and its default

Standard output is TOML: every setting in effect, with its source. Warnings go to standard \
error. Data directories, addresses and the access trace are examined as at a start, but nothing \
is created, written, locked or listened on: the daemon may run, ports and sockets in use are not \
detected, and direct I/O is not tried. Paths that this user has no permission to examine are \
warnings. The limits of open files and of memory are those of this shell and machine: a unit or \
a container may have others.
Exit codes: 0 serve would start with it; 2 it would not.";

/// Subcommands of `hayloft config`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ConfigArgs {
    /// The subcommand.
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
enum ConfigCommand {
    /// Check a configuration as serve would, and show the settings in effect
    Check(CheckArgs),
}

/// Flags of `hayloft config check`: those of `serve`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = CHECK_EXAMPLES)]
struct CheckArgs {
    /// Configuration file (TOML), as --config
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,

    #[command(flatten)]
    serve: ServeArgs,
}

impl ConfigArgs {
    pub(super) fn run(self) -> ExitCode {
        match self.command {
            ConfigCommand::Check(args) => args.run(),
        }
    }
}

impl CheckArgs {
    fn run(mut self) -> ExitCode {
        if self.file.is_some() {
            self.serve.config = self.file.take();
        }
        let draft = match self.serve.into_draft() {
            Ok(draft) => draft,
            Err(error) => return fail(&error),
        };
        let text = match effective(&draft) {
            Ok(text) => text,
            Err(error) => return fail(&error),
        };
        let warnings = match daemon::look(&draft.config) {
            Ok(warnings) => warnings,
            Err(error) => return fail(&error),
        };
        for warning in warnings {
            note(format_args!("warning: {warning}"));
        }
        deliver(text.as_bytes())
    }
}
