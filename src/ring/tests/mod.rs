mod connections;

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::budget::ITERATION_BYTES;
use super::*;
use crate::base::limits::{HEAD_BUFFER, RING_ENTRIES};
use crate::base::panicking_subscriber::PanickingSubscriber;
use crate::runtime::buffer::Region;
use crate::runtime::op::Op;

const PHOTO: u32 = 64 << 10;
const MIB: u64 = 1 << 20;

struct Bench {
    ring: Ring,
    pool: Pool,
    file: FileId,
    dir: tempfile::TempDir,
    /// Sockets that stay open.
    peers: Vec<UnixStream>,
}

/// Starts a ring with a file of `photos` photos in the page cache, so that reads complete at once.
fn bench(photos: u32, device_in_flight: usize) -> Bench {
    bench_with(photos, device_in_flight, 16 << 20)
}

/// Like [`bench`], with a pool of `pool_len` bytes.
fn bench_with(photos: u32, device_in_flight: usize, pool_len: usize) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("photos"), vec![7; (photos * PHOTO) as usize]).unwrap();
    let region = Region::map(1, pool_len).unwrap();
    let prepared = prepare(1, &region, Registration::Wanted).unwrap().pop().unwrap();
    let pool = Pool::new(&region, 0);
    let options = RingOptions { device_in_flight, buffered: true };
    let mut ring = Ring::start(prepared, pool.clone(), Vec::new(), options).unwrap();
    ring.submit(token(0), Op::OpenDir { path: dir.path().to_owned() });
    let number = u32::try_from(reap(&mut ring)[0].result).unwrap();
    let name = CString::new("photos").unwrap();
    ring.submit(token(0), Op::Open { dir: DirId(number), name, write: false });
    let file = FileId(u32::try_from(reap(&mut ring)[0].result).unwrap());
    Bench { ring, pool, file, dir, peers: Vec::new() }
}

fn token(index: u32) -> Token {
    Token { index, generation: 0 }
}

fn reap(ring: &mut Ring) -> Vec<Completion> {
    let mut completed = Vec::new();
    let soon = ring.now() + u64::try_from(Duration::from_secs(10).as_nanos()).unwrap();
    ring.reap(soon, &mut completed);
    completed
}

impl Bench {
    fn read(&mut self, index: u32, len: u32) {
        let buf = self.pool.alloc(len as usize).unwrap();
        let offset = u64::from(index * PHOTO);
        self.ring.submit(token(index), Op::Read { file: self.file, buf, start: 0, len, offset });
    }

    /// Submits a receive on a socket at which a request has arrived already.
    fn receive(&mut self, index: u32) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"GET").unwrap();
        self.ring.submit(token(index), Op::RecvAny { sock: Sock(ours.as_raw_fd()) });
        self.peers.extend([ours, theirs]);
    }

    fn reaped(&mut self) -> Vec<u32> {
        reap(&mut self.ring).iter().map(|completion| completion.token.index).collect()
    }
}

#[test]
fn request_is_resumed_before_photos_that_completed_together() {
    let mut bench = bench(8, 96);
    (0..8).for_each(|index| bench.read(index, PHOTO));
    assert_eq!(bench.reaped(), [0, 1], "three of them exceed the limit of an iteration");
    bench.receive(9);
    assert_eq!(
        bench.reaped(),
        [9, 2],
        "a request, which may lead to another read, is resumed first"
    );
    let rest: Vec<u32> = (0..5).flat_map(|_| bench.reaped()).collect();
    assert_eq!(rest, [3, 4, 5, 6, 7]);
    assert_eq!(bench.ring.in_flight(), 0);
}

#[test]
fn small_photos_are_resumed_together_and_a_large_one_alone() {
    let mut bench = bench(64, 96);
    (0..64).for_each(|index| bench.read(index, 9 << 10));
    assert_eq!(bench.reaped().len(), ITERATION_BYTES / (9 << 10));
    while bench.ring.in_flight() > 0 {
        bench.reaped();
    }
    bench.read(0, 8 * PHOTO);
    bench.read(1, 512);
    assert_eq!(bench.reaped(), [0], "resumed although longer than the limit of an iteration");
    assert_eq!(bench.reaped(), [1]);
}

#[test]
fn quarter_of_the_operations_in_flight_resumes_per_iteration() {
    let mut bench = bench(16, 96);
    (0..16).for_each(|index| bench.read(index, 512));
    let turns: Vec<usize> = (0..6).map(|_| bench.reaped().len()).collect();
    assert_eq!(turns, [4, 3, 2, 1, 1, 1], "four sixteenths of those in flight");
}

