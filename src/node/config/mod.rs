//! The configuration of the daemon: a TOML file in which every setting has a default.
//!
//! Flags override the file (`crate::commands::cli`). Only start-up code reads the configuration; it passes
//! each module the values that it needs. Knows no volumes, sockets or rings. `docs/hayloft.example.toml`
//! lists every setting with its default; a test checks that it is complete.
//!
//! | file | holds |
//! | --- | --- |
//! | `settings` | [`Config`]: all settings and their defaults |
//! | `limits`, `access_trace` | the sections of the file |
//! | `listen`, `ports`, `cores`, `prealloc` | settings with a syntax of their own |
//! | `log` | the log filter |
//! | `place`, `error` | places of settings, and errors that name them |
//! | `setting`, `form` | positions of settings in a text, and checks of their form |
//! | `draft` | reading of a file; [`Config::load`] |
//! | `validate` | ranges, and conflicts between settings |
//! | `effective` | the effective settings as a file |

mod access_trace;
mod cores;
mod draft;
mod effective;
mod error;
mod form;
mod limits;
mod listen;
mod log;
mod place;
mod ports;
mod prealloc;
mod setting;
mod settings;
mod validate;

pub use access_trace::AccessTraceConfig;
pub use cores::{CORE_ID_LIMIT, CoreList, Cores, CoresError, available_cores};
pub(crate) use draft::ConfigDraft;
pub(crate) use effective::effective;
pub use error::ConfigError;
pub use limits::Limits;
pub use listen::{Listen, ParseListenError, UNIX_PATH_BYTES_MAX, parse_tcp_address};
pub use place::SettingPlace;
pub use ports::{ParseShardPortsError, SHARD_PORT_DISTANCE, ShardPorts};
pub use prealloc::{ParsePreallocError, Prealloc};
pub use settings::Config;

#[cfg(test)]
mod tests;
