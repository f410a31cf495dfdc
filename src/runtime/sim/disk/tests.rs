//! Tests of the properties of the disk model that other tests rely on.

use super::*;
use crate::runtime::Runtime;
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::op::{DirId, FileId, Op, Piece, Returned};
use crate::runtime::sim::fault::{
    BAD_SECTOR, BIT_ROT, NO_SPACE, UNREADABLE_SECTOR, WRITE_AFTER_FAILURE, WRITE_WITHOUT_SPACE,
};
use crate::runtime::sim::{Fault, SimDriver, World};

const FILE: &str = "file";

fn sector(byte: u8) -> [u8; SECTOR] {
    [byte; SECTOR]
}

/// Creates a disk with a file of two pages, of which only the first is written.
fn disk() -> Disk {
    let mut bytes = [0; 2 * PAGE];
    bytes[..PAGE].fill(1);
    Disk::from_image(&Image::of(FILE, &bytes))
}

fn at(image: &Image, sector: usize) -> u8 {
    image.bytes(FILE)[sector * SECTOR]
}

#[test]
fn unflushed_sectors_may_be_lost_and_flushed_ones_survive() {
    let mut disk = disk();
    disk.write(0, 0, &[sector(2), sector(3)].concat(), false);
    disk.write(0, 2 * SECTOR, &sector(4), true);
    let wreck = disk.wreck(&[(0, 3 * SECTOR, sector(5).to_vec())]);
    assert_eq!(wreck.loose(), 3);
    let image = wreck.image(|n| n == 1, 0);
    assert_eq!([0, 1, 2, 3].map(|n| at(&image, n)), [1, 3, 4, 1]);
    assert_eq!([0, 1, 2, 3].map(|n| at(&disk.image(), n)), [2, 3, 4, 1], "contents after a kill");
    disk.sync(0);
    let image = disk.wreck(&[]).image(|_| unreachable!("nothing is loose"), 0);
    assert_eq!([0, 1, 2, 3].map(|n| at(&image, n)), [2, 3, 4, 1]);
}

#[test]
fn durable_write_replaces_only_the_loose_sectors_it_covers() {
    let mut disk = disk().with_unwritten_extents();
    disk.write(0, PAGE, &[sector(2), sector(3), sector(4)].concat(), false);
    disk.write(0, PAGE + SECTOR, &sector(5), true);
    let lost = disk.wreck(&[]).image(|_| false, 0);
    assert_eq!([8, 9, 10].map(|n| at(&lost, n)), [0, 5, 0]);
    let kept = disk.wreck(&[]).image(|_| true, 0);
    assert_eq!([8, 9, 10].map(|n| at(&kept, n)), [2, 5, 4]);
}

#[test]
fn without_fua_a_durable_write_flushes_everything() {
    for flushes_all in [false, true] {
        let mut disk = disk();
        if flushes_all {
            disk = disk.without_fua();
        }
        disk.write(0, 0, &sector(2), false);
        disk.write(0, SECTOR, &sector(3), true);
        let image = disk.wreck(&[]).image(|_| false, 0);
        assert_eq!(at(&image, 0), if flushes_all { 2 } else { 1 });
        assert_eq!(at(&image, 1), 3);
    }
}

#[test]
fn unwritten_extents_read_zero_until_conversion_is_synced() {
    let mut disk = disk().with_unwritten_extents();
    disk.write(0, PAGE - SECTOR, &[sector(2), sector(3), sector(4)].concat(), false);
    let wreck = disk.wreck(&[]);
    assert_eq!(wreck.loose(), 2, "the last written sector, and one conversion of an extent");
    assert_eq!([7, 8, 9].map(|n| at(&wreck.image(|n| n == 0, 0), n)), [2, 0, 0]);
    assert_eq!([7, 8, 9].map(|n| at(&wreck.image(|n| n == 1, 0), n)), [1, 3, 4]);
    // A flush of the device logs no conversion.
    disk = disk.without_fua();
    disk.write(0, 0, &sector(5), true);
    assert_eq!([0, 7, 8].map(|n| at(&disk.wreck(&[]).image(|_| false, 0), n)), [5, 2, 0]);
    disk.sync(0);
    assert_eq!(at(&disk.wreck(&[]).image(|_| false, 0), 8), 3);
    disk.write(0, PAGE, &[sector(6), sector(7)].concat(), false);
    assert_eq!(disk.wreck(&[]).loose(), 2, "written space tears sector by sector");
}

