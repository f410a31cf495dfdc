use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::*;
use crate::base::types::{ShardId, VolumeId};
use crate::node::board::{Board, DiskState, ShardInfo};
use crate::node::datadir::DataDir;
use crate::node::metrics::{Metrics, NodeInfo};
use crate::node::shard::{AnyOutcome, AnyRequest, RemoteAnswer, RequestOrigin, VolumeSummary};
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::sim::disk::Image;
use crate::runtime::sim::{Fault, World};
use crate::runtime::{Runtime, split_mix};
use crate::volume::{NotRemoved, WriteState};

const SHARDS: usize = 2;

/// The summary of a volume with which the shards answer orders that succeed.
const SUMMARY: VolumeSummary =
    VolumeSummary { write_state: WriteState::Writable, size: 16 << 20, used: 65_536, needles: 0 };

/// A manager of two shards and one data directory, in a simulated world: the files of volumes are simulated,
/// and the shards are a task that answers orders with the result that the test sets.
struct Bench {
    _dir: tempfile::TempDir,
    world: World,
    state: Rc<ManagerState>,
    /// Orders received by the shards: the shard, and the order as text.
    orders: Rc<RefCell<Vec<(usize, String)>>>,
    /// Result with which volumes are opened and deleted.
    result: Rc<RefCell<Result<(), OrderError>>>,
}

/// Runs `test` with a manager that has these volumes.
fn with_manager<F: Future<Output = ()> + 'static>(
    volumes: &[u32],
    test: impl FnOnce(Bench) -> F + 'static,
) {
    let world = World::new(1, &Image::default());
    let (mut driver, mut random) = (world.driver(), 1);
    let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
    let mut runtime = Runtime::new(&driver, pool, move || split_mix(&mut random));
    let dir = tempfile::tempdir().unwrap();
    let state = Rc::new(manager(runtime.handle(), dir.path(), volumes));
    let bench = Bench {
        _dir: dir,
        world,
        state,
        orders: Rc::default(),
        result: Rc::new(RefCell::new(Ok(()))),
    };
    let (state, orders) = (Rc::clone(&bench.state), Rc::clone(&bench.orders));
    let result = Rc::clone(&bench.result);
    let handle = runtime.handle().clone();
    runtime.block_on(&mut driver, async move {
        let (own, is_over) = (handle.clone(), Rc::new(Cell::new(false)));
        let over = Rc::clone(&is_over);
        handle.spawn(async move {
            while !over.get() {
                answer(&state, &orders, &result);
                own.sleep_until(own.now() + 1000).await;
            }
        });
        test(bench).await;
        is_over.set(true);
    });
}

/// Answers the orders that have arrived at the shards, and passes the answers on.
fn answer(
    state: &ManagerState,
    orders: &RefCell<Vec<(usize, String)>>,
    result: &RefCell<Result<(), OrderError>>,
) {
    let summary = || result.borrow().clone().map(|()| SUMMARY);
    for shard in 0..SHARDS {
        while let Some(request) = state.shared.receive_request(shard) {
            assert_eq!(request.from, RequestOrigin::Main);
            let (text, outcome) = match request.request {
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
                AnyRequest::FenceVolume(FenceVolume { volume, generation }) => {
                    let text = format!("fence {volume} {generation}");
                    (text, AnyOutcome::FenceVolume(Ok(Some(SUMMARY))))
                }
                AnyRequest::SetRoute(SetRoute { volume, owner }) => {
                    let owner = owner.map(ShardId::index);
                    (format!("route {volume} {owner:?}"), AnyOutcome::SetRoute(()))
                }
                AnyRequest::LimitDevice(LimitDevice { operations }) => {
                    (format!("limit {operations}"), AnyOutcome::LimitDevice(()))
                }
                _ => panic!("the main thread sent a request that is not an order"),
            };
            orders.borrow_mut().push((shard, text));
            let answer = RemoteAnswer { number: request.number, outcome };
            assert!(state.shared.main_mailbox.send(answer).is_ok());
        }
    }
    while let Some(answer) = state.shared.main_mailbox.receive() {
        state.requester.fulfil(answer);
    }
}

