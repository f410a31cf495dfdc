//! `hayloft background`: pauses and resumes background work of the running daemon.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::admin::{ask, done, exit_code};
use crate::commands::client::{Client, ClientError, ServerAddress};
use crate::http::head::Method;

const BACKGROUND_EXAMPLES: &str = "\
Examples:
  hayloft background pause
      compactions stop where they are, and none begins
  hayloft background resume
      they go on

A restart of the daemon resumes them, too. Checkpoints are not paused.
Exit codes: 0 done; 1 the daemon refused, or it is done but standard output could not be \
written; 2 the daemon could not be reached.";

/// Flags of `hayloft background`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = BACKGROUND_EXAMPLES, arg_required_else_help = true)]
pub struct BackgroundArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub action: BackgroundAction,

    /// Admin API of the running daemon, HOST:PORT
    #[arg(long, global = true, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin: ServerAddress,
}

/// Subcommands of `hayloft background`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum BackgroundAction {
    /// Pause compactions in all shards
    Pause,
    /// Resume compactions
    Resume,
}

impl BackgroundArgs {
    pub(super) fn run(self) -> ExitCode {
        let client = Client::new(self.admin, "--admin");
        let (path, line) = match self.action {
            BackgroundAction::Pause => ("/background/pause", "compactions are paused"),
            BackgroundAction::Resume => ("/background/resume", "compactions are resumed"),
        };
        exit_code(set(&client, path, line))
    }
}

fn set(client: &Client, path: &str, line: &str) -> Result<ExitCode, ClientError> {
    ask(client, Method::Post, path, &[])?;
    Ok(done(line))
}
