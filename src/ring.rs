//! The driver on io_uring: the only module that uses it.
//!
//! One `io_uring_enter` per event loop iteration submits operations, runs the kernel's deferred work and
//! waits for completions. Every operation in flight has an entry that owns its buffers until its last
//! completion, even if the future that submitted it was dropped. The number of operations in flight per
//! device is limited, since the submitting thread sleeps inside the kernel when all tags of a device are
//! taken; further operations are queued here.
//!
//! Devices come first: transfers are submitted before all other operations, and the number of completed
//! transfers that are resumed per iteration is limited so that iterations stay short. Otherwise photos whose
//! reads completed together would be verified and sent together while the device is idle, and their clients
//! would send their next requests together again. Under overload new requests are delayed too, in favour of
//! the transfers under way (`docs/decisions/short-turns.md`).
#![expect(unsafe_code, reason = "hands addresses to the kernel")]

mod files;
mod provided;
mod setup;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use nix::libc;
use slab::Slab;

use crate::base::account::AUDITED;
use crate::base::sys;
use crate::runtime::buffer::{Buf, Pool};
use crate::runtime::devices::{Devices, Next, transfer_of};
use crate::runtime::op::{
    Completion, DirId, Driver, DriverCounts, FileId, Op, Piece, Returned, Sock, Token,
};
use files::{OpenFile, fixed, open_file};
use provided::{GROUP, Provided};
pub use setup::{Prepared, Registration, SetupError, prepare};
use turns::{ARRIVALS_MAX, Ended, ReadyCompletions};

/// User data of completions that belong to no operation.
const WOKEN: u64 = u64::MAX;
const CANCELLATION: u64 = u64::MAX - 1;
const IGNORED: u64 = u64::MAX - 2;

/// Minimum number of completions in an iteration with which the next one waits for more than one completion.
const BATCH_MIN: usize = 4;
/// Maximum number of completions that an iteration waits for.
const BATCH_MAX: usize = 64;
/// Maximum batching delay: time that an iteration waits for more than one completion (microseconds).
const BATCH_DELAY_US: u32 = 60;

/// Maximum number of operations in flight with which test builds recount the transfers of devices.
const RECOUNTED_MAX: usize = 512;

/// Resources that an operation in flight keeps alive; also determines how its completion is handled.
enum Held {
    Nothing,
    Name {
        _name: CString,
    },
    Names {
        _from: CString,
        _to: CString,
    },
    /// Opening a file: the result is a descriptor, which is registered as a file.
    Opening {
        _name: CString,
    },
    /// Syncing a file.
    Sync(FileId),
    /// Syncing a directory.
    SyncDir(DirId),
    /// A read, receive or send with one buffer.
    Buf(Buf),
    /// A gathered write, with the list of its pieces that the kernel reads.
    Gather {
        bufs: Vec<Buf>,
        _pieces: Box<[libc::iovec]>,
        /// The file, if the write is durable.
        durable: Option<FileId>,
    },
    /// A receive into a buffer that the kernel picks.
    RecvAny(Sock),
}

struct InFlight {
    token: Token,
    generation: u32,
    held: Held,
    /// Position of the device on which the operation counts as in flight.
    device: Option<usize>,
}

/// Options of a ring.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Maximum number of operations in flight per device: this ring's share.
    pub device_in_flight: usize,
    /// Open files without `O_DIRECT`.
    pub buffered: bool,
}

/// The driver on io_uring. Stays on the thread that started it.
pub struct Ring {
    ring: ManuallyDrop<IoUring>,
    provided: ManuallyDrop<Provided>,
    in_flight: ManuallyDrop<Slab<InFlight>>,
    generations: Vec<u32>,
    /// Index in `in_flight` of each token's operation.
    slots: Vec<u32>,
    /// Transfers not yet in the submission queue.
    transfers: VecDeque<Entry>,
    /// Other operations not yet in the submission queue.
    backlog: VecDeque<Entry>,
    /// Completions of transfers and of requests that were not resumed yet.
    ready: ReadyCompletions,
    /// Scratch space for the completions of an iteration.
    entries: Vec<cqueue::Entry>,
    /// Receives for which no provided buffer was free.
    starved: VecDeque<(Token, Sock)>,
    /// Completions of operations that did not involve the kernel.
    ended: Vec<Completion>,
    dirs: Vec<File>,
    files: Slab<OpenFile>,
    /// Number of uses of each slot in `files`, so that the id of a closed file never names another file.
    file_generations: Vec<u16>,
    /// Number of slots in the kernel's table of files.
    files_max: u32,
    devices: Devices,
    peers: Vec<RawFd>,
    options: RingOptions,
    registered: bool,
    gathers_fixed: bool,
    /// Whether the kernel supports a minimum wait time (`IORING_FEAT_MIN_TIMEOUT`, Linux 6.12).
    has_min_wait: bool,
    /// Number of completions of the last iteration.
    last_batch: usize,
    counts: DriverCounts,
    pool: Pool,
}