fn manager(handle: &Handle, dir: &Path, volumes: &[u32]) -> ManagerState {
    let path = dir.join("data");
    let store = DataDir::open(&path, true).unwrap();
    let infos: Vec<ShardInfo> =
        ShardId::all(SHARDS).map(|id| ShardInfo { id, core: 0, port: None }).collect();
    let metrics = Metrics::new(NodeInfo::default(), Board::new(&infos, Vec::new()));
    let shared = Arc::new(Shared::new(metrics, SHARDS));
    let mut placement = Placement::new(SHARDS);
    for id in volumes {
        placement.place(&FoundVolume::single(VolumeId(*id), 0, 0));
    }
    ManagerState {
        stores: vec![Store { path, dir: Some(store), state: DiskState::Ok }],
        placement: RefCell::new(placement),
        config: Config { volume_size: ByteSize::mib(16), ..Config::default() },
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
    }
}

fn new_volume() -> NewVolume {
    NewVolume::default()
}

impl Bench {
    fn plan(&self, new: NewVolume) -> Result<Plan, Refused> {
        self.state.plan(new)
    }

    /// Sets the result with which volumes are opened and deleted from now on.
    fn answer_with(&self, result: Result<(), OrderError>) {
        *self.result.borrow_mut() = result;
    }

    /// Makes a real file with the name of a volume file.
    fn make_file(&self, id: u32, generation: u64) -> PathBuf {
        let dir = self.state.stores[0].dir.as_ref().unwrap();
        let path = dir.volume_path(VolumeId(id), generation);
        std::fs::write(&path, "").unwrap();
        path
    }

    fn orders(&self) -> Vec<(usize, String)> {
        self.orders.take()
    }
}

#[test]
fn new_volume_id_is_above_all_existing_and_pending_ids() {
    with_manager(&[], async |bench| assert_eq!(bench.state.next_id(), Ok(VolumeId(1))));
    with_manager(&[3, 7], async |bench| {
        assert_eq!(bench.state.next_id(), Ok(VolumeId(8)));
        let plan = bench.plan(new_volume()).unwrap();
        assert_eq!((plan.changing.id, plan.size, plan.store), (VolumeId(8), 16 << 20, 0));
        assert_eq!(bench.state.next_id(), Ok(VolumeId(9)), "8 is being made");
        let creation = bench.state.creations.get(VolumeId(8)).unwrap();
        assert_eq!((creation.disk, creation.size, creation.done), (0, 16 << 20, 0));
        drop(plan);
        assert_eq!(bench.state.next_id(), Ok(VolumeId(8)));
    });
    with_manager(&[u32::MAX], async |bench| {
        assert!(matches!(bench.state.next_id(), Err(Refused::Conflict(_))));
    });
}

#[test]
fn second_change_of_a_volume_and_excess_changes_are_refused() {
    with_manager(&[], async |bench| {
        let mut changes: Vec<Changing> =
            (0..16).map(|id| bench.state.begin(VolumeId(id)).ok().unwrap()).collect();
        assert_eq!(changes.len(), CHANGES_MAX);
        assert!(matches!(bench.state.begin(VolumeId(3)), Err(Refused::Conflict(_))));
        assert!(matches!(bench.state.begin(VolumeId(99)), Err(Refused::Busy)));
        changes.remove(3);
        assert!(bench.state.begin(VolumeId(3)).is_ok());
        assert!(bench.state.begin(VolumeId(99)).is_ok(), "the one before has ended");
    });
}

#[test]
fn creation_beyond_the_open_file_limit_is_refused() {
    with_manager(&[1, 2], async |bench| {
        let _changed = bench.state.begin(VolumeId(1));
        let third = bench.plan(new_volume()).ok().unwrap();
        let fourth = bench.plan(new_volume()).ok().unwrap();
        assert_eq!([third.changing.id, fourth.changing.id], [3, 4].map(VolumeId));
        assert!(matches!(bench.plan(new_volume()), Err(Refused::NoSpace(_))), "4 is the most");
        drop(fourth);
        assert!(bench.plan(new_volume()).is_ok());
    });
}

