//! The command line: commands, their options, and what each hands over to.

mod by_shard;
mod command;
mod common;
mod fill;
mod flood;
mod record;
mod replay;
mod run;

pub use command::Cli;