#[test]
fn trimming_a_wreck_drops_pieces_without_effect() {
    let mut disk = disk();
    disk.write(0, 0, &[sector(1), sector(2)].concat(), false);
    disk.write(0, SECTOR, &sector(1), false);
    let trimmed = disk.wreck(&[]).trimmed();
    assert_eq!(trimmed.loose(), 2, "the last write undoes the one before it");
    assert_eq!(at(&trimmed.image(|n| n == 0, 0), 1), 2);
}

#[test]
fn prefix_of_the_unsynced_name_changes_survives() {
    let mut disk = disk();
    disk.rename(FILE, "other", false).unwrap();
    disk.create(FILE).unwrap();
    let wreck = disk.wreck(&[]);
    let names = |changes| wreck.image(|_| true, changes).files.into_keys().collect::<Vec<_>>();
    assert_eq!(wreck.changes(), 2);
    assert_eq!((names(0), names(1)), (vec![FILE.to_owned()], vec!["other".to_owned()]));
    assert_eq!(names(2), [FILE, "other"]);
}

/// A process on the disk of [`disk`], with the file open.
struct Process {
    world: World,
    runtime: Runtime,
    driver: SimDriver,
}

impl Process {
    fn start() -> Self {
        let world = World::with_disk(1, disk());
        let driver = world.driver();
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let mut process = Self { runtime: Runtime::new(&driver, pool, || 4), world, driver };
        let name = std::ffi::CString::new(FILE).unwrap();
        assert_eq!(process.run(Op::Open { dir: DirId(0), name, write: true }).0, 0);
        process
    }

    fn run(&mut self, op: Op) -> (i64, Returned) {
        let handle = self.runtime.handle().clone();
        let done = self.runtime.block_on(&mut self.driver, async move { handle.submit(op).await });
        (done.result, done.returned)
    }

    /// Writes a sector filled with `byte` and returns the result.
    fn write(&mut self, sector: u64, byte: u8, durable: bool) -> i64 {
        let mut buf = self.runtime.handle().pool().alloc(SECTOR).unwrap();
        buf.fill(byte);
        let pieces = vec![Piece { buf: 0, start: 0, len: SECTOR as u32 }];
        let (bufs, offset) = (vec![buf], sector * SECTOR as u64);
        self.run(Op::Write { file: FileId(0), bufs, pieces, offset, durable }).0
    }

    /// Reads two sectors. Returns the result and the first byte.
    fn read(&mut self, sector: u64) -> (i64, u8) {
        let buf = self.runtime.handle().pool().alloc(2 * SECTOR).unwrap();
        let (len, offset) = (2 * SECTOR as u32, sector * SECTOR as u64);
        let (result, returned) = self.run(Op::Read { file: FileId(0), buf, start: 0, len, offset });
        let Returned::One(buf) = returned else { unreachable!("a read has one buffer") };
        (result, buf[0])
    }

    fn sync(&mut self) -> i64 {
        self.run(Op::Sync { file: FileId(0) }).0
    }

    /// Returns the first byte of a sector after a power cut that loses all loose pieces.
    fn after_a_cut(&self, sector: usize) -> u8 {
        at(&self.world.look(|snapshot| snapshot.wreck().image(|_| false, 0)), sector)
    }
}

const EIO: i64 = -5;
const WHOLE: i64 = SECTOR as i64;

#[test]
fn failed_sync_may_drop_data_and_the_next_sync_succeeds() {
    for (fault, left) in [(Fault::Dropped, 1), (Fault::Kept, 2)] {
        let mut process = Process::start();
        process.write(0, 2, false);
        process.world.fail(0, fault);
        assert_eq!(process.sync(), EIO);
        assert_eq!(process.sync(), 0, "the second sync succeeds");
        assert_eq!(process.read(0), (2 * WHOLE, 2), "the data can still be read");
        assert_eq!(process.after_a_cut(0), left);
        assert_eq!(process.world.count(WRITE_AFTER_FAILURE), 1, "the second sync");
        assert_eq!(process.world.count("failed, data dropped"), u64::from(left == 1));
        assert_eq!(process.world.count("failed, data kept"), u64::from(left == 2));
    }
}