#[test]
fn invalid_creation_is_refused_with_its_reason() {
    with_manager(&[5], async |bench| {
        let refused = |new| bench.plan(new).err();
        let taken = NewVolume { id: Some(VolumeId(5)), ..new_volume() };
        assert!(matches!(refused(taken), Some(Refused::Conflict(_))));
        let size = Some(ByteSize::mib(15));
        assert!(matches!(refused(NewVolume { size, ..new_volume() }), Some(Refused::Invalid(_))));
        let disk = Some(1);
        assert!(matches!(refused(NewVolume { disk, ..new_volume() }), Some(Refused::Invalid(_))));
        let (_, whole) = space(&bench.state.stores[0].path).unwrap();
        if whole < 1 << 40 {
            let size = Some(ByteSize::gib(1024));
            let refused = refused(NewVolume { size, ..new_volume() });
            assert!(matches!(refused, Some(Refused::NoSpace(_))));
        }
        assert!(bench.state.changing.borrow().is_empty(), "nothing is being changed");
        assert_eq!(bench.state.creations.all(), []);
        let disk = Some(0);
        let plan = bench.plan(NewVolume { id: Some(VolumeId(9)), size: None, disk }).ok().unwrap();
        assert_eq!((plan.changing.id, plan.store), (VolumeId(9), 0));
    });
}

#[test]
fn created_volume_is_opened_and_routed() {
    with_manager(&[1], async |bench| {
        let plan = bench.plan(new_volume()).ok().unwrap();
        bench.state.create(plan).await;
        assert_eq!(bench.state.creations.get(VolumeId(2)), None);
        let placed = bench.state.placement.borrow().get(VolumeId(2)).cloned().unwrap();
        let found = FoundVolume::single(VolumeId(2), 0, 0);
        assert_eq!((placed.files, placed.shard.index()), (found.files, 1));
        assert_eq!(bench.world.names(), ["2.0.vol"]);
        assert!(bench.state.changing.borrow().is_empty());
        let routed = "route 2 Some(1)".to_owned();
        // The two shards share the device of the data directory.
        let shared = "limit 48".to_owned();
        let expected = [
            (1, "open 2".to_owned()),
            (0, routed.clone()),
            (0, shared.clone()),
            (1, routed),
            (1, shared),
        ];
        assert_eq!(bench.orders(), expected);
        assert!(bench.state.shared.metrics.volume(VolumeId(2)).is_some());
    });
}

#[test]
fn failed_creation_keeps_its_reason_until_it_is_deleted() {
    with_manager(&[1], async |bench| {
        let plan = bench.plan(new_volume()).ok().unwrap();
        bench.world.fail(2, Fault::Errno(28));
        bench.state.create(plan).await;
        let failed = bench.state.creations.get(VolumeId(2)).and_then(|creation| creation.failed);
        assert!(matches!(failed, Some(Refused::NoSpace(_))), "{failed:?}");
        assert_eq!(bench.state.placement.borrow().get(VolumeId(2)), None);
        assert_eq!((bench.orders(), bench.world.names()), (vec![], vec![]));
        assert_eq!(bench.state.delete(VolumeId(2)).await, Ok(()));
        assert_eq!(bench.state.creations.get(VolumeId(2)), None);
        assert_eq!(bench.state.delete(VolumeId(2)).await, Err(Refused::NoSuchVolume(VolumeId(2))));
    });
    with_manager(&[1], async |bench| {
        let plan = bench.plan(new_volume()).ok().unwrap();
        bench.answer_with(Err(OrderError::NotOpened("a reason".to_owned())));
        bench.state.create(plan).await;
        let failed = bench.state.creations.get(VolumeId(2)).and_then(|creation| creation.failed);
        assert!(matches!(failed, Some(Refused::Failed(_))), "{failed:?}");
        assert!(bench.state.placement.borrow().get(VolumeId(2)).is_some(), "its file exists");
        bench.answer_with(Ok(()));
        assert_eq!(bench.state.delete(VolumeId(2)).await, Ok(()));
        assert_eq!(bench.state.creations.get(VolumeId(2)), None);
        assert_eq!(bench.state.placement.borrow().get(VolumeId(2)), None);
    });
}

