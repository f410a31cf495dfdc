//! The configuration of the daemon: a TOML file in which every setting has a default.
//!
//! Flags override the file (`crate::commands::cli`). Only start-up code reads the configuration; it passes
//! each module the values that it needs. Knows no volumes, sockets or rings. `docs/hayloft.example.toml`
//! lists every setting with its default; a test checks that it is complete.
//!
//! | file | holds |
//! | --- | --- |
//! | `settings` | [`Config`]: all settings and their defaults |
//! | `limits`, `access_trace`, `background`, `health` | sections of the file |
//! | `compaction`, `auto_create`, `cluster` | sections of the file |
//! | `cluster_addresses` | the addresses of the node in its cluster |
//! | `listen`, `ports`, `cores`, `prealloc` | settings with a syntax of their own |
//! | `share`, `time_span`, `or_word` | types that several settings have |
//! | `log` | the log filter |
//! | `place`, `error` | places of settings, and errors that name them |
//! | `setting`, `form` | positions of settings in a text, and checks of their form |
//! | `draft` | reading of a file; [`Config::load`] |
//! | `ranges`, `validate` | ranges, and conflicts between settings |
//! | `effective` | the effective settings as a file |

mod access_trace;
mod auto_create;
mod background;
mod cluster;
mod cluster_addresses;
mod compaction;
mod cores;
mod draft;
mod effective;
mod error;
mod form;
mod health;
mod limits;
mod listen;
mod log;
mod or_word;
mod place;
mod ports;
mod prealloc;
mod ranges;
mod setting;
mod settings;
mod share;
mod time_span;
mod validate;

pub use access_trace::AccessTraceConfig;
pub use auto_create::AutoCreateConfig;
pub use background::BackgroundConfig;
pub use cluster::ClusterConfig;
pub use cluster_addresses::ClusterAddresses;
pub use compaction::{CompactionConfig, CompactionPolicy, ParsePolicyError};
pub use cores::{CORE_ID_LIMIT, CoreList, Cores, CoresError, available_cores};
pub(crate) use draft::ConfigDraft;
pub(crate) use effective::effective;
pub use error::ConfigError;
pub use limits::Limits;
pub use listen::{Listen, ParseListenError, UNIX_PATH_BYTES_MAX, parse_tcp_address};
pub use or_word::{Any, Auto, Never, Off, OrWord, Word};
pub use place::SettingPlace;
pub use ports::{ParseShardPortsError, SHARD_PORT_DISTANCE, ShardPorts};
pub use prealloc::{ParsePreallocError, Prealloc};
pub use settings::Config;
pub use share::Share;
pub use time_span::{ParseTimeSpanError, TimeSpan};

#[cfg(test)]
mod tests;
