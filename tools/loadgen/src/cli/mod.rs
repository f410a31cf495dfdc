//! The command line: subcommands, their options, and the calls that run them.

mod by_shard;
mod command;
mod common;
mod fill;
mod flood;
mod record;
mod replay;
mod run;

pub use command::Cli;
