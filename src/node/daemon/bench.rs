//! A manager in a simulated world, for tests of what it does.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::compaction::{CompactionState, Now};
use super::health::{HealthState, Records};
use super::machine::OpenFiles;
use super::manager::ManagerState;
use super::placement::Placement;
use super::store::Store;
use super::volume_files::FoundVolume;
use crate::base::size::ByteSize;
use crate::base::types::{ShardId, VolumeId};
use crate::node::board::{
    Board, CompactionEnd, CompactionOutcome, DiskBoard, DiskState, ShardInfo, ShownWriteState,
    VolumeBoard, VolumeInfo, VolumeState,
};
use crate::node::config::{Config, OrWord};
use crate::node::datadir::DataDir;
use crate::node::metrics::{Metrics, NodeInfo};
use crate::node::shard::{
    AnyOutcome, AnyRequest, BurstVolume, CancelCompaction, ClearVolume, CompactVolume,
    CompactionRequest, DeleteVolume, ErrorPlaces, FenceVolume, LimitDevice, ListErrors, OpenVolume,
    OrderError, PauseBackground, RemoteAnswer, RequestOrigin, Requester, SetCluster, SetReadOnly,
    SetRoute, Shared, SuspectVolume, VolumeSummary,
};
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::sim::World;
use crate::runtime::sim::disk::Image;
use crate::runtime::{Handle, Runtime, split_mix};
use crate::volume::{ClusterSettings, FenceReason, WriteState};

const SHARDS: usize = 2;

/// The summary of a volume with which the shards answer orders that succeed.
const SUMMARY: VolumeSummary =
    VolumeSummary { write_state: WriteState::Writable, size: 16 << 20, used: 65_536, needles: 0 };

/// Time at the begin of a test.
pub const START: Now = Now { monotonic_ns: 1_000_000_000_000, wall_ns: 1_700_000_000_000_000_000 };

/// Orders received by the shards: the shard, and the order as text.
type Orders = Rc<RefCell<Vec<(usize, String)>>>;

/// A manager of two shards, in a simulated world: the files of volumes are simulated, and the shards are a
/// task that answers orders with the result that the test sets.
pub struct Bench {
    _dir: tempfile::TempDir,
    pub world: World,
    pub state: Rc<ManagerState>,
    orders: Orders,
    /// Result with which volumes are opened, deleted and compacted.
    result: Rc<RefCell<Result<(), OrderError>>>,
    /// Requests of the compactions that were ordered.
    pub compactions: Rc<RefCell<Vec<CompactionRequest>>>,
    /// Number of needles in the summaries of volumes.
    pub needles: Rc<Cell<u64>>,
    /// The clock of compactions.
    clock: Rc<Cell<Now>>,
}

/// Runs `test` with a manager of one data directory that has these volumes.
pub fn with_manager<F: Future<Output = ()> + 'static>(
    volumes: &[u32],
    test: impl FnOnce(Bench) -> F + 'static,
) {
    let placed: Vec<(u32, usize)> = volumes.iter().map(|id| (*id, 0)).collect();
    with_stores(1, &placed, |_| (), test);
}

/// Runs `test` with a manager of `stores` data directories, with these volumes, each given by its id and the
/// position of its directory, and with a changed configuration.
pub fn with_stores<F: Future<Output = ()> + 'static>(
    stores: usize,
    volumes: &[(u32, usize)],
    change: impl FnOnce(&mut Config),
    test: impl FnOnce(Bench) -> F + 'static,
) {
    with_changed(stores, volumes, |state| change(&mut state.config), test);
}

/// As [`with_stores`], with a changed manager.
pub fn with_changed<F: Future<Output = ()> + 'static>(
    stores: usize,
    volumes: &[(u32, usize)],
    change: impl FnOnce(&mut ManagerState),
    test: impl FnOnce(Bench) -> F + 'static,
) {
    let world = World::new(1, &Image::default());
    let (mut driver, mut random) = (world.driver(), 1);
    let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
    let mut runtime = Runtime::new(&driver, pool, move || split_mix(&mut random));
    let dir = tempfile::tempdir().unwrap();
    let clock = Rc::new(Cell::new(START));
    let mut config = Config { volume_size: ByteSize::mib(16), ..Config::default() };
    config.compaction.reserve = OrWord::of(ByteSize(0));
    let mut state = manager(runtime.handle(), dir.path(), (stores, volumes), config, &clock);
    change(&mut state);
    let bench = Bench {
        _dir: dir,
        world,
        state: Rc::new(state),
        orders: Rc::default(),
        result: Rc::new(RefCell::new(Ok(()))),
        compactions: Rc::default(),
        needles: Rc::default(),
        clock,
    };
    let shards = Shards {
        state: Rc::clone(&bench.state),
        orders: Rc::clone(&bench.orders),
        result: Rc::clone(&bench.result),
        compactions: Rc::clone(&bench.compactions),
        needles: Rc::clone(&bench.needles),
    };
    let handle = runtime.handle().clone();
    runtime.block_on(&mut driver, async move {
        let (own, is_over) = (handle.clone(), Rc::new(Cell::new(false)));
        let over = Rc::clone(&is_over);
        handle.spawn(async move {
            while !over.get() {
                shards.answer();
                own.sleep_until(own.now() + 1000).await;
            }
        });
        test(bench).await;
        is_over.set(true);
    });
}