#[test]
fn failed_durable_write_is_kept_or_dropped_by_the_next_sync() {
    for (fault, synced) in [(Fault::Dropped, 1), (Fault::Kept, 2)] {
        let mut process = Process::start();
        process.world.fail(0, fault);
        assert_eq!(process.write(0, 2, true), EIO);
        assert_eq!(process.read(0), (2 * WHOLE, 2));
        assert_eq!(process.after_a_cut(0), 1);
        assert_eq!(process.sync(), 0);
        assert_eq!(process.after_a_cut(0), synced);
    }
}

#[test]
fn errors_and_short_transfers_occur_once_or_repeatedly() {
    let mut process = Process::start();
    process.world.fail(1, Fault::Errno(28));
    process.world.fail(2, Fault::Short(100));
    assert_eq!(process.write(0, 2, true), WHOLE);
    assert_eq!(process.write(0, 3, true), -28);
    assert_eq!(process.read(0), (100, 2), "nothing was written");
    process.world.fail_from(1, Fault::Short(512));
    assert_eq!(process.read(1).0, 2 * WHOLE);
    assert_eq!([process.read(1).0, process.read(1).0], [WHOLE, WHOLE]);
    assert_eq!((process.world.count("error"), process.world.count("short")), (1, 3));
}

#[test]
fn writes_are_lost_or_misdirected_and_reads_misdirected() {
    let mut process = Process::start();
    process.world.fail(0, Fault::Lost);
    assert_eq!(process.write(0, 2, true), WHOLE);
    assert_eq!((process.read(0).1, process.after_a_cut(0)), (1, 1));
    process.world.fail(0, Fault::Misdirected(2));
    assert_eq!(process.write(0, 3, true), WHOLE);
    assert_eq!((process.read(0).1, process.read(2).1, process.after_a_cut(2)), (1, 3, 3));
    process.world.fail(0, Fault::Misdirected(-1));
    assert_eq!(process.read(3), (2 * WHOLE, 3));
    assert_eq!((process.world.count("lost write"), process.world.count("misdirected")), (1, 2));
    assert_eq!(process.world.count(WRITE_AFTER_FAILURE), 0, "the store cannot notice these faults");
}

#[test]
fn bad_sectors_fail_io_and_persist_and_bit_rot_changes_data() {
    let mut process = Process::start();
    process.world.spoil(FILE, 3);
    process.world.rot(FILE, 4 * SECTOR, 7);
    assert_eq!([process.read(1).0, process.read(2).0, process.read(3).0], [2 * WHOLE, EIO, EIO]);
    assert_eq!(process.read(4), (2 * WHOLE, 129));
    assert_eq!((process.write(3, 5, true), process.write(2, 5, true)), (EIO, WHOLE));
    assert_eq!((process.world.count(BAD_SECTOR), process.world.count(BIT_ROT)), (3, 1));
    let wreck = process.world.look(|snapshot| snapshot.wreck());
    let images = [wreck.image(|_| true, 0), process.world.look(|snapshot| snapshot.image())];
    for image in images {
        assert!(Disk::from_image(&image).is_bad(0, 2 * SECTOR, 2 * SECTOR));
        assert!(!Disk::from_image(&image).is_bad(0, 4 * SECTOR, SECTOR));
    }
}

#[test]
fn unreadable_sector_can_be_read_after_a_write_unless_a_power_cut_loses_it() {
    let mut process = Process::start();
    process.world.wear_out(FILE, 3);
    assert_eq!([process.read(1).0, process.read(2).0, process.read(3).0], [2 * WHOLE, EIO, EIO]);
    assert_eq!(process.world.count(UNREADABLE_SECTOR), 2);
    assert_eq!(process.write(3, 5, false), WHOLE);
    assert_eq!(process.read(3), (2 * WHOLE, 5));
    let wreck = process.world.look(|snapshot| snapshot.wreck());
    let is_unreadable = |disk: Disk| disk.is_unreadable(0, 3 * SECTOR, SECTOR);
    assert!(is_unreadable(Disk::from_image(&wreck.image(|_| false, 0))));
    assert!(!is_unreadable(Disk::from_image(&wreck.image(|_| true, 0))));
    let mut killed = Disk::after_kill(&wreck);
    assert!(!is_unreadable(killed.clone()));
    assert!(is_unreadable(Disk::from_image(&killed.wreck(&[]).image(|_| false, 0))));
    killed.sync(0);
    assert!(!is_unreadable(Disk::from_image(&killed.wreck(&[]).image(|_| false, 0))));
    process.world.wear_out(FILE, 3);
    assert_eq!(process.world.unreadable(), [(FILE.to_owned(), 3)].into());
    process.world.make_readable(FILE, 3);
    assert_eq!((process.read(3), process.world.unreadable()), ((2 * WHOLE, 5), [].into()));
}

