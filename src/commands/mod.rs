//! The commands that a person runs.

pub mod cli;
pub mod client;
pub mod export;
pub mod nginx;
pub mod offline;
pub mod replica;
pub mod transfer;
