//! The daemon: from a configuration to running shards, and down again.

mod listeners;
mod service;
mod stores;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use thiserror::Error;

use crate::admin::{self, AdminHandle, AdminLimits, AdminState};
use crate::buffer::{Pool, Region};
use crate::config::{Config, ConfigError, Listen};
use crate::datadir::DataDirError;
use crate::http::conn::Deadlines;
use crate::limits::LINGER_NS;
use crate::metrics::{DiskInfo, Metrics, NodeInfo, ShardInfo, VolumeInfo, VolumeState};
use crate::ring::{Prepared, Registration, Ring, RingOptions, SetupError, prepare};
use crate::runtime::Runtime;
use crate::shard::{self, Assignment, Listener, ShardConfig, Shared, Start};
use crate::size::ByteSize;
use crate::sys;
use crate::types::VolumeId;
use crate::volume::{Expected, IoError};
use listeners::SocketFile;
use service::Service;
use stores::{Control, FoundVolume, Store};

/// Buffers of the control ring (bytes).
const CONTROL_BUFFERS: usize = 8 << 20;
/// How often the main thread looks after the shards.
const WATCH: Duration = Duration::from_millis(100);

/// Why the daemon does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The file system has no direct I/O.
    #[error(
        "{} is on a file system without direct I/O ({error}); put it on XFS or ext4, or use \
         --buffered, with which nothing is promised to survive a power cut", path.display()
    )]
    NoDirectIo {
        /// The data directory.
        path: PathBuf,
        /// The kernel's error.
        error: std::io::Error,
    },
    /// The device needs larger blocks than the format's.
    #[error(
        "{} is on a device that reads in blocks of {bytes} bytes; this version needs 512. Use a \
         device with 512-byte logical blocks, or --buffered", path.display()
    )]
    Alignment {
        /// The data directory.
        path: PathBuf,
        /// What the device needs.
        bytes: u32,
    },
    /// A volume with two files.
    #[error(
        "volume {id} has two files, {} and {}; move away the one that does not belong there",
        first.display(), second.display()
    )]
    TwoFiles {
        /// The volume.
        id: u32,
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A volume could not be created.
    #[error(
        "cannot create volume {id} of {size} in {}: {what}: {error}; free space on the disk, or \
         choose a smaller --volume-size", path.display()
    )]
    Create {
        /// The volume.
        id: u32,
        /// The data directory.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// What went wrong.
        error: IoError,
        /// How large it should have been.
        size: ByteSize,
    },
    /// No ring.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// An address could not be bound.
    #[error(
        "cannot listen on {address}: {error}; if another daemon has it, stop that one or choose \
         another address"
    )]
    Listen {
        /// The address.
        address: String,
        /// The kernel's error.
        error: std::io::Error,
    },
    /// Something else.
    #[error("cannot {0}: {1}")]
    Step(&'static str, std::io::Error),
}

impl StartError {
    fn listen(address: &Listen, error: std::io::Error) -> Self {
        Self::Listen { address: address.to_string(), error }
    }
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to and drained.
    Drained,
    /// No volume takes writes any more, because writes failed.
    Poisoned,
    /// No volume could be opened.
    NothingToServe,
    /// A shard ended by itself.
    ShardLost,
}

/// A random number from the kernel.
fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the kernel's random source works");
    u64::from_le_bytes(bytes)
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// See [`StartError`]. Nothing serves then.
pub fn serve(config: &Config) -> Result<Ended, StartError> {
    // The handler writes to a pipe, which this thread reads.
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| StartError::Step("handle signals", error))?;
    raise_file_limit();
    let mut daemon = Daemon::start(config)?;
    let ended = daemon.watch(&mut signals);
    // Without one of its shards the daemon can't end in order, and it need not: what was
    // acknowledged is durable.
    if ended != Ended::ShardLost {
        daemon.stop(&mut signals);
    }
    Ok(ended)
}

/// Connections need descriptors: takes all that the hard limit allows.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("cannot raise the limit of open files to {hard}: {error}");
    }
}

struct Daemon {
    metrics: Arc<Metrics>,
    control: Control,
    threads: Vec<JoinHandle<()>>,
    admin: AdminHandle,
    /// They go with the daemon.
    _socket_files: Vec<SocketFile>,
    /// Locked until the end.
    _stores: Vec<Store>,
}

/// What is needed for each shard, on its way to the shard's thread.
struct Seat {
    prepared: Prepared,
    core: usize,
    start: Start,
}