#[test]
fn burst_of_requests_shares_the_iteration_with_photos() {
    let mut bench = bench(8, 96);
    let crowd = u32::try_from(ARRIVALS_MAX).unwrap() + 10;
    (0..8).for_each(|index| bench.read(index, PHOTO));
    (8..8 + crowd).for_each(|index| bench.receive(index));
    let first = bench.reaped();
    let photos = first.iter().filter(|&&index| index < 8).count();
    assert_eq!((photos, first.len()), (2, 2 + ARRIVALS_MAX), "photos, and some requests");
    let rest = bench.reaped();
    let others: Vec<u32> = (8 + crowd - 10..8 + crowd).collect();
    assert_eq!(rest[..10], others, "the others, in their order");
    assert_eq!(rest[10..], [2], "and a photo");
}

#[test]
fn receives_without_a_buffer_complete_in_arrival_order() {
    let mut bench = bench_with(1, 96, 4 * HEAD_BUFFER);
    (0..8).for_each(|index| bench.receive(index));
    let mut held = reap(&mut bench.ring);
    assert_eq!(held.len(), 4, "the pool has four buffers");
    for expected in [[4, 5], [6, 7]] {
        held.drain(..2);
        let next = reap(&mut bench.ring);
        assert_eq!(next.iter().map(|done| done.token.index).collect::<Vec<_>>(), expected);
        held.extend(next);
    }
}

#[test]
fn queued_transfers_start_as_earlier_ones_end() {
    let mut bench = bench(8, 2);
    (0..8).for_each(|index| bench.read(index, PHOTO));
    let all: Vec<u32> = (0..8).flat_map(|_| bench.reaped()).collect();
    assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(bench.ring.devices.counts(0), (0, 0));
}

#[test]
fn operations_on_an_unopened_directory_fail_with_ebadf() {
    let mut bench = bench(1, 96);
    let (dir, name) = (DirId(u32::MAX), c"photos".to_owned());
    for op in [
        Op::Open { dir, name: name.clone(), write: false },
        Op::Create { dir, name: name.clone() },
        Op::Unlink { dir, name: name.clone() },
        Op::Rename { dir, from: name.clone(), to: name, replace: true },
        Op::SyncDir { dir },
    ] {
        bench.ring.submit(token(3), op);
        assert_eq!(reap(&mut bench.ring)[0].result, -i64::from(libc::EBADF));
    }
}

#[test]
fn queued_reads_of_a_closed_file_fail_and_free_the_device() {
    let mut bench = bench(8, 2);
    (0..6).for_each(|index| bench.read(index, PHOTO));
    // Two reads are in flight, the others are queued.
    bench.ring.enter(0);
    let file = bench.file;
    bench.ring.submit(token(9), Op::CloseFile { file });
    let (mut results, mut refused) = (Vec::new(), 0);
    while results.len() < 7 {
        let completed = reap(&mut bench.ring);
        assert!(!completed.is_empty(), "only {results:?} have ended");
        results.extend(completed.iter().map(|done| (done.token.index, done.result)));
        if refused == 0 {
            refused = results.iter().filter(|(_, result)| *result < 0).count();
            assert_eq!(refused, 4, "all in the iteration that frees the device");
        }
    }
    results.sort_unstable();
    let (read, closed) = (i64::from(PHOTO), -i64::from(libc::EBADF));
    let expected = [(0, read), (1, read), (2, closed), (3, closed), (4, closed), (5, closed)];
    assert_eq!((&results[..6], results[6]), (&expected[..], (9, 0)));
    assert_eq!(bench.ring.devices.counts(0), (0, 0), "nothing is in flight or waits");
    bench.read(1, PHOTO);
    let completion = &reap(&mut bench.ring)[0];
    assert_eq!(completion.result, -i64::from(libc::EBADF), "closed for good");
    assert!(matches!(completion.returned, Returned::One(_)), "the buffer is returned");
}

