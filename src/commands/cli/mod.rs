//! The command line: commands, their flags and their output. The work of a command is done in other modules.
//!
//! `command` is the table of the commands, which are in a file each; `compact`, `diff` and `scrub` belong
//! to `volume`. `admin`, `listed_volume`, `listed_link`, `output`, `photo_url`, `progress`, `interrupt`,
//! `offline` and `volume_id` are what they share; `cluster_args` belongs to `serve`.
//!
//! Exit codes: 0 success; 1 the command ran, and found a problem or left some work undone; 2 it could not
//! run (usage, configuration, no such file).

#![expect(
    clippy::disallowed_methods,
    reason = "commands print for the person who runs them, and end with the process"
)]

mod admin;
mod background;
mod check;
mod cluster_args;
mod command;
mod compact;
mod completions;
mod config;
mod delete;
mod diff;
mod dump;
mod export;
mod export_online;
mod get;
mod import;
mod init;
mod interrupt;
mod list;
mod listed_link;
mod listed_volume;
mod man;
mod nginx_config;
mod offline;
mod output;
mod photo_url;
mod progress;
mod pull;
mod put;
mod scrub;
mod serve;
mod undelete;
mod volume;
mod volume_id;

pub use background::{BackgroundAction, BackgroundArgs};
pub use check::CheckArgs;
pub use command::{Cli, Command, main};
pub use completions::CompletionsArgs;
pub use config::ConfigArgs;
pub use delete::DeleteArgs;
pub use diff::DiffArgs;
pub use dump::DumpArgs;
pub use export::ExportArgs;
pub use get::GetArgs;
pub use import::ImportArgs;
pub use init::InitArgs;
pub use list::ListArgs;
pub use man::ManArgs;
pub use nginx_config::NginxArgs;
pub use offline::OfflineArgs;
pub use put::PutArgs;
pub use serve::ServeArgs;
pub use undelete::UndeleteArgs;
pub use volume::VolumeArgs;
