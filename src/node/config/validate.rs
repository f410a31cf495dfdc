//! Validation of a configuration beyond its syntax: ranges, and conflicts between settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::compaction::CompactionPolicy;
use super::cores::available_cores;
use super::error::ConfigError;
use super::limits::Limits;
use super::listen::Listen;
use super::log;
use super::ports::{SHARD_PORT_DISTANCE, ShardPorts};
use super::ranges::{VOLUME_BYTES, count_in, mebibytes, number_in, size_in};
use super::settings::Config;
use crate::base::limits::BATCH_MAX;
use crate::base::pool_shares::{POOL_LEN_MAX, POOL_LEN_MIN};
use crate::base::size::{ByteSize, MIB, TIB};

const DATA_DIRECTORIES_MAX: usize = 256;
const LISTEN_MAX: usize = 64;
const CACHE_CONTROL_BYTES_MAX: usize = 128;
const LOG_BYTES_MAX: usize = 1024;
const BUFFER_BYTES: RangeInclusive<u64> = POOL_LEN_MIN..=POOL_LEN_MAX;
const BODY_BYTES: RangeInclusive<u64> = 1..=Limits::LARGEST_BODY_MAX.bytes();
const BATCH_BYTES: RangeInclusive<u64> = 1..=BATCH_MAX;
const CHECKPOINT_BYTES: RangeInclusive<u64> = MIB..=TIB;
const TRACE_BYTES: RangeInclusive<u64> = MIB..=TIB;
/// nginx closes idle upstream connections after 60 s by default. The daemon must not close them first, or a
/// request of nginx would meet a closed connection.
const IDLE_TIMEOUT_SECONDS_ADVISED: u32 = 75;