/// The slot of a closed file is reused, but under another id.
#[test]
fn file_id_is_not_reused_after_close() {
    let mut bench = bench(1, 96);
    let closed = bench.file;
    bench.ring.submit(token(0), Op::CloseFile { file: closed });
    assert_eq!(reap(&mut bench.ring)[0].result, 0);
    bench.ring.submit(token(0), Op::CloseFile { file: closed });
    assert_eq!(reap(&mut bench.ring)[0].result, -i64::from(libc::EBADF), "once only");
    let name = c"photos".to_owned();
    bench.ring.submit(token(0), Op::Open { dir: DirId(0), name, write: false });
    bench.file = FileId(u32::try_from(reap(&mut bench.ring)[0].result).unwrap());
    assert_ne!(bench.file, closed);
    bench.ring.submit(token(0), Op::FileLen { file: closed });
    assert_eq!(reap(&mut bench.ring)[0].result, -i64::from(libc::EBADF));
    bench.read(0, PHOTO);
    assert_eq!(reap(&mut bench.ring)[0].result, i64::from(PHOTO));
}

/// Blocks of 512 bytes that a file has, and its length (bytes).
fn blocks_and_len(bench: &Bench, name: &str) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(bench.dir.path().join(name)).unwrap();
    (metadata.blocks(), metadata.len())
}

#[test]
fn length_takes_no_blocks_and_ranges_are_reserved_in_any_order() {
    let mut bench = bench(1, 96);
    let name = c"new".to_owned();
    bench.ring.submit(token(0), Op::Create { dir: DirId(0), name });
    let file = FileId(u32::try_from(reap(&mut bench.ring)[0].result).unwrap());
    let read_only = bench.file;
    let mut run = |op| {
        bench.ring.submit(token(0), op);
        reap(&mut bench.ring)[0].result
    };
    assert_eq!(run(Op::SetLen { file, len: 64 * MIB }), 0);
    assert_eq!(run(Op::FileLen { file }), 64 << 20);
    assert_eq!(run(Op::Allocate { file, offset: 0, len: MIB }), 0);
    assert_eq!(run(Op::Allocate { file, offset: 63 * MIB, len: MIB }), 0);
    assert_eq!(run(Op::Allocate { file, offset: 0, len: 2 * MIB }), 0, "some blocks are there");
    assert_eq!(run(Op::Allocate { file, offset: 0, len: 0 }), -i64::from(libc::EINVAL));
    assert_eq!(run(Op::SetLen { file: read_only, len: 1 }), -i64::from(libc::EINVAL));
    let (blocks, len) = blocks_and_len(&bench, "new");
    assert_eq!(len, 64 * MIB);
    assert!((3 * MIB..4 * MIB).contains(&(blocks * 512)), "{blocks} blocks of 512 bytes");
}

#[test]
fn receive_without_a_buffer_can_be_cancelled() {
    let mut bench = bench_with(1, 96, 4 * HEAD_BUFFER);
    (0..8).for_each(|index| bench.receive(index));
    let mut held = reap(&mut bench.ring);
    assert_eq!(held.len(), 4, "the pool has four buffers");
    bench.ring.cancel(token(5));
    bench.ring.cancel(token(7));
    let cancelled = reap(&mut bench.ring);
    let shown: Vec<_> = cancelled.iter().map(|done| (done.token.index, done.result)).collect();
    let canceled = -i64::from(libc::ECANCELED);
    assert_eq!(shown, [(5, canceled), (7, canceled)]);
    held.clear();
    assert_eq!(bench.reaped(), [4, 6], "the others, in their order");
    assert!(bench.ring.starved.is_empty() && bench.ring.in_flight() == 0);
}

#[test]
fn links_are_not_followed_and_files_not_replaced_by_default() {
    let mut bench = bench(1, 96);
    let dir = bench.dir.path().to_owned();
    std::os::unix::fs::symlink(dir.join("photos"), dir.join("link")).unwrap();
    std::fs::write(dir.join("other"), "x").unwrap();
    let mut result = |op| {
        bench.ring.submit(token(3), op);
        reap(&mut bench.ring)[0].result
    };
    let name = |name: &str| CString::new(name).unwrap();
    let dir = DirId(0);
    let open = Op::Open { dir, name: name("link"), write: false };
    assert_eq!(result(open), -i64::from(libc::ELOOP));
    let create = Op::Create { dir, name: name("other") };
    assert_eq!(result(create), -i64::from(libc::EEXIST));
    let rename = |replace| Op::Rename { dir, from: name("other"), to: name("photos"), replace };
    assert_eq!(result(rename(false)), -i64::from(libc::EEXIST));
    assert_eq!(result(rename(true)), 0);
}

