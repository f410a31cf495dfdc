//! The start: from a configuration to running threads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use super::access::AccessTrace;
use super::cluster::{Joining, MarkFiles, read_marks};
use super::compaction::{CompactionState, Now};
use super::control::{self, Control};
use super::disks;
use super::error::StartError;
use super::first_volume::{self, FirstVolume};
use super::health::{HealthState, Records};
use super::manager::ManagerState;
use super::placement::Placement;
use super::random::random;
use super::running::Running;
use super::store::Store;
use super::watched_files::WatchedFiles;
use super::work::Manager;
use super::{admin_token, listeners, machine, shards, stores, welcome};
use crate::base::logging::Log;
use crate::base::sys;
use crate::base::threads::{Threads, name};
use crate::base::types::ShardId;
use crate::node::board::{Board, DiskBoard, ShardInfo};
use crate::node::config::{Config, Listen};
use crate::node::control::admin::{self, AdminLimits, AdminState};
use crate::node::control::{Compactions, ControlHandle, ControlPlane, Creations};
use crate::node::datadir::DataDir;
use crate::node::metrics::{Metrics, NodeInfo};
use crate::node::shard::{RequestOrigin, Requester, Shared};
use crate::ring::{Prepared, Registration, RingOptions, prepare};
use crate::runtime::buffer::{Pool, Region};

/// Starts a daemon. A start that fails before its first volume is placed removes the data directories that
/// it created.
///
/// # Errors
/// [`StartError`]: no request is served in that case.
pub fn start(config: &Config, log: &Log, first: FirstVolume) -> Result<Running, StartError> {
    let threads = log.threads();
    sys::keep_freed_memory();
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
    let control_region = map(1, control::BUFFERS)?;
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
    let joining = listeners::bind_cluster(config, &bound.places)?;
    let joining = joining.map(|bound| Joining::new(config, &stores, bound));
    let token = admin_token::read(config)?;
    let admin_address = admin_socket.local_addr().unwrap_or(config.admin);
    let access = AccessTrace::start(&config.access_trace, threads)?;
    let mut placement = Placement::new(count);
    for volume in first_volume::find_volumes(&mut control, &stores, config, first)? {
        placement.place(&volume);
    }
    // A start that fails before this point removes the data directories that it created.
    stores.iter().filter_map(|store| store.dir.as_ref()).for_each(DataDir::keep);

    let welcome = welcome::lines(&bound, count, admin_address);
    let infos = shard_infos(&cores, bound.first_shard_port);
    let board = new_board(&infos, &stores);
    let metrics = Metrics::new(node_info(config, log, &bound.places), Arc::clone(&board));
    metrics.set_registered_buffers(registered);
    let files = WatchedFiles::default();
    let shared = Shared::new(Arc::clone(&metrics), count).with_files(Arc::new(files.clone()));
    let shared = Arc::new(shared.with_access(access.as_ref().map(AccessTrace::queue)));
    let mut records = Records::read(&stores, sys::wall_ns() / 1_000_000_000);
    let launches = shards::launches(
        (config, allowed.files),
        (&stores, &records),
        &placement,
        &shared,
        cores,
        prepared,
        bound.shards,
    );
    let (requests_in, requests) = mpsc::channel();
    let creations = Arc::new(Creations::default());
    let compactions = Arc::new(Compactions::default());
    let limits = AdminLimits::default();
    let (numbers, making) = (Arc::clone(&metrics), Arc::clone(&creations));
    let compacting = Arc::clone(&compactions);
    let own_requests = requests_in.clone();
    let state =
        AdminState::new(numbers, sys::monotonic_ns, limits, own_requests, making, compacting);
    let cluster = joining.as_ref().map(|joining| Arc::clone(&joining.state));
    let shown = joining.as_ref().map(|it| (Arc::clone(&it.node), Arc::clone(&it.state)));
    let state = state.with_token(token).with_cluster(shown);
    let mut mark_files = MarkFiles::default();
    let join = |plane: &mut ControlPlane| match joining {
        None => Ok(()),
        Some(joining) => {
            let (files, store) = MarkFiles::start(&stores, threads)?;
            mark_files = files;
            let marks = (read_marks(&stores), store);
            joining.add_to(plane, &metrics, requests_in, Arc::clone(&compactions), marks)
        }
    };
    let control_plane = start_control_plane(admin_socket, state, join, threads)
        .map_err(|error| StartError::Step("start the admin thread", error))?;
    let mut shards = Vec::new();
    for (id, launch) in ShardId::all(count).zip(launches) {
        let limit = shards::device_limit(config, &placement, id);
        let options = RingOptions { device_in_flight: limit, buffered: config.buffered };
        let (region, peers) = (Arc::clone(&region), peers.clone());
        let body = move || shards::run(launch, &Pool::new(&region, id.index()), peers, options);
        let thread = threads
            .spawn(&name::shard(id), body)
            .map_err(|error| StartError::Step("start a shard's thread", error))?;
        shards.push(thread);
    }

    let (lost_in, lost) = mpsc::channel();
    let disks = disks::Watch::start(&stores, &files, &board, lost_in, threads)
        .map_err(|error| StartError::Step("monitor the data directories", error))?;
    records
        .start_writers(&stores, threads)
        .map_err(|error| StartError::Step("start a thread for the health of a disk", error))?;
    let health = HealthState::new(records, stores.len(), sys::boot_id());
    let state = ManagerState {
        health,
        stores,
        placement: RefCell::new(placement),
        config: config.clone(),
        handle: control.handle().clone(),
        requester: Requester::new(RequestOrigin::Main, control.handle(), &shared),
        shared,
        creations,
        open_files: allowed.files,
        changing: RefCell::new(BTreeSet::new()),
        compaction: CompactionState::new(control.handle(), Now::clock(), compactions),
        own_ids_named: Cell::new(false),
    };
    let state = Rc::new(state);
    let manager = Manager { control, state, requests, lost, next_look: Instant::now() };
    for line in welcome {
        tracing::info!("{line}");
    }
    let threads = threads.clone();
    let (files, _socket_files) = (allowed.files, bound.files);
    let started_ns = metrics.node.started_ns;
    Ok(Running {
        board,
        started_ns,
        files,
        manager,
        threads,
        shards,
        control_plane,
        disks,
        access,
        cluster,
        mark_files,
        _socket_files,
    })
}