/// What takes the place of the shards.
struct Shards {
    state: Rc<ManagerState>,
    orders: Orders,
    result: Rc<RefCell<Result<(), OrderError>>>,
    compactions: Rc<RefCell<Vec<CompactionRequest>>>,
    needles: Rc<Cell<u64>>,
}

impl Shards {
    /// Answers the orders that have arrived, and passes the answers on.
    fn answer(&self) {
        let state = &self.state;
        for shard in 0..SHARDS {
            while let Some(request) = state.shared.receive_request(shard) {
                assert_eq!(request.from, RequestOrigin::Main);
                let (text, outcome) = self.outcome(shard, request.request);
                self.orders.borrow_mut().push((shard, text));
                let answer = RemoteAnswer { number: request.number, outcome };
                assert!(state.shared.main_mailbox.send(answer).is_ok());
            }
        }
        while let Some(answer) = state.shared.main_mailbox.receive() {
            state.requester.fulfil(answer);
        }
    }

    /// Returns an order as text, and its outcome.
    fn outcome(&self, shard: usize, request: AnyRequest) -> (String, AnyOutcome) {
        let result = || self.result.borrow().clone();
        let needles = self.needles.get();
        let summary = || result().map(|()| VolumeSummary { needles, ..SUMMARY });
        match request {
            AnyRequest::OpenVolume(OpenVolume(assignment)) => {
                let volume = assignment.volume.0;
                (format!("open {volume}"), AnyOutcome::OpenVolume(summary()))
            }
            AnyRequest::DeleteVolume(DeleteVolume { volume }) => {
                (format!("delete {volume}"), AnyOutcome::DeleteVolume(summary().map(Some)))
            }
            AnyRequest::SetReadOnly(SetReadOnly { volume, read_only }) => {
                let text = format!("read-only {volume} {read_only}");
                (text, AnyOutcome::SetReadOnly(summary()))
            }
            AnyRequest::SetCluster(SetCluster { volume, settings }) => {
                let ClusterSettings { placement, is_read_only, takes_deletes } = settings;
                let text = format!("cluster {volume} {placement} {is_read_only} {takes_deletes}");
                (text, AnyOutcome::SetCluster(summary()))
            }
            AnyRequest::FenceVolume(FenceVolume { volume, generation }) => {
                let text = format!("fence {volume} {generation}");
                (text, AnyOutcome::FenceVolume(Ok(Some(SUMMARY))))
            }
            AnyRequest::CompactVolume(CompactVolume { volume, request }) => {
                if result().is_ok() {
                    let board = self.state.shared.board.volume(volume).expect("it is placed");
                    board.compaction.begin(START.wall_ns, board.used_bytes.get());
                    self.compactions.borrow_mut().push(request);
                }
                (format!("compact {volume}"), AnyOutcome::CompactVolume(result()))
            }
            AnyRequest::CancelCompaction(CancelCompaction { volume }) => {
                let board = self.state.shared.board.volume(volume).expect("it is placed");
                let is_running = board.compaction.is_running();
                if is_running {
                    board.compaction.end(end(CompactionOutcome::Cancelled));
                }
                let outcome = if is_running { Ok(()) } else { Err(OrderError::NotCompacting) };
                (format!("cancel {volume}"), AnyOutcome::CancelCompaction(outcome))
            }
            AnyRequest::BurstVolume(BurstVolume { volume, needles }) => {
                (format!("burst {volume} {needles}"), AnyOutcome::BurstVolume(result()))
            }
            AnyRequest::SuspectVolume(SuspectVolume { volume }) => {
                let board = self.state.shared.board.volume(volume).expect("it is placed");
                if result().is_ok() {
                    board.health.suspect.set(1);
                    board.write_state.set(ShownWriteState::Fenced);
                    board.state.set(VolumeState::ReadOnly);
                }
                let write_state = WriteState::Fenced(FenceReason::Suspect);
                let summary = result().map(|()| VolumeSummary { write_state, ..SUMMARY });
                (format!("suspect {volume}"), AnyOutcome::SuspectVolume(summary))
            }
            AnyRequest::ClearVolume(ClearVolume { volume }) => {
                let board = self.state.shared.board.volume(volume).expect("it is placed");
                let was_suspect = board.health.suspect.get() != 0;
                board.health.suspect.set(0);
                board.write_state.set(ShownWriteState::Writable);
                board.state.set(VolumeState::Writable);
                (format!("clear {volume}"), AnyOutcome::ClearVolume(result().map(|()| was_suspect)))
            }
            AnyRequest::ListErrors(ListErrors { volume }) => {
                let errors =
                    ErrorPlaces { incarnation: 7, places: std::iter::once(0..512).collect() };
                (format!("errors {volume}"), AnyOutcome::ListErrors(result().map(|()| errors)))
            }
            AnyRequest::PauseBackground(PauseBackground { paused }) => {
                let board = &self.state.shared.board.shards[shard];
                board.background_paused.set(u64::from(paused));
                (format!("pause {paused}"), AnyOutcome::PauseBackground(()))
            }
            AnyRequest::SetRoute(SetRoute { volume, owner }) => {
                let owner = owner.map(ShardId::index);
                (format!("route {volume} {owner:?}"), AnyOutcome::SetRoute(()))
            }
            AnyRequest::LimitDevice(LimitDevice { operations }) => {
                (format!("limit {operations}"), AnyOutcome::LimitDevice(()))
            }
            _ => panic!("the main thread sent a request that is not an order"),
        }
    }
}