#[test]
fn name_leads_to_an_open_file_until_it_is_renamed_or_given_to_another() {
    let mut bench = bench(1, 96);
    let path = bench.dir.path().to_owned();
    bench.ring.submit(token(0), Op::OpenDir { path: path.clone() });
    let dir = DirId(u32::try_from(reap(&mut bench.ring)[0].result).unwrap());
    let file = bench.file;
    let mut is_name = |name: &CStr| {
        bench.ring.submit(token(0), Op::IsNameOf { dir, name: name.to_owned(), file });
        reap(&mut bench.ring)[0].result
    };
    assert_eq!([is_name(c"photos"), is_name(c"missing")], [1, 0]);
    std::fs::rename(path.join("photos"), path.join("renamed")).unwrap();
    assert_eq!([is_name(c"photos"), is_name(c"renamed")], [0, 1]);
    std::fs::write(path.join("photos"), b"another file").unwrap();
    assert_eq!(is_name(c"photos"), 0);
    assert_eq!(is_name(&CString::new("x".repeat(300)).unwrap()), -i64::from(libc::ENAMETOOLONG));
}

/// The main thread opens the data directory for each new volume, which must not use a descriptor each time.
#[test]
fn reopened_directory_keeps_its_id() {
    let mut bench = bench(1, 96);
    let path = bench.dir.path().to_owned();
    for _ in 0..3 {
        bench.ring.submit(token(0), Op::OpenDir { path: path.clone() });
        assert_eq!(reap(&mut bench.ring)[0].result, 0);
    }
    assert_eq!(bench.ring.files.dirs(), 1);
}

#[test]
fn transfers_in_flight_follow_the_device_limit() {
    let mut bench = bench(8, 2);
    for limit in [2, 5, 1] {
        bench.ring.limit_device(limit);
        (0..8).for_each(|index| bench.read(index, 512));
        assert_eq!(bench.ring.devices.counts(0), (limit, 8 - limit));
        let mut ended = 0;
        while ended < 8 {
            ended += bench.reaped().len();
            let (in_flight, waiting) = bench.ring.devices.counts(0);
            assert_eq!(in_flight, (in_flight + waiting).min(limit), "as many as there may be");
        }
    }
}

#[test]
fn reap_submits_at_once_and_waits_until_its_deadline() {
    let mut bench = bench(1, 96);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let before = bench.ring.counts().enters;
    let mut completed = Vec::new();
    bench.ring.submit(token(1), Op::RecvAny { sock: Sock(ours.as_raw_fd()) });
    bench.ring.reap(0, &mut completed);
    assert_eq!(bench.ring.counts().enters, before + 1);
    assert!(bench.ring.ring.submission().is_empty(), "the kernel has it");
    bench.ring.reap(0, &mut completed);
    assert_eq!(bench.ring.counts().enters, before + 1, "there is nothing to do");
    let until = bench.ring.now() + 50_000_000;
    bench.ring.reap(until, &mut completed);
    assert!(bench.ring.now() >= until && completed.is_empty());
    assert_eq!(bench.ring.counts().enters, before + 2);
    theirs.write_all(b"GET").unwrap();
    assert_eq!(bench.reaped(), [1]);
    assert_eq!(bench.ring.in_flight(), 0);
}

/// Files of procfs are on a device of their own.
#[test]
fn a_file_belongs_to_the_device_that_it_is_on() {
    let mut bench = bench(2, 1);
    bench.ring.submit(token(0), Op::OpenDir { path: "/proc".into() });
    let number = u32::try_from(reap(&mut bench.ring)[0].result).unwrap();
    let (dir, name) = (DirId(number), c"version".to_owned());
    bench.ring.submit(token(0), Op::Open { dir, name, write: false });
    let other = FileId(u32::try_from(reap(&mut bench.ring)[0].result).unwrap());
    let photos = bench.file;
    bench.read(0, 512);
    bench.read(1, 512);
    bench.file = other;
    bench.ring.submit(
        token(2),
        Op::Read { file: other, buf: bench.pool.alloc(512).unwrap(), start: 0, len: 9, offset: 0 },
    );
    let devices = [photos, other].map(|file| bench.ring.files.file(file).unwrap().device);
    assert_eq!(devices, [0, 1]);
    assert_eq!(devices.map(|device| bench.ring.devices.counts(device)), [(1, 1), (1, 0)]);
    let mut ended: Vec<u32> = (0..3).flat_map(|_| bench.reaped()).collect();
    ended.sort_unstable();
    assert_eq!(ended, [0, 1, 2]);
}

