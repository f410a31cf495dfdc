//! The daemon: starts the shards and the admin thread from a configuration, watches them and drains them.
//!
//! | file | holds |
//! | --- | --- |
//! | `listeners` | the listening sockets |
//! | `access` | the access trace's file and writer thread |
//! | `activation` | listening sockets passed by the service manager |
//! | `machine` | checks of the limits of open files and memory |
//! | `stores` | the data directories and the volume files in them |
//! | `medium` | checks of durability and direct I/O of the file systems below the data directories |
//! | `placement` | assignment of volumes to shards |
//! | `shards` | launch parameters of the shards, and the body of their threads |
//! | `control` | the main thread's ring and its messages to the shards |
//! | `manager` | creation, deletion and state changes of volumes while the daemon runs |
//! | `disks` | monitoring of the data directories and volume files |
//! | `private` | a daemon that runs inside the process of another command |
//! | `service` | notifications to a service manager |
//! | `signals` | signal handling: which signals drain or stop, and which are only logged |
//! | `welcome` | the log lines at the start: version and addresses |

mod access;
mod activation;
mod control;
mod disks;
mod error;
mod listeners;
mod machine;
mod manager;
mod medium;
mod placement;
mod private;
mod service;
mod shards;
mod signals;
mod stores;
mod welcome;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::base::logging::Log;
use crate::base::sabotage::{self, Sabotage, chosen};
use crate::base::sys;
use crate::base::threads::{Thread, Threads, name};
use crate::node::config::{Config, Listen};
use crate::node::control::admin::{self, AdminHandle, AdminLimits, AdminState, Creations};
use crate::node::datadir::DataDir;
use crate::node::metrics::{DiskInfo, Metrics, NodeInfo, ShardInfo, VolumeState};
use crate::node::shard::Shared;
use crate::ring::{Prepared, Registration, RingOptions, prepare};
use crate::runtime::buffer::{Pool, Region};
use access::AccessTrace;
use control::{Control, Line};
pub use error::{Purpose, StartError};
use listeners::SocketFile;
use manager::{Manager, ManagerState};
use placement::Placement;
pub use private::Private;
use service::Service;
pub use signals::{Meaning, Signals};
use stores::{FoundVolume, Store};

/// Buffer memory of the control ring (bytes).
const CONTROL_BUFFERS: usize = 24 << 20;
/// Interval between two checks of shards, threads and signals by the main thread.
const WATCH: Duration = Duration::from_millis(100);

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal arrived, and the daemon drained.
    Drained,
    /// Every volume is poisoned, read-only or failed, and at least one is poisoned.
    Poisoned,
    /// No volume could be opened.
    NothingToServe,
    /// A thread ended without being asked to.
    ThreadLost,
}

/// Why the daemon stops.
#[derive(Debug)]
enum Reason {
    /// A signal arrived: its name.
    Signal(String),
    /// A thread ended without being asked to: its name.
    ThreadEnded(String),
    /// See [`Ended::NothingToServe`].
    NothingToServe,
    /// See [`Ended::Poisoned`].
    Poisoned,
}

impl Reason {
    fn log(&self) {
        match self {
            Self::Signal(signal) => tracing::info!("received {signal}: draining"),
            Self::ThreadEnded(thread) => tracing::error!(
                "thread {thread} ended by itself, which is a fault of the program: stopping, so that a \
                 restart can help"
            ),
            Self::NothingToServe => tracing::error!("no volume could be opened: stopping"),
            Self::Poisoned => tracing::error!(
                "no volume takes writes any more: stopping, so that a restart can help"
            ),
        }
    }

    fn ended(&self) -> Ended {
        match self {
            Self::Signal(_) => Ended::Drained,
            Self::ThreadEnded(_) => Ended::ThreadLost,
            Self::NothingToServe => Ended::NothingToServe,
            Self::Poisoned => Ended::Poisoned,
        }
    }
}

/// A random number from the kernel (`getrandom(2)`).
fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("getrandom(2) does not fail with a valid buffer");
    u64::from_le_bytes(bytes)
}