#[test]
fn volume_that_was_not_deleted_stays_routed() {
    with_manager(&[1, 2], async |bench| {
        let stays = NotRemoved::Kept(IoError::Errno(5));
        bench.answer_with(Err(OrderError::NotRemoved(stays)));
        assert!(matches!(bench.state.delete(VolumeId(2)).await, Err(Refused::Failed(_))));
        assert!(bench.state.placement.borrow().get(VolumeId(2)).is_some());
        assert_eq!(bench.orders(), [(1, "delete 2".to_owned())], "it is still routed");
        bench.answer_with(Ok(()));
        assert_eq!(bench.state.delete(VolumeId(2)).await, Ok(()), "a second attempt is possible");
    });
}

#[test]
fn deleted_volume_is_neither_placed_nor_routed() {
    with_manager(&[1, 2], async |bench| {
        assert_eq!(bench.state.delete(VolumeId(2)).await, Ok(()));
        assert_eq!(bench.state.placement.borrow().get(VolumeId(2)), None);
        let routed = "route 2 None".to_owned();
        // Shard 0 has the device for itself; shard 1 has no volume.
        let alone = "limit 96".to_owned();
        let expected = [
            (1, "delete 2".to_owned()),
            (0, routed.clone()),
            (0, alone.clone()),
            (1, routed),
            (1, alone),
        ];
        assert_eq!(bench.orders(), expected);
        assert!(bench.state.changing.borrow().is_empty());
    });
}

#[test]
fn orders_for_a_volume_go_to_the_shard_that_owns_it() {
    with_manager(&[1, 2, 3], async |bench| {
        assert_eq!(bench.state.set_read_only(VolumeId(2), true).await, Ok(()));
        assert_eq!(bench.orders(), [(1, "read-only 2 true".to_owned())]);
        let unknown = bench.state.set_read_only(VolumeId(9), true).await;
        assert_eq!(unknown, Err(Refused::NoSuchVolume(VolumeId(9))));
        let lose = |lost| Rc::clone(&bench.state).handle_lost(lost);
        lose(Lost::Volume(VolumeId(3), 5)).await;
        assert_eq!(bench.orders(), [(0, "fence 3 5".to_owned())]);
        lose(Lost::Volume(VolumeId(9), 0)).await;
        assert_eq!(bench.orders(), []);
        let inside = [(1, 0), (2, 4), (9, 0)].map(|(id, generation)| (VolumeId(id), generation));
        lose(Lost::Disk(0, inside.to_vec())).await;
        let fenced = [(0, "fence 1 0"), (1, "fence 2 4")];
        assert_eq!(bench.orders(), fenced.map(|(shard, text)| (shard, text.to_owned())));
    });
}

#[test]
fn volume_without_a_file_is_neither_placed_nor_routed() {
    with_manager(&[1, 2], async |bench| {
        Rc::clone(&bench.state).handle_lost(Lost::LastFile(VolumeId(2))).await;
        assert_eq!(bench.state.placement.borrow().get(VolumeId(2)), None);
        let orders = bench.orders();
        assert!(orders.contains(&(0, "route 2 None".to_owned())), "{orders:?}");
        assert!(bench.plan(NewVolume { id: Some(VolumeId(2)), ..new_volume() }).is_ok());
    });
}

#[test]
fn creation_is_refused_if_any_file_has_the_number() {
    with_manager(&[1], async |bench| {
        let path = bench.make_file(7, 3);
        let seven = NewVolume { id: Some(VolumeId(7)), ..new_volume() };
        let Some(Refused::Conflict(why)) = bench.plan(seven).err() else { panic!("it is taken") };
        assert!(why.contains(path.to_str().unwrap()) && why.contains("restart"), "{why}");
        std::fs::remove_file(path).unwrap();
        assert!(bench.plan(seven).is_ok());
    });
}
