//! Volumes with several files in a shard: which one is served and monitored, and deletion of all.

use std::cell::Cell;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::super::assignment::{AssignedFile, Assignment};
use super::super::config::ReadPlans;
use super::super::order::OrderError;
use super::super::paces::Paces;
use super::super::request::{Dialect, PutNeedle, RequestError};
use super::super::volumes::Volumes;
use super::*;
use crate::base::types::{Cookie, NeedleId, ShardId};
use crate::node::board::{VolumeBoard, VolumeInfo, VolumeState};
use crate::node::metrics::VolumeMetrics;
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::sim::disk::Image;
use crate::runtime::sim::{Fault, World};
use crate::runtime::{Runtime, split_mix};
use crate::volume::{Draft, Expected, NotRemoved, Preallocation, Superblock, SuperblockState};

const ONE: VolumeId = VolumeId(1);
const STORE: [u8; 16] = [1; 16];

/// Records what a shard asks of it, as text.
#[derive(Default)]
struct Monitor {
    calls: Mutex<Vec<String>>,
    /// Why files cannot be monitored, if they cannot.
    error: Option<i32>,
}

impl Monitor {
    fn call(&self, text: String) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl FileMonitor for Monitor {
    fn watch(&self, volume: VolumeId, generation: u64, path: PathBuf) -> io::Result<()> {
        self.call(format!("watch {volume} {generation} {}", path.display()));
        self.error.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn replace(&self, volume: VolumeId, generation: u64, path: PathBuf) -> io::Result<()> {
        self.watch(volume, generation, path)
    }

    fn forget(&self, volume: VolumeId) {
        self.call(format!("forget {volume}"));
    }

    fn report_without_file(&self, volume: VolumeId) {
        self.call(format!("without file {volume}"));
    }
}

/// A shard's volumes in a simulated world with two data directories, `a` and `b`.
struct Bench {
    handle: Handle,
    world: World,
    volumes: Rc<Volumes>,
    monitor: Arc<Monitor>,
    metrics: Arc<VolumeMetrics>,
    files: Vec<AssignedFile>,
}

fn with_files<F: Future<Output = ()> + 'static>(
    monitor: Monitor,
    test: impl FnOnce(Bench) -> F + 'static,
) {
    let pool = Pool::new(&Region::map(1, 8 << 20).unwrap(), 0);
    let world = World::new(1, &Image::default());
    let (mut driver, mut state) = (world.driver(), 1);
    let mut runtime = Runtime::new(&driver, pool, move || split_mix(&mut state));
    let handle = runtime.handle().clone();
    let monitor = Arc::new(monitor);
    let volumes = Rc::new({
        let monitor = Arc::clone(&monitor) as Arc<dyn FileMonitor>;
        Volumes::new(Some(monitor), Paces::default(), ReadPlans::default())
    });
    let info = VolumeInfo { id: ONE, shard: ShardId::from_index(0), disk: 9, durable: true };
    let board = Arc::new(VolumeBoard::new(info, VolumeState::Recovering));
    let metrics = Arc::new(VolumeMetrics::new(board));
    let files = Vec::new();
    let bench = Bench { handle: handle.clone(), world, volumes, monitor, metrics, files };
    runtime.block_on(&mut driver, async move {
        for path in ["a", "b"] {
            handle.submit(Op::OpenDir { path: path.into() }).await;
        }
        test(bench).await;
    });
}

impl Bench {
    /// Creates the file of a generation in directory 0 or 1, made from the one before.
    async fn create(&mut self, disk: u32, generation: u64, state: SuperblockState) {
        let superblock = Superblock {
            compat: 0,
            ro_compat: 0,
            incompat: 0,
            volume: ONE,
            incarnation: 100 + generation,
            parent: if generation == 0 { 0 } else { 99 + generation },
            generation,
            state,
            size: 1 << 20,
            unit: 512,
            chunk: 65_536,
            hash_seed: 42,
            store: STORE,
            created_ns: 0,
            revision: 1,
            history_from: 0,
            verified_ns: 0,
            replica: None,
            cluster: None,
        };
        let how = Preallocation::Reserve;
        volume::create(&self.handle, DirId(disk), &superblock, how, |_| ()).await.unwrap();
        let expected = Expected {
            volume: ONE,
            generation,
            store: STORE,
            hash_bits: None,
            segments_max: None,
            checkpoints: None,
        };
        let dir = PathBuf::from(["a", "b"][disk as usize]);
        self.files.push(AssignedFile { dir, disk, expected, health: None });
    }