impl Config {
    /// Checks every setting, conflicts between settings, and the cores of this machine.
    ///
    /// # Errors
    /// The first [`ConfigError::Setting`] found: the problem and its fix.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_on(&cores_at_hand()?)
    }

    /// As [`Config::validate`], for a process that may run on `available_cores`. Reads nothing from the
    /// machine.
    ///
    /// # Errors
    /// As [`Config::validate`].
    pub fn validate_on(&self, available_cores: &[usize]) -> Result<(), ConfigError> {
        self.check_data()?;
        self.check_addresses()?;
        let shards = self.shards_on(available_cores)?.len();
        self.shard_port_range(shards)?;
        Self::check_volume_size(self.volume_size)?;
        size_in("checkpoint_interval", self.checkpoint_interval, &CHECKPOINT_BYTES)?;
        self.check_texts()?;
        self.check_limits()?;
        self.check_access_trace()?;
        self.background.check()?;
        self.health.check()?;
        self.compaction.check()?;
        self.auto_create.check()?;
        self.check_cluster(shards)
    }

    /// Checks that a volume may have this size: a multiple of 1 MiB, 16 MiB to 1 TiB.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for `volume_size`.
    pub fn check_volume_size(size: ByteSize) -> Result<(), ConfigError> {
        mebibytes("volume_size", size, &VOLUME_BYTES)
    }

    /// Warnings about valid settings that are probably unintended, one sentence each, for the log of a start.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let limits = &self.limits;
        let mut warnings = Vec::new();
        if limits.idle_timeout_seconds < IDLE_TIMEOUT_SECONDS_ADVISED {
            warnings.push(format!(
                "limits.idle_timeout_seconds is {}: a proxy that keeps idle connections longer (nginx: 60 s) \
                 will see resets; set it to {IDLE_TIMEOUT_SECONDS_ADVISED} or more",
                limits.idle_timeout_seconds
            ));
        }
        if !self.admin.ip().to_canonical().is_loopback() {
            warnings.push(format!(
                "admin is {}, not a loopback address, and the admin API has no authentication: \
                 make sure that only operators can reach it",
                self.admin
            ));
        }
        if self.buffered {
            warnings.push(
                "buffered is on: writes go through the page cache and acknowledged objects may not survive \
                 a power cut; switch it off unless this is a test"
                    .to_owned(),
            );
        }
        if limits.batch_bytes() < limits.largest_batch.bytes() {
            warnings.push(format!(
                "limits.largest_batch is {}, more than a quarter of limits.buffer_memory_per_shard ({}), \
                 which is the effective limit; lower the one or raise the other",
                limits.largest_batch, limits.buffer_memory_per_shard
            ));
        }
        if limits.largest_body > self.volume_size {
            warnings.push(format!(
                "limits.largest_body is {}, more than volume_size ({}): such a body fits into no new volume; \
                 lower the one or raise the other",
                limits.largest_body, self.volume_size
            ));
        }
        if let Some(within) = self.compaction.erase_within.value()
            && self.compaction.policy == CompactionPolicy::Off
        {
            warnings.push(format!(
                "compaction.erase_within is {within}, and compaction.policy is off: volumes that are overdue \
                 are reported, but only `hayloft volume compact` erases what was deleted; set the policy to \
                 auto"
            ));
        }
        if let Ok(Some(addresses)) = self.cluster.addresses(&self.listen) {
            warnings.extend(addresses.warning());
        }
        warnings
    }

    /// Returns a warning that names the public addresses of `listen`, the addresses of the data API: those
    /// that are neither loopback nor a unix socket. `None` if there are none, or `trusted_network` is set.
    #[must_use]
    pub fn public_listen_warning(&self, listen: &[Listen]) -> Option<String> {
        let is_private = |listen: &Listen| {
            listen.tcp().is_none_or(|address| address.ip().to_canonical().is_loopback())
        };
        let public = listen.iter().filter(|listen| !is_private(listen));
        let public: Vec<String> = public.map(Listen::to_string).collect();
        let what = match public.len() {
            0 => return None,
            1 => "not a loopback address",
            _ => "not loopback addresses",
        };
        (!self.trusted_network).then(|| {
            format!(
                "photos are served on {}, {what}, and the data API has no \
                 authentication: a client that reaches it can store photos, and can replace and delete \
                 those whose URLs it knows; listen on 127.0.0.1 or a unix socket behind nginx (hayloft \
                 nginx-config), or let a firewall choose who reaches it and set trusted_network = true \
                 (--trusted-network)",
                public.join(", "),
            )
        })
    }

    /// Returns the log filter, made from `log` and `audit_log`.
    ///
    /// # Errors
    /// `log` is no valid filter.
    pub fn log_filter(&self) -> Result<Targets, ConfigError> {
        let targets = log::parse(&self.log)
            .map_err(|problem| ConfigError::setting("log", problem, log::ADVICE))?;
        // `audit_log` overrides a level for all targets, but not a directive for the audit target.
        let is_named = targets.iter().any(|(target, _)| target == log::AUDIT);
        let is_added = self.audit_log && !is_named;
        Ok(if is_added { targets.with_target(log::AUDIT, LevelFilter::INFO) } else { targets })
    }

    /// Returns the core of each shard on this machine. Never empty.
    ///
    /// # Errors
    /// The setting `cores` names cores this process may not run on.
    pub fn shard_cores(&self) -> Result<Vec<usize>, ConfigError> {
        self.shards_on(&cores_at_hand()?)
    }

    /// Returns the ports of `shards` shards: that of shard k is the start of the range + k. `None` if shards
    /// have no ports of their own.
    ///
    /// # Errors
    /// The range goes beyond 65535 or contains a port of `listen` or `admin`. Addresses are not compared:
    /// one port with two meanings on two addresses of a host invites mistakes.
    pub fn shard_port_range(
        &self,
        shards: usize,
    ) -> Result<Option<RangeInclusive<u16>>, ConfigError> {
        assert!(shards > 0, "a daemon has at least one shard");
        let fix = "set shard_ports to the first of a row of free ports, or to \"off\"";
        let base = match self.shard_ports {
            ShardPorts::Off => return Ok(None),
            ShardPorts::Base(port) => usize::from(port),
            ShardPorts::Auto => match self.listen.iter().find_map(Listen::tcp) {
                None => return Ok(None),
                // The port is known only after the bind: no shard ports can be derived from it.
                Some(first) if first.port() == 0 => return Ok(None),
                Some(first) => usize::from(first.port()) + usize::from(SHARD_PORT_DISTANCE),
            },
        };
        let (Ok(first), Ok(last)) = (u16::try_from(base), u16::try_from(base + shards - 1)) else {
            let problem = format!(
                "{shards} shards need the ports {base} to {}, and the highest port is 65535",
                base + shards - 1
            );
            return Err(ConfigError::setting("shard_ports", problem, fix));
        };
        let range = first..=last;
        let listeners = self.listen.iter().filter_map(|listen| Some((listen.tcp()?, "listen")));
        for (address, key) in listeners.chain([(self.admin, "admin")]) {
            if range.contains(&address.port()) {
                let problem = format!(
                    "{shards} shards take the ports {first} to {last}, and {key} uses {address}"
                );
                return Err(ConfigError::setting("shard_ports", problem, fix));
            }
        }
        Ok(Some(range))
    }

    /// Address of the shard ports: that of the first TCP `listen`, else loopback.
    #[must_use]
    pub fn shard_port_host(&self) -> IpAddr {
        let first = self.listen.iter().find_map(Listen::tcp);
        first.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
    }

    fn shards_on(&self, available: &[usize]) -> Result<Vec<usize>, ConfigError> {
        self.cores.resolve(available).map_err(|error| cores_error(&error.to_string()))
    }

    /// Checks the section of the cluster; the port of gRPC must be none that another listener uses.
    fn check_cluster(&self, shards: usize) -> Result<(), ConfigError> {
        self.cluster.check()?;
        let Some(addresses) = self.cluster.addresses(&self.listen)? else { return Ok(()) };
        let grpc = addresses.grpc;
        let listeners = self.listen.iter().filter_map(|listen| Some((listen.tcp()?, "listen")));
        let taken = listeners.chain([(self.admin, "admin")]);
        let taken = taken.filter(|(other, _)| clash(*other, grpc)).map(|(_, key)| key).next();
        let ports = self.shard_port_range(shards)?;
        let is_of_shard = ports.is_some_and(|ports| ports.contains(&grpc.port()));
        let Some(key) = taken.or(is_of_shard.then_some("shard_ports")) else { return Ok(()) };
        Err(ConfigError::setting(
            "cluster.grpc",
            format!("it would be {grpc}, which {key} uses"),
            "write another address, for instance grpc = \"10.0.0.8:18080\"",
        ))
    }

    fn check_data(&self) -> Result<(), ConfigError> {
        count_in("data", self.data.len(), DATA_DIRECTORIES_MAX, "directories")?;
        for (position, path) in self.data.iter().enumerate() {
            if path.as_os_str().is_empty() {
                return Err(ConfigError::setting(
                    "data",
                    "a directory has an empty name",
                    "write a path, for instance ./hayloft-data",
                ));
            }
            // Other spellings of one directory are found when it is opened (`crate::node::datadir`).
            if self.data[..position].contains(path) {
                return Err(ConfigError::setting(
                    "data",
                    format!("{} is named twice", path.display()),
                    "name each directory once",
                ));
            }
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        count_in("listen", self.listen.len(), LISTEN_MAX, "addresses")?;
        for (position, listen) in self.listen.iter().enumerate() {
            let earlier = self.listen[..position].iter().find(|earlier| {
                *earlier == listen
                    || matches!((earlier, listen), (Listen::Tcp(a), Listen::Tcp(b)) if clash(*a, *b))
            });
            if let Some(earlier) = earlier {
                return Err(ConfigError::setting(
                    "listen",
                    format!("{earlier} and {listen} are the same port of the same address"),
                    "keep one of them",
                ));
            }
            if listen.tcp().is_some_and(|data| clash(data, self.admin)) {
                return Err(ConfigError::setting(
                    "admin",
                    format!("{} is taken by listen = {listen}", self.admin),
                    "give the admin API another port, for instance 127.0.0.1:8081",
                ));
            }
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<(), ConfigError> {
        let value = &self.cache_control;
        let visible = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if value.is_empty()
            || value.len() > CACHE_CONTROL_BYTES_MAX
            || !visible
            || value.trim() != value
        {
            return Err(ConfigError::setting(
                "cache_control",
                format!("{value:?} is no value for a Cache-Control header"),
                format!(
                    "write 1 to {CACHE_CONTROL_BYTES_MAX} visible ASCII characters with spaces only between \
                     them, for instance \"public, max-age=86400\" or \"no-cache\""
                ),
            ));
        }
        if self.log.trim().is_empty() || self.log.len() > LOG_BYTES_MAX {
            return Err(ConfigError::setting(
                "log",
                format!("a filter has 1 to {LOG_BYTES_MAX} bytes, not {}", self.log.len()),
                log::ADVICE,
            ));
        }
        self.log_filter().map(drop)
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        for (key, value, range, unit) in [
            ("connections", limits.connections, 1..=1_000_000, "connections"),
            ("device_in_flight", limits.device_in_flight, 1..=1024, "operations"),
            ("head_timeout_seconds", limits.head_timeout_seconds, 1..=3600, "seconds"),
            ("idle_timeout_seconds", limits.idle_timeout_seconds, 1..=86_400, "seconds"),
            ("send_timeout_seconds", limits.send_timeout_seconds, 1..=3600, "seconds"),
            (
                "body_min_bytes_per_second",
                limits.body_min_bytes_per_second,
                1..=1 << 30,
                "bytes per second",
            ),
            ("body_grace_seconds", limits.body_grace_seconds, 1..=3600, "seconds"),
            ("drain_timeout_seconds", limits.drain_timeout_seconds, 0..=3600, "seconds"),
        ] {
            number_in(&format!("limits.{key}"), value, &range, unit)?;
        }
        mebibytes("limits.buffer_memory_per_shard", limits.buffer_memory_per_shard, &BUFFER_BYTES)?;
        size_in("limits.largest_body", limits.largest_body, &BODY_BYTES)?;
        size_in("limits.largest_batch", limits.largest_batch, &BATCH_BYTES)
    }

    fn check_access_trace(&self) -> Result<(), ConfigError> {
        let trace = &self.access_trace;
        let (key, range) = ("access_trace.one_object_in", 1..=1_000_000);
        number_in(key, trace.one_object_in, &range, "objects")?;
        size_in("access_trace.largest_file", trace.largest_file, &TRACE_BYTES)
    }
}

fn cores_at_hand() -> Result<Vec<usize>, ConfigError> {
    available_cores().map_err(|error| cores_error(&error.to_string()))
}

fn cores_error(problem_and_fix: &str) -> ConfigError {
    ConfigError::setting("cores", problem_and_fix, "\"all\" takes every core that can be had")
}

/// Whether two listeners would bind the same port of the same address. Port 0 never conflicts: the kernel
/// chooses a free port.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    // `[::ffff:127.0.0.1]` is 127.0.0.1, with a socket for IPv6.
    let (x, y) = (a.ip().to_canonical(), b.ip().to_canonical());
    a.port() != 0 && a.port() == b.port() && (x == y || covers(x, y) || covers(y, x))
}

/// Whether `a` is an unspecified address that includes `b`. `[::]` includes IPv4.
fn covers(a: IpAddr, b: IpAddr) -> bool {
    match a {
        IpAddr::V4(ip) => ip.is_unspecified() && b.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    }
}