/// Receives that found no buffer are submitted again as far as there are buffers, and no more than are
/// resumed in an iteration.
#[test]
fn starved_receives_are_resubmitted_while_buffers_last() {
    let buffers = ARRIVALS_MAX + 8;
    let mut bench = bench_with(1, 96, buffers * HEAD_BUFFER);
    let count = u32::try_from(2 * buffers).unwrap();
    (0..count).for_each(|index| bench.receive(index));
    let mut held = Vec::new();
    while held.len() < buffers {
        held.extend(reap(&mut bench.ring));
    }
    assert_eq!(bench.ring.starved.len(), buffers);
    held.truncate(buffers - 3);
    let before = bench.ring.counts().completions;
    let next = reap(&mut bench.ring);
    assert_eq!((next.len(), bench.ring.starved.len()), (3, buffers - 3));
    assert_eq!(bench.ring.counts().completions, before + 3, "no other one was tried");
    held.extend(next);
    held.clear();
    bench.ring.refill();
    assert_eq!(bench.ring.starved.len(), buffers - 3 - ARRIVALS_MAX, "as many as are resumed");
    while bench.ring.in_flight() > 0 {
        reap(&mut bench.ring);
    }
}

#[test]
fn cancelled_starved_receive_completes_once_and_alone() {
    let mut bench = bench_with(1, 96, 4 * HEAD_BUFFER);
    (0..6).for_each(|index| bench.receive(index));
    let held = reap(&mut bench.ring);
    assert_eq!((held.len(), bench.ring.starved.len()), (4, 2));
    bench.ring.cancel(Token { index: 4, generation: 9 });
    assert_eq!(bench.ring.starved.len(), 2, "a token of another generation");
    bench.ring.cancel(token(4));
    bench.ring.cancel(token(4));
    assert_eq!(bench.ring.starved.len(), 1);
    assert_eq!(bench.reaped(), [4]);
    drop(held);
    assert_eq!(bench.reaped(), [5]);
}

#[test]
fn the_kernel_has_no_access_to_a_closed_file() {
    let mut bench = bench(1, 96);
    let file = bench.file;
    bench.ring.submit(token(0), Op::CloseFile { file });
    assert_eq!(reap(&mut bench.ring)[0].result, 0);
    let buf = bench.pool.alloc(512).unwrap();
    let read = encode::read(file, buf, 0, 512, 0, bench.ring.registered);
    bench.ring.launch(token(1), read);
    assert_eq!(reap(&mut bench.ring)[0].result, -i64::from(libc::EBADF));
}

#[test]
fn all_rings_of_a_region_are_registered_or_none_is() {
    let region = Region::map(2, 1 << 20).unwrap();
    for registration in [Registration::Wanted, Registration::None] {
        let rings = prepare(3, &region, registration).unwrap();
        assert_eq!(rings.len(), 3);
        let registered: Vec<bool> = rings.iter().map(Prepared::registered).collect();
        assert_eq!(registered, [registered[0]; 3]);
        assert!(!registered[0] || registration == Registration::Wanted);
        let mut numbers: Vec<RawFd> = rings.iter().map(Prepared::fd).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), 3, "each ring has its own descriptor");
        assert!(rings.iter().all(|ring| ring.files_max == rings[0].files_max));
    }
    if let Ok(rings) = prepare(1, &region, Registration::Required) {
        assert!(rings[0].registered());
    }
}

/// The kernel may still write to them while it closes the ring.
#[test]
fn buffers_of_operations_in_flight_outlive_the_ring() {
    let Bench { ring, pool, .. } = bench(1, 96);
    assert!(pool.used() > 0, "the kernel has buffers for requests");
    drop(ring);
    assert_eq!(pool.used(), 0);
    let Bench { mut ring, pool, .. } = bench(1, 96);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (sock, buf) = (Sock(ours.as_raw_fd()), pool.alloc(512).unwrap());
    ring.submit(token(1), Op::Recv { sock, buf, start: 0, len: 512, whole: true });
    ring.reap(0, &mut Vec::new());
    let used = pool.used();
    drop(ring);
    assert_eq!(pool.used(), used);
}