/// Runs the daemon until a signal arrives, a thread ends or no volume can be used any more ([`Ended`]).
///
/// # Errors
/// [`StartError`] if the daemon could not be started; no request is served in that case.
pub fn serve(config: &Config, log: &Log) -> Result<Ended, StartError> {
    let mut signals =
        Signals::handle().map_err(|error| StartError::Step("handle signals", error))?;
    let mut daemon = Daemon::start(config, log, FirstVolume::Create)?;
    let reason = daemon.watch(&mut signals);
    // With a shard missing a drain would wait for ever. It is not needed: acknowledged writes are durable.
    if daemon.lacks_a_shard() {
        reason.log();
        return Ok(reason.ended());
    }
    daemon.drain();
    reason.log();
    let ended_well = daemon.finish(&mut signals);
    Ok(if ended_well { reason.ended() } else { Ended::ThreadLost })
}

/// Checks whether a start with `config` would succeed on this machine, without creating, locking or
/// listening on anything. Returns warnings: findings that would not prevent the start.
///
/// # Errors
/// The [`StartError`] with which the start would fail. A port in use is not an error here: it may belong to
/// the daemon that is to be restarted.
pub fn look(config: &Config) -> Result<Vec<String>, StartError> {
    let mut warnings = config.warnings();
    warnings.extend(config.public_listen_warning(&config.listen));
    // In the order of a start, so that of several errors the same one is reported.
    warnings.extend(machine::check_config(config)?);
    let stores = stores::look(config)?;
    warnings.extend(stores.warnings.iter().cloned());
    warnings.extend(listeners::look(config, &stores)?);
    warnings.extend(AccessTrace::look(&config.access_trace, &stores)?);
    if stores.lack_a_volume {
        stores::check_room(config)?;
    }
    Ok(warnings)
}

struct Daemon {
    metrics: Arc<Metrics>,
    files: machine::Files,
    manager: Manager,
    /// All threads of the process except the main thread.
    threads: Threads,
    shards: Vec<Thread>,
    admin: AdminHandle,
    disks: disks::Watch,
    access: Option<AccessTrace>,
    /// Files of the unix sockets, removed when the daemon is dropped.
    _socket_files: Vec<SocketFile>,
}