/// The end of a compaction in which nothing happened.
pub fn end(outcome: CompactionOutcome) -> CompactionEnd {
    CompactionEnd {
        outcome,
        reason: String::new(),
        read_bytes: 0,
        written_bytes: 0,
        gained_bytes: 0,
        duration_ns: 0,
        gate_closed_ns: 0,
        gate_closed_max_ns: 0,
    }
}

fn manager(
    handle: &Handle,
    dir: &Path,
    (stores, volumes): (usize, &[(u32, usize)]),
    config: Config,
    clock: &Rc<Cell<Now>>,
) -> ManagerState {
    let store = |n: usize| {
        let path = dir.join(format!("data{n}"));
        let opened = DataDir::open(&path, true).unwrap();
        Store { path, dir: Some(opened), state: DiskState::Ok }
    };
    let stores: Vec<Store> = (0..stores).map(store).collect();
    let disks = stores.iter().map(|it| DiskBoard::new(it.path.display().to_string(), it.state));
    let infos: Vec<ShardInfo> =
        ShardId::all(SHARDS).map(|id| ShardInfo { id, core: 0, port: None }).collect();
    let metrics = Metrics::new(NodeInfo::default(), Board::new(&infos, disks.collect()));
    let shared = Arc::new(Shared::new(metrics, SHARDS));
    let mut placement = Placement::new(SHARDS);
    for (id, store) in volumes {
        let (id, disk) = (VolumeId(*id), u32::try_from(*store).unwrap());
        let shard = placement.place(&FoundVolume::single(id, *store, 0));
        let info = VolumeInfo { id, shard, disk, durable: true };
        shared.metrics.register_volume(info, VolumeState::Writable);
    }
    let (now, disk_count) = (Rc::clone(clock), stores.len());
    let compaction = CompactionState::new(handle, Rc::new(move || now.get()), Arc::default());
    ManagerState {
        stores,
        placement: RefCell::new(placement),
        config,
        handle: handle.clone(),
        requester: Requester::new(RequestOrigin::Main, handle, &shared),
        shared,
        creations: Arc::default(),
        open_files: OpenFiles {
            connections: 100,
            refusals_per_shard: 10,
            volumes: 2,
            volumes_max: 4,
            limit: 1024,
        },
        changing: RefCell::default(),
        compaction,
        health: HealthState::new(Records::default(), disk_count, "boot".to_owned()),
        own_ids_named: Cell::new(false),
    }
}

impl Bench {
    /// The board of a volume.
    pub fn board(&self, id: u32) -> Arc<VolumeBoard> {
        self.state.shared.board.volume(VolumeId(id)).expect("the volume is registered")
    }

    /// The present time.
    pub fn clock(&self) -> Now {
        self.clock.get()
    }

    /// Advances both clocks.
    pub fn advance(&self, seconds: u64) {
        let Now { monotonic_ns, wall_ns } = self.clock.get();
        let ns = seconds * 1_000_000_000;
        self.clock.set(Now { monotonic_ns: monotonic_ns + ns, wall_ns: wall_ns + ns });
    }

    /// Sets the result with which volumes are opened, deleted and compacted from now on.
    pub fn answer_with(&self, result: Result<(), OrderError>) {
        *self.result.borrow_mut() = result;
    }

    /// Makes a real file with the name of a volume file.
    pub fn make_file(&self, id: u32, generation: u64) -> PathBuf {
        let dir = self.state.stores[0].dir.as_ref().unwrap();
        let path = dir.volume_path(VolumeId(id), generation);
        std::fs::write(&path, "").unwrap();
        path
    }

    pub fn orders(&self) -> Vec<(usize, String)> {
        self.orders.take()
    }
}
