//! The table of the commands, and how the command line is parsed and dispatched.

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use super::background::BackgroundArgs;
use super::check::CheckArgs;
use super::completions::CompletionsArgs;
use super::config::ConfigArgs;
use super::delete::DeleteArgs;
use super::dump::DumpArgs;
use super::export::ExportArgs;
use super::get::GetArgs;
use super::import::ImportArgs;
use super::init::InitArgs;
use super::list::ListArgs;
use super::man::ManArgs;
use super::nginx_config::NginxArgs;
use super::output::unwritten;
use super::put::PutArgs;
use super::serve::ServeArgs;
use super::undelete::UndeleteArgs;
use super::volume::VolumeArgs;
use crate::base::sys;

/// Hayloft keeps billions of photos in a few large files and serves any of them with one device read.
#[derive(Debug, Parser)]
#[command(name = "hayloft", version, arg_required_else_help = true)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon. Without flags: data in ./hayloft-data, photos on 127.0.0.1:8080, admin on
    /// 127.0.0.1:8081.
    Serve(ServeArgs),
    /// Make an empty directory a data directory, for a disk that is added to a store.
    Init(InitArgs),
    /// List, create, delete, compact and move volumes of the running daemon, or make them read-only or
    /// writable.
    Volume(VolumeArgs),
    /// List the photos in volumes of the running daemon.
    List(ListArgs),
    /// Pause or resume background work (compactions) of the running daemon.
    Background(BackgroundArgs),
    /// Store photos in a running daemon, and print their URLs.
    Put(PutArgs),
    /// Get a photo from a running daemon, verified.
    Get(GetArgs),
    /// Delete photos of a running daemon.
    Delete(DeleteArgs),
    /// Take deleted photos of a running daemon back.
    Undelete(UndeleteArgs),
    /// Store every file of a directory, or the photos of a tar; resumes where it was interrupted.
    Import(ImportArgs),
    /// Write the live photos of volumes as a tar, while no daemon runs on them.
    Export(ExportArgs),
    /// Verify every byte of the live photos of volumes, while no daemon runs on them.
    Check(CheckArgs),
    /// List the live photos of volumes, while no daemon runs on them.
    Dump(DumpArgs),
    /// Check a configuration without running anything.
    Config(ConfigArgs),
    /// Print an nginx configuration for the running daemon.
    NginxConfig(NginxArgs),
    /// Print a script with which a shell completes hayloft's commands and flags.
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command.
    Man(ManArgs),
}

/// Parses the command line and runs the command, or prints the help, the version or a usage error.
#[must_use]
pub fn main() -> ExitCode {
    let error = match Cli::try_parse() {
        Ok(cli) => return cli.run(),
        Err(error) => error,
    };
    let printed = match error.use_stderr() {
        true => error.print(),
        false => sys::open_at_start(1).and_then(|()| error.print()),
    };
    match printed {
        Err(failure) if !error.use_stderr() && failure.kind() != io::ErrorKind::BrokenPipe => {
            unwritten(&failure)
        }
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
    }
}

impl Cli {
    /// Runs the command.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Serve(args) => args.run(),
            Command::Init(args) => args.run(),
            Command::Volume(args) => args.run(),
            Command::List(args) => args.run(),
            Command::Background(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Dump(args) => args.run(),
            Command::Export(args) => args.run(),
            Command::Config(args) => args.run(),
            Command::NginxConfig(args) => args.run(),
            Command::Completions(args) => args.run(Self::command()),
            Command::Man(args) => args.run(Self::command()),
            Command::Put(args) => args.run(),
            Command::Get(args) => args.run(),
            Command::Delete(args) => args.run(),
            Command::Undelete(args) => args.run(),
            Command::Import(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_definitions_pass_clap_debug_assert() {
        Cli::command().debug_assert();
    }

    /// Returns the command and all commands below it.
    fn all_commands(command: clap::Command) -> Vec<clap::Command> {
        let inner = command.get_subcommands().cloned().flat_map(all_commands);
        let inner: Vec<_> = inner.collect();
        [vec![command], inner].concat()
    }

    /// Returns the text after the flags, unwrapped, as in the source.
    fn after_help(command: &clap::Command) -> String {
        command.get_after_help().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn sentences_of_the_help_have_no_hard_line_breaks() {
        for command in all_commands(Cli::command()) {
            let text = after_help(&command);
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
            for pair in text.lines().collect::<Vec<_>>().windows(2) {
                let [first, second] = pair else { unreachable!("windows of two") };
                let ends = first.ends_with(['.', ':']);
                let begins = second.starts_with(char::is_uppercase);
                assert!(
                    !is_prose(first) || !is_prose(second) || (ends && begins),
                    "{}: {first:?} goes on with {second:?}",
                    command.get_name()
                );
            }
        }
    }

    #[test]
    fn help_examples_fit_80_columns_and_use_documented_directories() {
        let operations = include_str!("../../../docs/OPERATIONS.md");
        let mut seen = 0;
        for command in all_commands(Cli::command()) {
            let text = after_help(&command);
            let lines = text.lines();
            let examples = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
            for line in examples {
                assert!(line.len() <= 80, "{line}");
                for directory in line.split("--data ").skip(1) {
                    let directory = directory.split(' ').next().unwrap();
                    assert!(directory.ends_with("/data"), "{line}");
                    assert!(operations.contains(&format!("--data {directory}")), "{line}");
                    seen += 1;
                }
            }
        }
        assert!(seen >= 5, "{seen}");
    }

    #[test]
    fn version_flag_prints_the_package_version() {
        let error = Cli::try_parse_from(["hayloft", "--version"]).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayVersion);
        let version = concat!("hayloft ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(error.to_string(), version);
    }
}