    async fn open_with(&self, all_directories: bool) -> Result<(), OrderError> {
        let (files, metrics) = (self.files.clone(), Arc::clone(&self.metrics));
        let assignment = Assignment { volume: ONE, files, all_directories, metrics };
        self.volumes.open_one(&self.handle, assignment).await.map(drop)
    }

    async fn open(&self) -> Result<(), OrderError> {
        self.open_with(true).await
    }

    async fn put(&self) -> bool {
        let draft = Draft::new(self.handle.pool(), None, 4).unwrap();
        let (id, cookie) = (NeedleId::new(1, 0), Cookie(1));
        let put = PutNeedle { id, cookie, draft, conditions: None, dialect: Dialect::Own };
        self.volumes.put(ONE, put).await.is_ok()
    }

    fn state(&self) -> VolumeState {
        self.metrics.board.state.get()
    }

    fn names(&self) -> Vec<String> {
        self.world.names()
    }
}

#[test]
fn newest_generation_is_served_and_monitored_and_its_directory_published() {
    with_files(Monitor::default(), async |mut bench| {
        bench.create(0, 0, SuperblockState::Live).await;
        bench.create(0, 1, SuperblockState::Live).await;
        assert_eq!(bench.metrics.board.disk.get(), 9, "as it was registered");
        bench.open().await.unwrap();
        assert_eq!(bench.names(), ["1.1.vol"]);
        assert_eq!(bench.monitor.take(), ["watch 1 1 a/1.1.vol"]);
        assert_eq!((bench.metrics.board.disk.get(), bench.state()), (0, VolumeState::Writable));
        assert!(bench.put().await);
    });
}

#[test]
fn older_generation_is_served_while_the_newer_is_unfinished() {
    with_files(Monitor::default(), async |mut bench| {
        // The order in which the files are assigned makes no difference.
        bench.create(1, 1, SuperblockState::Building).await;
        bench.create(0, 0, SuperblockState::Live).await;
        bench.open().await.unwrap();
        assert_eq!(bench.names(), ["1.0.vol"]);
        assert_eq!(bench.monitor.take(), ["watch 1 0 a/1.0.vol"]);
        assert_eq!(bench.metrics.board.disk.get(), 0);
    });
}

#[test]
fn lone_unfinished_generation_is_removed_with_its_volume() {
    with_files(Monitor::default(), async |mut bench| {
        bench.create(1, 1, SuperblockState::Building).await;
        assert!(matches!(bench.open_with(false).await, Err(OrderError::NotOpened(_))));
        assert_eq!((bench.names(), bench.state()), (vec!["1/1.1.vol".into()], VolumeState::Failed));
        assert_eq!(bench.open().await, Err(OrderError::NoVolume));
        assert!(matches!(bench.volumes.local(ONE), Err(RequestError::NoVolume)));
        assert_eq!((bench.names(), bench.monitor.take()), (vec![], vec!["without file 1".into()]));
    });
}

#[test]
fn lone_unfinished_generation_that_cannot_be_removed_can_be_deleted_later() {
    with_files(Monitor::default(), async |mut bench| {
        // The data directory is opened once.
        bench.create(0, 1, SuperblockState::Building).await;
        assert_eq!(bench.open().await, Err(OrderError::NoVolume));
        bench.files.clear();
        bench.create(0, 1, SuperblockState::Building).await;
        let operations = bench.world.operations();
        assert_eq!(bench.open().await, Err(OrderError::NoVolume));
        // The removal ends with the sync of the directory.
        let last = bench.world.operations() - operations - 1;
        bench.files.clear();
        bench.create(0, 1, SuperblockState::Building).await;
        bench.world.fail(last, Fault::Errno(5));
        let failed = bench.open().await;
        assert!(matches!(&failed, Err(OrderError::NotOpened(why)) if why.contains("not finished")));
        assert_eq!(bench.state(), VolumeState::Failed);
        assert!(bench.names().is_empty(), "but not durably");
        let gone = bench.volumes.delete(&bench.handle, ONE).await;
        assert!(matches!(gone, Err(OrderError::NotRemoved(NotRemoved::Kept(_)))), "{gone:?}");
    });
}

#[test]
fn file_that_cannot_be_monitored_ends_the_writes_and_keeps_the_other() {
    for (errno, state) in [
        (libc::ENOENT, VolumeState::Lost),
        (libc::ENOTDIR, VolumeState::Lost),
        // A restart can help.
        (libc::EIO, VolumeState::Poisoned),
    ] {
        let monitor = Monitor { error: Some(errno), ..Monitor::default() };
        with_files(monitor, async move |mut bench| {
            bench.create(0, 0, SuperblockState::Live).await;
            bench.create(0, 1, SuperblockState::Live).await;
            bench.open().await.unwrap();
            assert_eq!(bench.state(), state);
            assert_eq!(bench.names(), ["1.0.vol", "1.1.vol"]);
            assert!(!bench.put().await);
            let deleted = bench.volumes.delete(&bench.handle, ONE).await;
            assert_eq!(deleted.err() == Some(OrderError::Lost), state == VolumeState::Lost);
        });
    }
}

#[test]
fn errors_of_the_monitor_that_are_no_errnos_are_understood() {
    for (error, errno) in [
        (io::Error::new(io::ErrorKind::NotFound, "its data directory was lost"), libc::ENOENT),
        (io::Error::other("something else"), libc::EIO),
        (io::Error::from_raw_os_error(libc::ENOTDIR), libc::ENOTDIR),
    ] {
        assert_eq!(io_error(&error), IoError::Errno(errno), "{error}");
    }
}

#[test]
fn loss_of_a_file_that_is_not_in_use_does_not_fence_the_volume() {
    with_files(Monitor::default(), async |mut bench| {
        bench.create(0, 0, SuperblockState::Live).await;
        bench.create(0, 1, SuperblockState::Live).await;
        bench.open().await.unwrap();
        assert_eq!(bench.volumes.fence(ONE, 0), Ok(None));
        assert_eq!(bench.volumes.fence(ONE, 2), Ok(None));
        assert!(bench.put().await, "the open file is there");
        assert!(bench.volumes.fence(ONE, 1).unwrap().is_some());
        assert!(!bench.put().await);
    });
}

#[test]
fn volume_with_undecided_files_can_only_be_deleted_with_all_of_them() {
    with_files(Monitor::default(), async |mut bench| {
        bench.create(0, 0, SuperblockState::Live).await;
        bench.create(1, 1, SuperblockState::Live).await;
        bench.create(1, 0, SuperblockState::Live).await;
        let Err(OrderError::NotOpened(why)) = bench.open().await else { panic!("it was opened") };
        assert!(why.starts_with("generation 0 is in two data directories"), "{why}");
        assert_eq!(bench.names(), ["1.0.vol", "1/1.0.vol", "1/1.1.vol"]);
        assert_eq!(bench.monitor.take(), [""; 0]);
        assert_eq!(bench.volumes.delete(&bench.handle, ONE).await, Ok(None));
        assert_eq!((bench.names(), bench.monitor.take()), (vec![], vec!["forget 1".into()]));
        assert!(matches!(bench.volumes.local(ONE), Err(RequestError::NoVolume)));
    });
}

/// Deletes a volume with an older file beside the open one, with a fault on operation `n` of the deletion.
/// Returns whether the deletion failed.
fn delete_with_fault(n: u64) -> bool {
    let has_failed = Rc::new(Cell::new(false));
    let failed = Rc::clone(&has_failed);
    with_files(Monitor::default(), async move |mut bench| {
        // The data directory is opened once.
        bench.create(0, 0, SuperblockState::Live).await;
        bench.open().await.unwrap();
        bench.volumes.delete(&bench.handle, ONE).await.unwrap();
        bench.files.clear();
        bench.create(0, 0, SuperblockState::Live).await;
        bench.create(0, 1, SuperblockState::Live).await;
        // The removal of the older file will fail when the volume is opened: it is the last operation but
        // one.
        let operations = bench.world.operations();
        bench.open().await.unwrap();
        let removal = bench.world.operations() - operations - 2;
        bench.volumes.delete(&bench.handle, ONE).await.unwrap();
        bench.files.clear();
        bench.create(0, 0, SuperblockState::Live).await;
        bench.create(0, 1, SuperblockState::Live).await;
        bench.world.fail(removal, Fault::Errno(5));
        bench.open().await.unwrap();
        assert_eq!((bench.names().len(), bench.put().await), (2, true));
        bench.monitor.take();

        bench.world.fail(n, Fault::Errno(5));
        let deleted = bench.volumes.delete(&bench.handle, ONE).await;
        failed.set(deleted.is_err());
        match deleted {
            Ok(_) => assert_eq!(bench.monitor.take(), ["forget 1"]),
            Err(OrderError::NotRemoved(NotRemoved::Kept(_))) => {
                assert!(bench.names().contains(&"1.1.vol".to_owned()), "operation {n}");
                assert_eq!(bench.monitor.take(), ["forget 1", "watch 1 1 a/1.1.vol"]);
                assert!(bench.put().await, "operation {n}");
                assert!(bench.volumes.delete(&bench.handle, ONE).await.is_ok(), "operation {n}");
            }
            Err(OrderError::NotRemoved(NotRemoved::Nameless(_))) => {
                assert!(!bench.put().await, "operation {n}: a restart would not find it");
                let again = bench.volumes.delete(&bench.handle, ONE).await;
                assert_eq!(again, Err(OrderError::Lost), "operation {n}");
            }
            Err(other) => panic!("operation {n}: {other}"),
        }
        assert_eq!(bench.names(), [""; 0], "operation {n}");
    });
    has_failed.get()
}

#[test]
fn deletion_that_fails_at_any_operation_keeps_the_volume_or_fences_it() {
    let failed = (0..12).filter(|n| delete_with_fault(*n)).count();
    assert_eq!(failed, 4, "removal and sync of two files");
}

#[test]
fn file_that_is_replaced_while_it_is_opened_fences_the_volume() {
    let fenced = Rc::new(Cell::new(0));
    for n in 0..60 {
        let fenced = Rc::clone(&fenced);
        with_files(Monitor::default(), async move |mut bench| {
            bench.create(0, 0, SuperblockState::Live).await;
            let (world, handle) = (bench.world.clone(), bench.handle.clone());
            let monitor = Arc::clone(&bench.monitor);
            let was_monitored = Rc::new(Cell::new(false));
            let seen = Rc::clone(&was_monitored);
            let replacing = async move {
                for _ in 0..n {
                    handle.submit(Op::OpenDir { path: "a".into() }).await;
                }
                seen.set(!monitor.take().is_empty());
                world.remove("1.0.vol");
            };
            bench.handle.spawn(replacing);
            let opened = bench.open().await;
            // Opened before, and replaced before it was monitored: the monitor does not notice.
            if opened.is_ok() && !was_monitored.get() && bench.names().is_empty() {
                assert_eq!(bench.state(), VolumeState::Lost, "after {n} operations");
                assert!(!bench.put().await);
                fenced.set(fenced.get() + 1);
            }
        });
    }
    assert!(fenced.get() > 3, "{}", fenced.get());
}
