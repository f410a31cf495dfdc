//! The configuration of the daemon: a TOML file in which every setting has a default.
//!
//! Flags override the file (`crate::commands::cli`). Only start-up code reads the configuration; it passes
//! each module the values that it needs. Knows no volumes, sockets or rings. `docs/hayloft.example.toml`
//! lists every setting with its default; a test checks that it is complete.

mod access_trace;
mod cores;
mod effective;
mod error;
mod file;
mod form;
mod limits;
mod listen;
mod log;
mod ports;
mod setting;
mod validate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

pub use access_trace::AccessTraceConfig;
pub use cores::{CORE_ID_LIMIT, CoreList, Cores, CoresError, available_cores};
pub(crate) use effective::effective;
pub use error::{ConfigError, Place};
pub(crate) use file::Draft;
pub use limits::Limits;
pub use listen::{Listen, ParseListenError, UNIX_PATH_BYTES_MAX};
pub use ports::{ParseShardPortsError, SHARD_PORT_DISTANCE, ShardPorts};

use crate::base::size::ByteSize;

/// All settings. Made by [`Config::load`], or from [`Config::default`]; valid once [`Config::validate`] has
/// succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Data directories, one per disk. 1 to 256, none twice; relative ones are relative to the working
    /// directory of the daemon.
    pub data: Vec<PathBuf>,
    /// Addresses of the data API. 1 to 64, none twice.
    pub listen: Vec<Listen>,
    /// All clients that can reach `listen` are trusted to store, replace and delete photos. Only suppresses
    /// the warning about public addresses.
    pub trusted_network: bool,
    /// Address of the admin API, which has no authentication: keep it on loopback or a private network.
    #[serde(deserialize_with = "deserialize_tcp_address")]
    pub admin: SocketAddr,
    /// Default size of a new volume: a multiple of 1 MiB, 16 MiB to 1 TiB.
    pub volume_size: ByteSize,
    /// Cores to run on, one shard each: `all`, or a list such as `0,2-5`.
    pub cores: Cores,
    /// Port of shard 0 (shard k: + k): a port, `off`, or `auto` for the port of the first TCP `listen` + 100,
    /// or none when a service manager passes the sockets.
    pub shard_ports: ShardPorts,
    /// Allocation of the space of a new volume.
    pub prealloc: Prealloc,
    /// Refuse to start when buffers and files cannot be registered with the ring, instead of running
    /// slower without.
    pub require_registered: bool,
    /// Use the page cache, for file systems without O_DIRECT. Acknowledged writes may then not survive a
    /// power cut.
    pub buffered: bool,
    /// The `Cache-Control` header of every object: 1 to 128 visible ASCII characters and single spaces.
    pub cache_control: String,
    /// Length of log of a volume after which a checkpoint is written, which bounds the log that a start has
    /// to read: 1 MiB to 1 TiB.
    pub checkpoint_interval: ByteSize,
    /// Log filter: a level, or directives such as `warn,hayloft::volume=debug`.
    pub log: String,
    /// Log deletes and failed writes, one line each, independent of the level in `log`.
    pub audit_log: bool,
    /// Bounds and deadlines.
    pub limits: Limits,
    /// Recording of requests.
    pub access_trace: AccessTraceConfig,
}

/// Allocation of the space of a new volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Prealloc {
    /// Reserve blocks only (fallocate(2)): fast. The first write of a block then also writes metadata.
    #[default]
    Fallocate,
    /// Write zeros: takes as long as writing the whole file, but later writes need no metadata.
    Zeroed,
}

/// The text is no value of `prealloc`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no way to reserve space; write fallocate (at once) or zeroed (slow, whole file)")]
pub struct ParsePreallocError(String);

impl TryFrom<String> for Prealloc {
    type Error = ParsePreallocError;

    fn try_from(text: String) -> Result<Self, ParsePreallocError> {
        match text.as_str() {
            "fallocate" => Ok(Self::Fallocate),
            "zeroed" => Ok(Self::Zeroed),
            _ => Err(ParsePreallocError(text)),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: vec![PathBuf::from("./hayloft-data")],
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080)))],
            trusted_network: false,
            admin: SocketAddr::from(([127, 0, 0, 1], 8081)),
            volume_size: ByteSize::gib(1),
            cores: Cores::All,
            shard_ports: ShardPorts::Auto,
            prealloc: Prealloc::Fallocate,
            require_registered: false,
            buffered: false,
            cache_control: "public, max-age=86400".to_owned(),
            checkpoint_interval: ByteSize::mib(256),
            log: "info".to_owned(),
            audit_log: false,
            limits: Limits::default(),
            access_trace: AccessTraceConfig::default(),
        }
    }
}

impl Config {
    /// Reads and validates a TOML file; settings that it does not contain have their defaults.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file, the line and the key: the file cannot be read, is not TOML, has
    /// an unknown key, a value of the wrong form, or one that [`Config::validate`] refuses.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        file::load(path)
    }

    /// As [`Config::load`], from the text of a file and for a machine with these cores; `path` is used in
    /// messages only.
    ///
    /// # Errors
    /// [`ConfigError`], as [`Config::load`].
    pub fn from_toml(path: &Path, text: &str, cores: &[usize]) -> Result<Self, ConfigError> {
        let draft = Draft::parse(path, text)?;
        draft.config.validate_on(cores).map_err(|error| error.at(|key| draft.place(key)))?;
        Ok(draft.config)
    }
}

/// Parses `IP:PORT`, with the same messages as [`Listen`].
///
/// # Errors
/// A message that gives a valid alternative.
pub fn parse_tcp_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse() {
        Ok(Listen::Tcp(address)) => Ok(address),
        Ok(Listen::Unix(_)) => Err(format!(
            "{text:?} is a unix socket, which is not possible here; write IP:PORT, for instance \
             127.0.0.1:8081"
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn deserialize_tcp_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_tcp_address(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