impl Daemon {
    fn start(config: &Config) -> Result<Self, StartError> {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let cores = config.shard_cores()?;
        let stores = stores::open(config)?;
        let len = usize::try_from(config.limits.buffer_memory_per_shard.bytes()).expect("1 GiB");
        let region = map(cores.len(), len)?;
        let registration =
            if config.require_registered { Registration::Required } else { Registration::Wanted };
        let prepared = prepare(cores.len(), &region, registration)?;
        let peers: Vec<_> = prepared.iter().map(Prepared::fd).collect();
        let registered = prepared.iter().all(Prepared::registered);
        let control_region = map(1, CONTROL_BUFFERS)?;
        let control = prepare(1, &control_region, Registration::None)?.pop().expect("one ring");
        let pool = Pool::new(&control_region, 0);
        let mut control = Control::start(control, pool, peers.clone(), config.buffered)?;

        let mut volumes = stores::volumes(&stores)?;
        // While a disk is missing, volume 1 may be on it.
        if volumes.is_empty() && stores.iter().all(|store| store.dir.is_some()) {
            control.create(&stores[0], 1, config)?;
            let path = stores[0].path.display();
            tracing::info!("created volume 1 of {} in {path}", config.volume_size);
            volumes.push(FoundVolume { store: 0, id: 1, generation: 0 });
        }

        let ports = config.shard_port_range(cores.len())?;
        let (mut listeners, socket_files) = listeners::bind_all(&config.listen, cores.len())?;
        if let Some(ports) = &ports {
            let first = config.listen.iter().find_map(Listen::tcp);
            let host = first.map_or_else(|| [127, 0, 0, 1].into(), |address| address.ip());
            for (port, listeners) in ports.clone().zip(&mut listeners) {
                listeners.push(listeners::bind_own(SocketAddr::new(host, port))?);
            }
        }
        let admin_socket = listeners::bind_admin(config.admin)?;

        let infos = shard_infos(&cores, ports.as_ref().map(|ports| *ports.start()));
        let metrics = new_metrics(config, &stores, &infos);
        metrics.set_registered_buffers(registered);
        let seats = seats(config, &stores, &volumes, &metrics, cores, prepared, listeners);
        let state =
            AdminState::new(Arc::clone(&metrics), sys::monotonic_ns, AdminLimits::default());
        let admin = admin::spawn(admin_socket, state)
            .map_err(|error| StartError::Step("start the admin thread", error))?;
        let mut threads = Vec::new();
        for (n, seat) in seats.into_iter().enumerate() {
            let devices = devices_shared(&volumes, threads.len(), peers.len());
            let limit = (config.limits.device_in_flight as usize / devices).max(1);
            let options = RingOptions { device_in_flight: limit, buffered: config.buffered };
            let (region, peers) = (Arc::clone(&region), peers.clone());
            let thread = std::thread::Builder::new()
                .name(format!("shard-{n}"))
                .spawn(move || run_shard(seat, &Pool::new(&region, n), peers, options))
                .map_err(|error| StartError::Step("start a shard's thread", error))?;
            threads.push(thread);
        }
        for address in &config.listen {
            let scheme = if address.tcp().is_some() { "http://" } else { "" };
            tracing::info!("photos on {scheme}{address}, admin on http://{}", config.admin);
        }
        Ok(Self { metrics, control, threads, admin, _socket_files: socket_files, _stores: stores })
    }

    /// Waits for a reason to stop.
    fn watch(&mut self, signals: &mut Signals) -> Ended {
        let mut service = Service::from_environment();
        loop {
            std::thread::sleep(WATCH);
            service.look(&self.metrics);
            if signals.pending().next().is_some() {
                tracing::info!("told to stop: finishing what is under way");
                return Ended::Drained;
            }
            if self.threads.iter().any(JoinHandle::is_finished) {
                tracing::error!("a shard has ended by itself");
                return Ended::ShardLost;
            }
            let states: Vec<_> = self.metrics.volumes().iter().map(|v| v.state.get()).collect();
            if !states.is_empty() && states.iter().all(|state| *state == VolumeState::Failed) {
                tracing::error!("no volume could be opened: stopping");
                return Ended::NothingToServe;
            }
            let poisoned = states.contains(&VolumeState::Poisoned);
            let hope = [VolumeState::Writable, VolumeState::Recovering];
            if poisoned && !states.iter().any(|state| hope.contains(state)) {
                tracing::error!(
                    "no volume takes writes any more: stopping, so that a restart can help"
                );
                return Ended::Poisoned;
            }
        }
    }

    /// Finishes what is under way and ends all threads.
    fn stop(mut self, signals: &mut Signals) {
        Service::stopping();
        self.metrics.set_draining();
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            if signals.pending().next().is_some() {
                tracing::warn!("told again: stopping without waiting for what is under way");
                return;
            }
            let running = self.threads.iter().zip(0..).filter(|(t, _)| !t.is_finished());
            let running: Vec<u16> = running.map(|(_, shard)| shard).collect();
            self.control.wake(running);
            std::thread::sleep(Duration::from_millis(10));
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a shard's thread panicked");
            }
        }
        if let Err(error) = self.admin.shutdown() {
            tracing::warn!("the admin thread did not end well: {error}");
        }
        tracing::info!("stopped");
    }
}

fn map(pools: usize, len: usize) -> Result<Arc<Region>, StartError> {
    Region::map(pools, len).map_err(|error| StartError::Step("map the buffers", error))
}