impl Ring {
    /// Starts a prepared ring on the calling thread. `peers` are the descriptors of the rings that messages
    /// are sent to, by shard number.
    ///
    /// # Errors
    /// The kernel's, when the ring cannot be enabled or its receive buffers cannot be registered.
    pub fn start(
        prepared: Prepared,
        pool: Pool,
        peers: Vec<RawFd>,
        options: RingOptions,
    ) -> io::Result<Self> {
        let Prepared { ring, files_max, registered, gathers_fixed } = prepared;
        ring.submitter().register_enable_rings()?;
        let provided = Provided::new(&ring, &pool)?;
        let has_min_wait = ring.params().is_feature_min_timeout();
        Ok(Self {
            ring: ManuallyDrop::new(ring),
            provided: ManuallyDrop::new(provided),
            in_flight: ManuallyDrop::new(Slab::with_capacity(4096)),
            generations: Vec::new(),
            slots: Vec::new(),
            transfers: VecDeque::with_capacity(1024),
            backlog: VecDeque::with_capacity(1024),
            ready: ReadyCompletions::new(),
            entries: Vec::with_capacity(1024),
            starved: VecDeque::new(),
            ended: Vec::new(),
            dirs: Vec::new(),
            files: Slab::new(),
            file_generations: Vec::new(),
            files_max,
            devices: Devices::new(options.device_in_flight),
            peers,
            options,
            registered,
            gathers_fixed,
            has_min_wait,
            last_batch: 0,
            counts: DriverCounts::default(),
            pool,
        })
    }

