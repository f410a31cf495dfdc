//! The configuration of the daemon: a TOML file in which every setting has a default.
//!
//! Flags override the file (`crate::cli`). Only start-up code reads this; it hands each module the
//! figures it needs. Knows no volumes, sockets or rings. `docs/hayloft.example.toml` lists every
//! setting with its default; a test holds the two together.

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

use crate::size::ByteSize;

/// Everything that can be configured. Made by [`Config::load`], or [`Config::default`] and changes;
/// sound once [`Config::validate`] said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Data directories, one per disk. 1 to 256, none twice; relative ones are relative to the working
    /// directory of the daemon.
    pub data: Vec<PathBuf>,
    /// Addresses of the data API. 1 to 64, none twice.
    pub listen: Vec<Listen>,
    /// Everybody who can reach `listen` is trusted to store, replace and delete photos. Only silences the
    /// warning about public addresses.
    pub trusted_network: bool,
    /// Address of the admin API, which asks for no password: keep it on loopback or a private network.
    #[serde(deserialize_with = "deserialize_tcp_address")]
    pub admin: SocketAddr,
    /// Size of a volume created without naming one: a multiple of 1 MiB, 16 MiB to 1 TiB.
    pub volume_size: ByteSize,
    /// Cores to run on, one shard each: `all`, or a list such as `0,2-5`.
    pub cores: Cores,
    /// Port at which shard 0 is reached directly (shard k: + k): a port, `off`, or `auto` for the port
    /// of the first TCP `listen` + 100, or none when a service manager hands over the sockets.
    pub shard_ports: ShardPorts,
    /// How the space of a new volume is reserved.
    pub prealloc: Prealloc,
    /// Refuse to start when buffers and files cannot be registered with the ring, instead of running
    /// slower without.
    pub require_registered: bool,
    /// Go through the page cache, for file systems without O_DIRECT. Then nothing is promised to
    /// survive a power cut.
    pub buffered: bool,
    /// The `Cache-Control` header of every object: 1 to 128 visible ASCII characters and single spaces.
    pub cache_control: String,
    /// After so much log of a volume its index is saved, so that a start needs to read no more than that:
    /// 1 MiB to 1 TiB.
    pub checkpoint_interval: ByteSize,
    /// What is logged: a level, or directives such as `warn,hayloft::volume=debug`.
    pub log: String,
    /// Log deletes and failed writes, one line each, whatever `log` says.
    pub audit_log: bool,
    /// Bounds and deadlines.
    pub limits: Limits,
    /// Which requests are written down, and where.
    pub access_trace: AccessTraceConfig,
}

/// How the space of a new volume is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Prealloc {
    /// Reserve blocks only: at once. The first write of a block then also writes metadata.
    #[default]
    Fallocate,
    /// Write zeros: as slow as the disk writes, but no metadata is written later.
    Zeroed,
}

/// The text names no way to reserve space.
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
    /// Reads and validates a TOML file; what it does not set has its default.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file, the line and the key: the file cannot be read, is not TOML, has
    /// an unknown key, a value of the wrong form, or one that [`Config::validate`] refuses.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        file::load(path)
    }

    /// The same from the text of such a file, for a machine with these cores; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError`], as [`Config::load`].
    pub fn from_toml(path: &Path, text: &str, cores: &[usize]) -> Result<Self, ConfigError> {
        let draft = Draft::parse(path, text)?;
        draft.config.validate_on(cores).map_err(|error| error.at(|key| draft.place(key)))?;
        Ok(draft.config)
    }
}

/// Parses `IP:PORT`, with the same advice as [`Listen`] gives.
///
/// # Errors
/// A message that says what to write instead.
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