/// Starts the thread of the control plane, with its services; `join` adds those for a cluster.
fn start_control_plane(
    admin_socket: TcpListener,
    state: AdminState,
    join: impl FnOnce(&mut ControlPlane) -> io::Result<()>,
    threads: &Threads,
) -> io::Result<ControlHandle> {
    let mut plane = ControlPlane::new()?;
    let admin = admin::spawn(plane.runtime(), plane.stop(), admin_socket, state)?;
    plane.add(admin);
    join(&mut plane)?;
    plane.start(threads)
}

fn map(pools: usize, len: usize) -> Result<Arc<Region>, StartError> {
    Region::map(pools, len).map_err(|error| StartError::Step("map the buffers", error))
}

fn shard_infos(cores: &[usize], first_port: Option<u16>) -> Vec<ShardInfo> {
    let info = |(id, core): (ShardId, &usize)| ShardInfo {
        id,
        core: u32::try_from(*core).expect("core ids are below CORE_ID_LIMIT"),
        port: first_port.map(|port| port + u16::from(id)),
    };
    ShardId::all(cores.len()).zip(cores).map(info).collect()
}

fn new_board(shards: &[ShardInfo], stores: &[Store]) -> Arc<Board> {
    let disk = |store: &Store| DiskBoard::new(store.path.display().to_string(), store.state);
    Board::new(shards, stores.iter().map(disk).collect())
}

fn node_info(config: &Config, log: &Log, listen: &[Listen]) -> NodeInfo {
    NodeInfo {
        instance: random(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ns: sys::monotonic_ns(),
        started_unix_seconds: sys::wall_ns() / 1_000_000_000,
        durable: !config.buffered,
        listen: listen.iter().map(Listen::to_string).collect(),
        largest_body: config.limits.largest_body.bytes(),
        largest_batch: config.limits.batch_bytes(),
        log_lines_dropped: log.dropped(),
    }
}