    /// Number of operations in flight, including completed ones that were not resumed yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn end(&mut self, token: Token, result: i64, returned: Returned) {
        self.ended.push(Completion { token, result, returned });
    }

    fn fail(&mut self, token: Token, errno: i32) {
        self.end(token, -i64::from(errno), Returned::None);
    }

    /// Allocates an entry in `in_flight` for an operation and queues its submission. Whatever the submission
    /// that `describe` returns points to on the heap of `held` stays there until the last completion.
    fn launch(
        &mut self,
        token: Token,
        held: Held,
        device: Option<usize>,
        describe: impl FnOnce(&Held) -> Entry,
    ) {
        let slot = self.in_flight.vacant_key();
        if self.generations.len() <= slot {
            self.generations.resize(slot + 1, 0);
        }
        let generation = self.generations[slot];
        let entry = describe(&held);
        self.in_flight.insert(InFlight { token, generation, held, device });
        let index = token.index as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, u32::MAX);
        }
        let number = u32::try_from(slot).expect("fewer than 2^32 operations");
        self.slots[index] = number;
        let entry = entry.user_data(u64::from(generation) << 32 | u64::from(number));
        match device {
            Some(_) => self.transfers.push_back(entry),
            None => self.push(entry),
        }
    }

    fn push(&mut self, entry: Entry) {
        self.backlog.push_back(entry);
    }

    /// Moves queued submissions into the submission queue, transfers first, as far as there is room.
    fn fill_queue(&mut self) {
        let mut queue = self.ring.submission();
        for described in [&mut self.transfers, &mut self.backlog] {
            while let Some(entry) = described.front() {
                // SAFETY: everything the entry points to is owned by its operation's entry in
                // `in_flight` (or is static), and that stays until the last completion.
                if unsafe { queue.push(entry) }.is_err() {
                    return;
                }
                described.pop_front();
            }
        }
    }

    fn dispatch(&mut self, token: Token, op: Op) {
        match op {
            Op::Read { file, buf, start, len, offset } => {
                self.read(token, file, buf, start, len, offset);
            }
            Op::Write { file, bufs, pieces, offset, durable } => {
                self.write(token, file, bufs, &pieces, offset, durable);
            }
            Op::RecvAny { sock } => self.recv_any(token, sock),
            Op::Recv { sock, buf, start, len, whole } => {
                let address = buf.address(start as usize);
                let flags = if whole { libc::MSG_WAITALL } else { 0 };
                self.launch(token, Held::Buf(buf), None, |_| {
                    opcode::Recv::new(Fd(sock.0), address, len).flags(flags).build()
                });
            }
            Op::Send { sock, buf, start, len } => {
                let address = buf.address(start as usize);
                self.launch(token, Held::Buf(buf), None, |_| {
                    opcode::Send::new(Fd(sock.0), address, len).flags(libc::MSG_NOSIGNAL).build()
                });
            }
            Op::Wake { shard } => self.wake(token, shard),
            Op::Accept { listener } => self.launch(token, Held::Nothing, None, |_| {
                opcode::Accept::new(Fd(listener.0), std::ptr::null_mut(), std::ptr::null_mut())
                    .flags(libc::SOCK_CLOEXEC)
                    .build()
            }),
            Op::PeerName { sock } => {
                self.end(token, 0, Returned::Text(sys::peer_name(sock.0).into()));
            }
            Op::ShutdownWrite { sock } => self.launch(token, Held::Nothing, None, |_| {
                opcode::Shutdown::new(Fd(sock.0), libc::SHUT_WR).build()
            }),
            Op::Close { sock } => {
                self.launch(token, Held::Nothing, None, |_| opcode::Close::new(Fd(sock.0)).build())
            }
            other => self.dispatch_file_op(token, other),
        }
    }

    fn device_of(&self, file: FileId) -> usize {
        self.file(file).expect("checked before a transfer is dispatched").device
    }

    fn read(&mut self, token: Token, file: FileId, buf: Buf, start: u32, len: u32, offset: u64) {
        let device = self.device_of(file);
        let (address, index) = (buf.address(start as usize), buf.registration());
        let registered = self.registered;
        self.launch(token, Held::Buf(buf), Some(device), |_| {
            let file = fixed(file);
            if registered {
                opcode::ReadFixed::new(file, address, len, index).offset(offset).build()
            } else {
                opcode::Read::new(file, address, len).offset(offset).build()
            }
        });
    }

    fn write(
        &mut self,
        token: Token,
        file: FileId,
        bufs: Vec<Buf>,
        pieces: &[Piece],
        offset: u64,
        durable: bool,
    ) {
        let device = self.device_of(file);
        let iovecs: Box<[libc::iovec]> = pieces
            .iter()
            .map(|piece| libc::iovec {
                iov_base: bufs[usize::from(piece.buf)].address(piece.start as usize).cast(),
                iov_len: piece.len as usize,
            })
            .collect();
        let index = bufs.first().map_or(0, Buf::registration);
        let same = bufs.iter().all(|buf| buf.registration() == index);
        let is_fixed = self.registered && self.gathers_fixed && same;
        let flags = if durable { libc::RWF_DSYNC } else { 0 };
        let held = Held::Gather { bufs, _pieces: iovecs, durable: durable.then_some(file) };
        self.launch(token, held, Some(device), |held| {
            let Held::Gather { _pieces: pieces, .. } = held else { unreachable!() };
            let count = u32::try_from(pieces.len()).expect("at most 1024 pieces");
            let (file, list) = (fixed(file), pieces.as_ptr());
            if is_fixed {
                let write = opcode::WritevFixed::new(file, list, count, index);
                write.offset(offset).rw_flags(flags).build()
            } else {
                opcode::Writev::new(file, list, count).offset(offset).rw_flags(flags).build()
            }
        });
    }

    fn recv_any(&mut self, token: Token, sock: Sock) {
        self.launch(token, Held::RecvAny(sock), None, |_| {
            let recv = opcode::Recv::new(Fd(sock.0), std::ptr::null_mut(), 0).buf_group(GROUP);
            recv.build().flags(Flags::BUFFER_SELECT)
        });
    }

    fn wake(&mut self, token: Token, shard: u16) {
        let fd = self.peers[usize::from(shard)];
        let message = opcode::MsgRingData::new(Fd(fd), 0, WOKEN, None).build();
        self.push(message.flags(Flags::SKIP_SUCCESS).user_data(IGNORED));
        self.end(token, 0, Returned::None);
    }

    fn enter(&mut self, until: u64) {
        self.fill_queue();
        let now = if until == 0 { 0 } else { sys::monotonic_ns() };
        // Submissions that do not fit into the queue must be submitted before the ring waits.
        let all_in = self.transfers.is_empty() && self.backlog.is_empty();
        let left = if all_in { until.saturating_sub(now) } else { 0 };
        let looks = !self.ready.is_empty();
        let nothing_to_do = left == 0 && !looks && {
            let queue = self.ring.submission();
            queue.is_empty() && !queue.taskrun() && !queue.cq_overflow()
        };
        if nothing_to_do {
            return;
        }
        self.counts.enters += 1;
        let time = Timespec::new()
            .sec(left / 1_000_000_000)
            .nsec(u32::try_from(left % 1_000_000_000).expect("below a second"));
        // Under load a batching delay saves system calls, since completions come in batches. Waiting for
        // many also lifts the kernel's limit of 20 completions per call (IO_LOCAL_TW_DEFAULT_MAX in
        // io_uring/io_uring.c). A single request is never delayed: the batch is one then.
        let loaded = self.last_batch >= BATCH_MIN;
        let batch = if loaded { (2 * self.last_batch).min(BATCH_MAX) } else { 1 };
        let mut args = SubmitArgs::new().timespec(&time);
        if self.has_min_wait && batch > 1 && left > 0 {
            args = args.min_wait_usec(BATCH_DELAY_US);
        }
        let want = match left {
            // No wait. The kernel runs its deferred work only if completions are wanted. Under overload many
            // are wanted, so that the completions of transfers behind the new requests become visible too.
            0 if self.ready.is_overloaded() => BATCH_MAX,
            0 if looks => 1,
            0 => 0,
            _ if self.has_min_wait => batch,
            _ => 1,
        };
        let result = self.ring.submitter().submit_with_args(want, &args);
        if let Err(error) = result {
            let expected = [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN];
            let known = error.raw_os_error().is_some_and(|errno| expected.contains(&errno));
            assert!(known, "io_uring_enter failed: {error}");
        }
    }

    fn complete(&mut self, ended: &Ended, completed: &mut Vec<Completion>) {
        self.counts.completions += 1;
        let number = ended.user_data;
        if matches!(number, WOKEN | CANCELLATION) {
            return;
        }
        if number == IGNORED {
            // A shard that has ended while the daemon stops need not be woken: its ring is closed.
            let errno = -ended.result;
            if !matches!(errno, libc::EBADF | libc::EBADFD) {
                tracing::error!("waking another shard failed: errno {errno}");
            }
            return;
        }
        let slot = usize::try_from(number & 0xffff_ffff).expect("32 bits");
        let generation = u32::try_from(number >> 32).expect("32 bits");
        assert_eq!(self.in_flight[slot].generation, generation, "a completion came twice");
        assert!(!cqueue::more(ended.flags), "no operation here completes more than once");
        let InFlight { token, held, .. } = self.in_flight.remove(slot);
        self.generations[slot] = generation.wrapping_add(1);
        self.slots[token.index as usize] = u32::MAX;
        let (result, returned) = match held {
            Held::Nothing | Held::Name { .. } | Held::Names { .. } => {
                (i64::from(ended.result), Returned::None)
            }
            Held::Opening { .. } => (self.opened(ended.result), Returned::None),
            Held::Buf(buf) => (i64::from(ended.result), Returned::One(buf)),
            Held::Sync(file) => (self.file_sync_result(file, ended.result), Returned::None),
            Held::SyncDir(dir) => (self.dir_sync_result(dir, ended.result), Returned::None),
            Held::Gather { bufs, durable, .. } => {
                let result = match durable {
                    Some(file) => self.file_sync_result(file, ended.result),
                    None => i64::from(ended.result),
                };
                (result, Returned::Many(bufs))
            }
            Held::RecvAny(sock) => match cqueue::buffer_select(ended.flags) {
                Some(number) => {
                    (i64::from(ended.result), Returned::One(self.provided.take(number)))
                }
                None if ended.result == -libc::ENOBUFS => {
                    self.starved.push_back((token, sock));
                    return;
                }
                None => (i64::from(ended.result), Returned::None),
            },
        };
        completed.push(Completion { token, result, returned });
    }

    /// Queues the completion of a transfer or of a possible new request, and delivers any other one at once.
    /// The completion of a transfer frees its device for the next one.
    fn queue_or_complete(&mut self, ended: Ended, completed: &mut Vec<Completion>) {
        let slot = usize::try_from(ended.user_data & 0xffff_ffff).expect("32 bits");
        match self.in_flight.get_mut(slot) {
            Some(InFlight { device: device @ Some(_), .. }) => {
                let device = device.take().expect("just seen");
                self.release_device(device);
                self.ready.add_transfer(ended);
            }
            Some(InFlight { held: Held::RecvAny(_), .. }) if ended.result > 0 => {
                self.ready.add_arrival(ended);
            }
            _ => self.complete(&ended, completed),
        }
    }

    fn release_device(&mut self, device: usize) {
        self.devices.end(device);
        loop {
            let files = &self.files;
            match self.devices.next(device, |file| open_file(files, file).is_some()) {
                Some(Next::Closed(token, op)) => self.refuse_transfer(token, op),
                Some(Next::Begins(token, op)) => return self.dispatch(token, op),
                None => return,
            }
        }
    }

    /// Compares the transfers in flight on each device with a recount.
    fn audit(&self) {
        let busy = |device| {
            self.in_flight.iter().filter(|(_, entry)| entry.device == Some(device)).count()
        };
        self.devices.expect(busy);
    }

    /// Replaces the provided buffers that receives took, and submits receives again that found none.
    fn refill(&mut self) {
        let there = self.provided.refill(&self.pool);
        // Submitted before new receives, they get the buffers first. More than are resumed in an iteration
        // would take the buffers from other receives.
        for _ in 0..there.min(ARRIVALS_MAX).min(self.starved.len()) {
            let (token, sock) =
                self.starved.pop_front().expect("the count is limited to the queue's length");
            self.recv_any(token, sock);
        }
    }
}

