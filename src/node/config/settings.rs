//! All settings of the daemon, with their defaults.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::access_trace::AccessTraceConfig;
use super::auto_create::AutoCreateConfig;
use super::background::BackgroundConfig;
use super::cluster::ClusterConfig;
use super::compaction::CompactionConfig;
use super::cores::Cores;
use super::health::HealthConfig;
use super::limits::Limits;
use super::listen::{Listen, deserialize_tcp_address};
use super::ports::ShardPorts;
use super::prealloc::Prealloc;
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
    /// File with the admin token, with which records of volumes can be read from other machines; empty for
    /// none.
    pub admin_token_file: PathBuf,
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
    /// Pace of background work.
    pub background: BackgroundConfig,
    /// How the daemon finds out that a disk is ill.
    pub health: HealthConfig,
    /// Compaction of volumes.
    pub compaction: CompactionConfig,
    /// Volumes that the daemon creates by itself.
    pub auto_create: AutoCreateConfig,
    /// The SeaweedFS cluster that the node is a volume server of.
    pub cluster: ClusterConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: vec![PathBuf::from("./hayloft-data")],
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080)))],
            trusted_network: false,
            admin: SocketAddr::from(([127, 0, 0, 1], 8081)),
            admin_token_file: PathBuf::new(),
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
            background: BackgroundConfig::default(),
            health: HealthConfig::default(),
            compaction: CompactionConfig::default(),
            auto_create: AutoCreateConfig::default(),
            cluster: ClusterConfig::default(),
        }
    }
}
