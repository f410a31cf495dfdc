//! Hayloft: a Haystack store node.
//!
//! `docs/ARCHITECTURE.md` describes the code: the purpose of each module, the modules that it must not use,
//! and the invariants.

pub mod accept;
pub mod access_trace;
pub mod account;
pub mod admin;
pub mod blocking;
pub mod buffer;
pub mod calendar;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod datadir;
pub mod devices;
pub mod http;
pub mod limits;
pub mod logging;
pub mod mailbox;
pub mod metrics;
pub mod new_name;
pub mod nginx;
pub mod offline;
pub mod op;
pub mod photo_tar;
pub mod ring;
pub mod runtime;
pub mod sabotage;
pub mod shard;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod size;
pub mod sys;
pub mod threads;
pub mod throttle;
pub mod transfer;
pub mod types;
pub mod volume;