impl Driver for Ring {
    fn submit(&mut self, token: Token, op: Op) {
        let Some(file) = transfer_of(&op) else { return self.dispatch(token, op) };
        let Ok(open) = self.file(file) else { return self.refuse_transfer(token, op) };
        let device = open.device;
        if let Some((token, op)) = self.devices.begin(device, token, op) {
            self.dispatch(token, op);
        }
    }

    fn cancel(&mut self, token: Token) {
        if let Some(at) = self.starved.iter().position(|(starved, _)| *starved == token) {
            self.starved.remove(at);
            self.fail(token, libc::ECANCELED);
            return;
        }
        let slot = self.slots.get(token.index as usize).copied().unwrap_or(u32::MAX);
        let entry = self.in_flight.get(slot as usize).filter(|entry| entry.token == token);
        // The operation may have completed meanwhile. Transfers are never cancelled.
        let Some(entry) = entry.filter(|entry| entry.device.is_none()) else { return };
        let target = u64::from(entry.generation) << 32 | u64::from(slot);
        self.push(opcode::AsyncCancel::new(target).build().user_data(CANCELLATION));
    }

    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>) {
        self.refill();
        let nothing_waits = self.ended.is_empty() && self.ready.is_empty();
        self.enter(if nothing_waits { until } else { 0 });
        completed.append(&mut self.ended);
        let mut entries = std::mem::take(&mut self.entries);
        entries.extend(self.ring.completion());
        self.last_batch = entries.len();
        for entry in entries.drain(..) {
            self.queue_or_complete(entry.into(), completed);
        }
        self.entries = entries;
        let mut budget = self.ready.begin(self.in_flight.len());
        while let Some(ended) = self.ready.next(&mut budget) {
            self.complete(&ended, completed);
        }
        completed.append(&mut self.ended);
        if AUDITED && self.in_flight.len() <= RECOUNTED_MAX {
            self.audit();
        }
    }

    fn counts(&self) -> DriverCounts {
        self.counts
    }

    fn limit_device(&mut self, limit: usize) {
        self.devices.set_limit(limit);
    }

    fn now(&self) -> u64 {
        sys::monotonic_ns()
    }

    fn wall(&self) -> u64 {
        sys::wall_ns()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let idle = self.in_flight.is_empty();
        // SAFETY: dropped once, here; nothing uses the ring afterwards.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
        if idle {
            // SAFETY: as above; the ring that wrote to the buffers is closed.
            unsafe { ManuallyDrop::drop(&mut self.provided) };
            // SAFETY: as above.
            unsafe { ManuallyDrop::drop(&mut self.in_flight) };
        }
        // Otherwise the kernel may still write to the buffers of operations in flight while it closes the
        // ring. They are leaked, which happens only when a process ends.
    }
}