/// From Linux 6.13 on, a call ends with 20 completions unless more are wanted (`IO_LOCAL_TW_DEFAULT_MAX`).
#[test]
fn iteration_under_load_wants_twice_as_many_completions_as_the_last_one_had() {
    let mut bench = bench(1, 96);
    let mut peers = Vec::new();
    for index in 0..100 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (sock, buf) = (Sock(ours.as_raw_fd()), bench.pool.alloc(512).unwrap());
        bench.ring.submit(token(index), Op::Recv { sock, buf, start: 0, len: 512, whole: false });
        peers.push((ours, theirs));
    }
    bench.ring.reap(0, &mut Vec::new());
    for (_, theirs) in &mut peers {
        theirs.write_all(b"GET").unwrap();
    }
    let (first, second) = (bench.reaped().len(), bench.reaped().len());
    if first < peers.len() {
        assert_eq!(second, (2 * first).min(BATCH_MAX), "after {first}");
    }
    while bench.ring.in_flight() > 0 {
        bench.reaped();
    }
}

#[test]
fn only_the_owner_of_a_new_file_may_open_it() {
    use std::os::unix::fs::PermissionsExt;
    let mut bench = bench(1, 96);
    bench.ring.submit(token(0), Op::Create { dir: DirId(0), name: c"new".to_owned() });
    assert!(reap(&mut bench.ring)[0].result >= 0);
    let metadata = std::fs::metadata(bench.dir.path().join("new")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn waking_a_shard_whose_ring_is_closed_logs_no_error() {
    let mut bench = bench(1, 96);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    bench.ring.peers = vec![i32::MAX, ours.as_raw_fd()];
    let before = bench.ring.counts().completions;
    tracing::subscriber::with_default(PanickingSubscriber, || {
        for peer in [0, 1] {
            bench.ring.submit(token(1), Op::Wake { peer });
            assert_eq!(bench.reaped(), [1]);
        }
        bench.ring.reap(0, &mut Vec::new());
    });
    assert_eq!(bench.ring.counts().completions, before + 2, "no ring has these descriptors");
}

/// What is in no queue of the kernel cannot complete.
#[test]
fn ring_does_not_wait_before_all_submissions_are_in_the_kernel() {
    let mut bench = bench(1, 96);
    let (ours, theirs) = UnixStream::pair().unwrap();
    for index in 0..RING_ENTRIES {
        bench.ring.submit(token(index), Op::RecvAny { sock: Sock(ours.as_raw_fd()) });
    }
    bench.receive(RING_ENTRIES);
    let (began, mut completed) = (bench.ring.now(), Vec::new());
    while completed.is_empty() {
        bench.ring.reap(began + 3_000_000_000, &mut completed);
    }
    assert_eq!(completed[0].token.index, RING_ENTRIES);
    assert!(bench.ring.now() < began + 1_000_000_000);
    drop(theirs);
    while bench.ring.in_flight() > 0 {
        bench.reaped();
    }
}

/// Also under load, and in kernels before Linux 6.12, which have no minimum wait.
#[test]
fn single_completion_ends_a_wait() {
    let mut bench = bench(1, 96);
    for has_min_wait in [bench.ring.has_min_wait, false] {
        bench.ring.has_min_wait = has_min_wait;
        bench.ring.last_batch = BATCH_MAX;
        let (began, mut completed) = (bench.ring.now(), Vec::new());
        bench.receive(1);
        bench.ring.reap(began + 3_000_000_000, &mut completed);
        assert_eq!(completed.len(), 1);
        assert!(bench.ring.now() < began + 1_000_000_000);
    }
}

#[test]
fn reads_leave_the_access_time_of_a_file() {
    use std::fs::{File, FileTimes};
    use std::time::UNIX_EPOCH;
    let mut bench = bench(1, 96);
    let then = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let times = FileTimes::new().set_accessed(then);
    let path = bench.dir.path().join("photos");
    File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    bench.read(0, PHOTO);
    assert_eq!(bench.reaped(), [0]);
    assert_eq!(std::fs::metadata(&path).unwrap().accessed().unwrap(), then);
}

#[test]
fn wait_after_the_smallest_batch_of_load_is_for_more_than_one_completion() {
    let mut bench = bench(1, 96);
    for _ in 0..5 {
        let (began, mut completed) = (bench.ring.now(), Vec::new());
        bench.receive(1);
        bench.ring.last_batch = BATCH_MIN;
        bench.ring.reap(began + 3_000_000_000, &mut completed);
        let took = bench.ring.now() - began;
        assert_eq!(completed.len(), 1);
        assert!(!bench.ring.has_min_wait || took >= u64::from(BATCH_DELAY_US) * 1000, "{took} ns");
    }
}