impl Daemon {
    fn start(config: &Config, log: &Log, first: FirstVolume) -> Result<Self, StartError> {
        let threads = log.threads();
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let cores = config.shard_cores()?;
        let count = cores.len();
        let allowed = machine::check(config, count, machine::raise_file_limit())?;
        for warning in &allowed.warnings {
            tracing::warn!("{warning}");
        }
        let len = usize::try_from(config.limits.buffer_memory_per_shard.bytes())
            .expect("at most 1 GiB: checked in config");
        let region = map(count, len)?;
        let registration =
            if config.require_registered { Registration::Required } else { Registration::Wanted };
        let prepared = prepare(count, &region, registration)?;
        let registered = prepared.iter().all(Prepared::registered);
        let control_region = map(1, CONTROL_BUFFERS)?;
        let control = prepare(1, &control_region, Registration::None)?.pop().expect("one ring");
        // The control ring is last: the main thread's peer index is the number of shards.
        let peers: Vec<_> = prepared.iter().chain([&control]).map(Prepared::fd).collect();
        let pool = Pool::new(&control_region, 0);
        let mut control = Control::start(control, pool, peers.clone(), config.buffered)?;

        let stores = stores::open(config)?;
        // Before the first volume is created: a port in use must not leave a new store behind.
        let (bound, admin_socket) = listeners::bind_all(config, count)?;
        if let Some(warning) = config.public_listen_warning(&bound.places) {
            tracing::warn!("{warning}");
        }
        let admin_address = admin_socket.local_addr().unwrap_or(config.admin);
        let access = AccessTrace::start(&config.access_trace, threads)?;
        let mut placement = Placement::new(count);
        for volume in find_volumes(&mut control, &stores, config, first)? {
            placement.place(&volume);
        }
        // A start that fails before this point removes the data directories that it created.
        stores.iter().filter_map(|store| store.dir.as_ref()).for_each(DataDir::keep);

        let welcome = welcome::lines(&bound, count, admin_address);
        let infos = shard_infos(&cores, bound.first_shard_port);
        let metrics = new_metrics(config, log, &stores, &infos, &bound.places);
        metrics.set_registered_buffers(registered);
        let shared = Shared::new(Arc::clone(&metrics), count);
        let shared = Arc::new(shared.with_access(access.as_ref().map(AccessTrace::queue)));
        let launches = shards::launches(
            (config, allowed.files),
            &stores,
            &placement,
            &shared,
            cores,
            prepared,
            bound.shards,
        );
        let (requests_in, requests) = mpsc::channel();
        let creations = Arc::new(Creations::default());
        let limits = AdminLimits::default();
        let (numbers, making) = (Arc::clone(&metrics), Arc::clone(&creations));
        let state = AdminState::new(numbers, sys::monotonic_ns, limits, requests_in, making);
        let admin = admin::spawn(admin_socket, state, threads)
            .map_err(|error| StartError::Step("start the admin thread", error))?;
        let mut shards = Vec::new();
        for (n, launch) in launches.into_iter().enumerate() {
            let limit = shards::device_limit(config, &placement, n);
            let options = RingOptions { device_in_flight: limit, buffered: config.buffered };
            let (region, peers) = (Arc::clone(&region), peers.clone());
            let body = move || shards::run(launch, &Pool::new(&region, n), peers, options);
            let thread = threads
                .spawn(&name::shard(n), body)
                .map_err(|error| StartError::Step("start a shard's thread", error))?;
            shards.push(thread);
        }

        let files = disks::Files::default();
        for (id, placed) in placement.all() {
            let dir =
                stores[placed.store].dir.as_ref().expect("volumes are found in open stores only");
            files.watch(id, dir.volume_path(id, placed.generation));
        }
        let (lost_in, lost) = mpsc::channel();
        let disks = disks::Watch::start(&stores, &files, &metrics, lost_in, threads)
            .map_err(|error| StartError::Step("monitor the data directories", error))?;
        let state = ManagerState {
            stores,
            placement: RefCell::new(placement),
            config: config.clone(),
            line: Line::new(&control, &shared),
            shared,
            creations,
            files,
            open_files: allowed.files,
            changing: RefCell::new(BTreeSet::new()),
        };
        let manager = Manager { control, state: Rc::new(state), requests, lost };
        for line in welcome {
            tracing::info!("{line}");
        }
        let threads = threads.clone();
        let (files, _socket_files) = (allowed.files, bound.files);
        Ok(Self { metrics, files, manager, threads, shards, admin, disks, access, _socket_files })
    }

    /// Serves changes to volumes and watches shards, threads and signals, until there is a reason to stop.
    fn watch(&mut self, signals: &mut Signals) -> Reason {
        let mut service = Service::from_environment();
        assert!(!sabotage::dies(name::MAIN), "ended on purpose");
        loop {
            self.manager.work(WATCH);
            service.look(&self.metrics);
            if let Some(signal) = signals.stop() {
                return Reason::Signal(signal);
            }
            if let Some(thread) = self.threads.ended()
                && !chosen(Sabotage::IgnoreLostThread)
            {
                return Reason::ThreadEnded(thread);
            }
            let states: Vec<_> = self.metrics.volumes().iter().map(|v| v.state.get()).collect();
            let beyond = (states.len() as u64).saturating_sub(self.files.volumes);
            self.manager.state.shared.set_volumes_beyond(beyond);
            if !states.is_empty() && states.iter().all(|state| *state == VolumeState::Failed) {
                return Reason::NothingToServe;
            }
            let poisoned = states.contains(&VolumeState::Poisoned);
            // A volume whose file is gone can be read and copied only while this process runs.
            let needed = [VolumeState::Writable, VolumeState::Recovering, VolumeState::Lost];
            if poisoned && !states.iter().any(|state| needed.contains(state)) {
                return Reason::Poisoned;
            }
        }
    }

    /// Whether a shard has ended before the drain: the other shards would wait for it while they drain.
    fn lacks_a_shard(&self) -> bool {
        (0..self.shards.len()).any(|n| self.threads.has_ended(&name::shard(n)))
    }