#[test]
fn stall_delays_an_operation_without_other_effect() {
    let mut process = Process::start();
    process.world.fail(0, Fault::Stall(7_000_000_000));
    let before = process.runtime.handle().now();
    assert_eq!(process.write(0, 2, true), WHOLE);
    assert!(process.runtime.handle().now() - before > 7_000_000_000);
    assert_eq!((process.after_a_cut(0), process.world.count("stall")), (2, 1));
}

const ENOSPC: i64 = -28;

impl Process {
    /// Reserves `blocks` blocks from block `first` on and returns the result.
    fn reserve(&mut self, first: u64, blocks: u64) -> i64 {
        let (offset, len) = (first * PAGE as u64, blocks * PAGE as u64);
        self.run(Op::Allocate { file: FileId(0), offset, len }).0
    }

    fn set_len(&mut self, blocks: u64) -> i64 {
        self.run(Op::SetLen { file: FileId(0), len: blocks * PAGE as u64 }).0
    }

    fn len(&mut self) -> i64 {
        self.run(Op::FileLen { file: FileId(0) }).0 / PAGE as i64
    }

    /// Number of allocated blocks after a power cut that loses all loose pieces, and after a kill.
    fn allocated_after(&self) -> [usize; 2] {
        let wreck = self.world.look(|snapshot| snapshot.wreck());
        let count = |image: Image| image.files[FILE].allocated().count();
        [count(wreck.image(|_| false, 0)), count(Disk::after_kill(&wreck).image())]
    }
}

#[test]
fn reservation_takes_all_its_blocks_or_none() {
    let mut process = Process::start();
    assert_eq!(process.world.free_blocks(), usize::MAX, "no limit by default");
    process.world.set_capacity(10);
    assert_eq!(process.world.free_blocks(), 8, "the file has two blocks");
    assert_eq!(process.reserve(1, 4), 0);
    assert_eq!((process.world.free_blocks(), process.len()), (5, 5));
    assert_eq!(process.reserve(4, 7), ENOSPC);
    assert_eq!((process.world.free_blocks(), process.len()), (5, 5));
    assert_eq!(process.reserve(100, 5), 0, "a hole takes no blocks");
    assert_eq!((process.world.free_blocks(), process.len()), (0, 105));
    assert_eq!(process.reserve(0, 5), 0, "all of it is allocated");
    assert_eq!(process.world.count(NO_SPACE), 1);
    assert_eq!(process.run(Op::Allocate { file: FileId(0), offset: 0, len: 0 }).0, -22);
}

#[test]
fn write_into_a_hole_fails_when_no_block_is_free() {
    let mut process = Process::start();
    assert_eq!((process.set_len(6), process.reserve(2, 1)), (0, 0));
    process.world.set_capacity(4);
    assert_eq!(process.write(8 * 3, 9, true), WHOLE, "into the last free block");
    assert_eq!((process.write(8 * 4, 9, true), process.read(8 * 4)), (ENOSPC, (2 * WHOLE, 0)));
    assert_eq!(process.world.count(WRITE_WITHOUT_SPACE), 1);
    assert_eq!([0, 8, 16, 24].map(|sector| process.write(sector, 9, false)), [WHOLE; 4]);
    assert_eq!(process.world.count(WRITE_AFTER_FAILURE), 4);
}