fn shard_infos(cores: &[usize], first_port: Option<u16>) -> Vec<ShardInfo> {
    let info = |(n, core): (usize, &usize)| ShardInfo {
        id: u32::try_from(n).expect("few shards"),
        core: u32::try_from(*core).expect("few cores"),
        port: first_port.map(|port| port + u16::try_from(n).expect("few shards")),
    };
    cores.iter().enumerate().map(info).collect()
}

fn new_metrics(config: &Config, stores: &[Store], infos: &[ShardInfo]) -> Arc<Metrics> {
    let disks =
        stores.iter().map(|store| DiskInfo::new(store.path.display().to_string(), store.state()));
    let node = NodeInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ns: sys::monotonic_ns(),
        started_unix_seconds: sys::wall_ns() / 1_000_000_000,
        durable: !config.buffered,
    };
    Metrics::new(node, infos, disks.collect())
}

/// Which shard gets the volume at this position of the sorted list.
fn owner(position: usize, shards: usize) -> usize {
    position % shards
}

/// How many shards share the busiest device of a shard: those that have volumes in the same data
/// directory.
fn devices_shared(volumes: &[FoundVolume], shard: usize, shards: usize) -> usize {
    let placed: Vec<(usize, usize)> =
        volumes.iter().enumerate().map(|(n, v)| (v.store, owner(n, shards))).collect();
    let mine = placed.iter().filter(|(_, owner)| *owner == shard).map(|(store, _)| *store);
    let sharing =
        mine.map(|store| (0..shards).filter(|&other| placed.contains(&(store, other))).count());
    sharing.max().unwrap_or(1)
}

fn seats(
    config: &Config,
    stores: &[Store],
    volumes: &[FoundVolume],
    metrics: &Arc<Metrics>,
    cores: Vec<usize>,
    prepared: Vec<Prepared>,
    listeners: Vec<Vec<Listener>>,
) -> Vec<Seat> {
    let count = cores.len();
    let shared = Arc::new(Shared::new(Arc::clone(metrics), count));
    let mut assignments: Vec<Vec<Assignment>> = (0..count).map(|_| Vec::new()).collect();
    let mut owners = HashMap::new();
    for (n, volume) in volumes.iter().enumerate() {
        let shard = owner(n, count);
        owners.insert(volume.id, u16::try_from(shard).expect("few shards"));
        assignments[shard].push(assign(config, stores, volume, metrics, shard));
    }
    let missing = stores.iter().any(|store| store.dir.is_none());
    let parts = cores.into_iter().zip(prepared).zip(listeners).zip(assignments).enumerate();
    let seat = |(n, (((core, prepared), listeners), assignments))| Seat {
        prepared,
        core,
        start: Start {
            id: u16::try_from(n).expect("few shards"),
            config: shard_config(config, missing),
            shared: Arc::clone(&shared),
            assignments,
            owners: owners.clone(),
            listeners,
        },
    };
    parts.map(seat).collect()
}

fn assign(
    config: &Config,
    stores: &[Store],
    volume: &FoundVolume,
    metrics: &Metrics,
    shard: usize,
) -> Assignment {
    let store = &stores[volume.store];
    let dir = store.dir.as_ref().expect("volumes are found in directories that are there");
    let info = VolumeInfo {
        id: volume.id,
        shard: u32::try_from(shard).expect("few shards"),
        disk: u32::try_from(volume.store).expect("few disks"),
        durable: !config.buffered,
    };
    Assignment {
        dir: store.path.clone(),
        expected: Expected {
            volume: VolumeId(volume.id),
            generation: volume.generation,
            store: dir.store_id().0.to_be_bytes(),
            hash_bits: None,
        },
        metrics: metrics.register_volume(info, VolumeState::Recovering),
    }
}

fn shard_config(config: &Config, disk_missing: bool) -> ShardConfig {
    let limits = &config.limits;
    let ns = |time: Duration| u64::try_from(time.as_nanos()).expect("at most an hour or a day");
    ShardConfig {
        deadlines: Deadlines {
            head: ns(limits.head_timeout()),
            idle: ns(limits.idle_timeout()),
            body: ns(limits.body_grace()),
            send: ns(limits.send_timeout()),
            rate: u64::from(limits.body_min_bytes_per_second),
            linger: LINGER_NS,
        },
        cache_control: config.cache_control.clone(),
        body_max: limits.largest_body.bytes(),
        batch_max: limits.batch_bytes(),
        connections_max: u64::from(limits.connections),
        drain_ns: ns(limits.drain_timeout()),
        disk_missing,
    }
}

fn run_shard(seat: Seat, pool: &Pool, peers: Vec<std::os::fd::RawFd>, options: RingOptions) {
    let Seat { prepared, core, start } = seat;
    if let Err(error) = sys::pin_to_core(core) {
        tracing::warn!("cannot pin a shard to core {core}: {error}");
    }
    let ring = Ring::start(prepared, pool.clone(), peers, options).unwrap_or_else(|error| {
        panic!("a prepared ring could not be started on its thread: {error}")
    });
    let runtime = Runtime::new(&ring, pool.clone(), random);
    shard::run(ring, runtime, start);
}
