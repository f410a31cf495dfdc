//! `hayloft config`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::note;
use super::{ServeArgs, deliver, fail};
use crate::config::effective;
use crate::daemon::check_config;

const CHECK_EXAMPLES: &str = "\
Examples:
  hayloft config check /etc/hayloft/hayloft.toml
      before a restart: would the daemon start with this file, and with what?
  hayloft config check --config /etc/hayloft/hayloft.toml --cores 0-3
      the same with a flag that overrides the file
  hayloft config check > hayloft.toml
      a file with every setting and its default

Standard output is TOML: every setting that counts, with where it was given. Warnings go to standard
error. Addresses are not bound and directories are not opened. The limits of open files and of
memory are those of this shell and machine: a unit or a container may have others. Exit code 0:
valid; 2: not, or the daemon would not start with these limits.";

/// `hayloft config`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ConfigArgs {
    /// What to do with it.
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
enum ConfigCommand {
    /// Check a configuration as serve would, and show the settings that count
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
        // What this machine allows, as far as it can be told without the daemon's own user and unit.
        let allowed = match check_config(&draft.config) {
            Ok(warnings) => warnings,
            Err(error) => return fail(&error),
        };
        for warning in draft.config.warnings().into_iter().chain(allowed) {
            note(format_args!("warning: {warning}"));
        }
        deliver(text.as_bytes())
    }
}