    /// Begins the drain: no new requests are accepted from now on.
    fn drain(&self) {
        self.metrics.set_draining();
        Service::stopping();
    }

    /// Waits until the shards have drained and ends all threads. Returns whether all of them ended without
    /// error; a second stop signal ends the wait at once.
    fn finish(mut self, signals: &mut Signals) -> bool {
        while self.shards.iter().any(|thread| !thread.is_finished()) {
            if let Some(signal) = signals.stop() {
                tracing::warn!("received {signal} again: stopping without waiting any longer");
                return true;
            }
            let running = self.shards.iter().zip(0..).filter(|(t, _)| !t.is_finished());
            let running: Vec<u16> = running.map(|(_, shard)| shard).collect();
            self.manager.control.wake(running);
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut ended_well = true;
        for (n, thread) in self.shards.into_iter().enumerate() {
            if thread.join().is_err() {
                ended_well = false;
                tracing::error!("thread {} ended by itself while draining", name::shard(n));
            }
        }
        if let Err(error) = self.admin.shutdown() {
            ended_well = false;
            tracing::warn!("cannot stop the admin thread in order: {error}");
        }
        self.disks.stop();
        if let Some(access) = self.access {
            access.stop();
        }
        tracing::info!("stopped");
        ended_well
    }
}

/// What a daemon does at the start when its data directories hold no volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstVolume {
    /// Creates volume 1.
    Create,
    /// Creates none: the command that runs the daemon creates volumes as needed.
    Leave,
}

/// Returns all volumes found; creates volume 1 if there is none and `first` asks for it.
fn find_volumes(
    control: &mut Control,
    stores: &[Store],
    config: &Config,
    first: FirstVolume,
) -> Result<Vec<FoundVolume>, StartError> {
    let mut volumes = stores::volumes(stores)?;
    let Store { path, dir, .. } = &stores[0];
    // Volume 1 may be on a disk that is missing.
    if volumes.is_empty()
        && first == FirstVolume::Create
        && stores.iter().all(|store| store.dir.is_some())
        && let Some(dir) = dir
    {
        let superblock = stores::superblock(dir, 1, config.volume_size.bytes());
        let (handle, preallocation) = (control.handle().clone(), stores::preallocation(config));
        let target = path.clone();
        stores::check_room(config)?;
        let created = control.block_on(async move {
            stores::create(&handle, target, &superblock, preallocation, |_| ()).await
        });
        created.map_err(|(what, error)| stores::not_created(config, what, error))?;
        tracing::info!("created volume 1 of {} in {}", config.volume_size, path.display());
        volumes.push(FoundVolume { store: 0, id: 1, generation: 0 });
    }
    Ok(volumes)
}

fn map(pools: usize, len: usize) -> Result<Arc<Region>, StartError> {
    Region::map(pools, len).map_err(|error| StartError::Step("map the buffers", error))
}

fn shard_infos(cores: &[usize], first_port: Option<u16>) -> Vec<ShardInfo> {
    let info = |(n, core): (usize, &usize)| ShardInfo {
        id: u32::try_from(n).expect("at most 1024 shards: CORE_ID_LIMIT"),
        core: u32::try_from(*core).expect("core ids are below CORE_ID_LIMIT"),
        port: first_port.map(|port| port + u16::try_from(n).expect("at most 1024 shards")),
    };
    cores.iter().enumerate().map(info).collect()
}

fn new_metrics(
    config: &Config,
    log: &Log,
    stores: &[Store],
    infos: &[ShardInfo],
    listen: &[Listen],
) -> Arc<Metrics> {
    let disks =
        stores.iter().map(|store| DiskInfo::new(store.path.display().to_string(), store.state()));
    let node = NodeInfo {
        instance: random(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ns: sys::monotonic_ns(),
        started_unix_seconds: sys::wall_ns() / 1_000_000_000,
        durable: !config.buffered,
        listen: listen.iter().map(Listen::to_string).collect(),
        largest_body: config.limits.largest_body.bytes(),
        largest_batch: config.limits.batch_bytes(),
        log_lines_dropped: log.dropped(),
    };
    Metrics::new(node, infos, disks.collect())
}