#[test]
fn other_programs_take_and_free_blocks() {
    let mut process = Process::start();
    process.world.set_capacity(10);
    assert_eq!((process.world.occupy(5), process.world.occupy(9)), (5, 3));
    assert_eq!((process.world.free_blocks(), process.reserve(2, 1)), (0, ENOSPC));
    process.world.vacate(2);
    assert_eq!((process.reserve(2, 1), process.world.free_blocks()), (0, 1));
    process.world.vacate(100);
    assert_eq!(process.world.free_blocks(), 7);
}

#[test]
fn blocks_are_free_when_the_file_has_no_name_and_is_closed() {
    let mut process = Process::start();
    process.world.set_capacity(10);
    process.reserve(0, 6);
    process.world.remove(FILE);
    assert_eq!(process.world.free_blocks(), 4);
    process.run(Op::CloseFile { file: FileId(0) });
    assert_eq!(process.world.free_blocks(), 10);
}

#[test]
fn reservation_survives_a_power_cut_only_after_a_sync() {
    let mut process = Process::start();
    process.set_len(12);
    process.reserve(4, 4);
    assert_eq!(process.allocated_after(), [2, 6]);
    process.write(8 * 5, 9, true);
    assert_eq!(process.allocated_after(), [3, 6], "a durable write keeps its own block");
    process.write(8 * 10, 9, false);
    process.sync();
    assert_eq!(process.allocated_after(), [7, 7]);
    process.set_len(5);
    assert_eq!((process.allocated_after(), process.len()), ([3, 3], 5));
}

#[test]
fn length_extends_at_the_next_sync_and_shrinks_at_once() {
    let mut process = Process::start();
    let lens = |process: &mut Process| {
        let cut = process.world.look(|snapshot| snapshot.wreck().image(|_| true, 0));
        [process.len(), (cut.bytes(FILE).len() / PAGE) as i64]
    };
    assert_eq!((process.set_len(4), lens(&mut process)), (0, [4, 2]));
    process.sync();
    assert_eq!(lens(&mut process), [4, 4]);
    process.write(8 * 2, 9, false);
    assert_eq!((process.set_len(1), lens(&mut process)), (0, [1, 1]));
    assert_eq!((process.set_len(3), process.read(8 * 2)), (0, (2 * WHOLE, 0)), "zeros again");
    let name = std::ffi::CString::new(FILE).unwrap();
    let read_only = process.run(Op::Open { dir: DirId(0), name, write: false }).0;
    let file = FileId(u32::try_from(read_only).unwrap());
    assert_eq!(process.run(Op::SetLen { file, len: 0 }).0, -22);
    assert_eq!(process.run(Op::Allocate { file, offset: 0, len: 1 }).0, -9);
    assert_eq!(process.run(Op::SetLen { file: FileId(99), len: 0 }).0, -9);
}

#[test]
fn sync_of_a_directory_makes_only_its_own_names_durable() {
    let mut disk = disk();
    disk.create("1/file").unwrap();
    disk.unlink(FILE);
    disk.rename("1/file", "1/other", false).unwrap();
    let names = |disk: &Disk, changes: usize| -> Vec<String> {
        disk.wreck(&[]).image(|_| true, changes).files.into_keys().collect()
    };
    assert_eq!(names(&disk, 0), [FILE]);
    disk.sync_directory(1);
    assert_eq!(names(&disk, 0), ["1/other", FILE]);
    assert_eq!(names(&disk, 1), ["1/other"]);
    disk.sync_directory(0);
    assert_eq!((names(&disk, 0), disk.wreck(&[]).changes()), (vec!["1/other".to_owned()], 0));
}

#[test]
fn directories_are_numbered_and_keep_files_of_one_name_apart() {
    let mut process = Process::start();
    let open = |path: &str| Op::OpenDir { path: path.into() };
    let numbers = ["a", "b", "a"].map(|path| process.run(open(path)).0);
    assert_eq!(numbers, [0, 1, 0]);
    let name = || std::ffi::CString::new(FILE).unwrap();
    let mut named = |dir: u32| {
        let dir = DirId(dir);
        let opened = process.run(Op::Open { dir, name: name(), write: false }).0;
        (opened, process.run(Op::Create { dir, name: name() }).0)
    };
    assert_eq!(named(0), (1, -17));
    assert_eq!(named(1), (-2, 2));
    assert_eq!(named(2), (-9, -9));
    assert_eq!(process.world.names(), ["1/file", FILE]);
}
