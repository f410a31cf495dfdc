//! `hayloft completions`: prints completion scripts for shells.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::output::deliver;

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  hayloft completions bash > /usr/share/bash-completion/completions/hayloft
      for all users of bash
  hayloft completions zsh > ~/.zfunc/_hayloft
      for a user of zsh who has ~/.zfunc in fpath
  hayloft completions fish > ~/.config/fish/completions/hayloft.fish
      for a user of fish

Regenerate the file with each new version of hayloft.";

/// Flags of `hayloft completions`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script for `hayloft`, the command with all of its subcommands.
    pub(super) fn run(self, hayloft: clap::Command) -> ExitCode {
        deliver(&script(self.shell, hayloft))
    }
}

fn script(shell: Shell, mut hayloft: clap::Command) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut hayloft, "hayloft", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};

    use super::*;
    use crate::commands::cli::Cli;

    #[test]
    fn completion_scripts_name_commands_and_flags() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell, Cli::command())).unwrap();
            for word in ["completions", "config", "check", "man", "serve", "shard-ports"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
