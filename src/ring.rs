//! The driver on io_uring: the only code that knows it.
//!
//! One `io_uring_enter` per turn hands over what was submitted, runs the kernel's deferred work and
//! waits. Every operation in flight has an entry that owns its buffers until its last completion,
//! whatever became of whoever wanted it. Operations on a device are capped, since a device with
//! all its tags taken makes the submitting thread sleep inside the kernel; the rest waits here.
//!
//! Devices come first: transfers are handed over before anything else, and of those that have ended so
//! many go on in a turn that it stays short. Photos that ended together would else be verified and sent
//! together, while the device has nothing to do, and their clients would ask together again. When requests
//! come in crowds, they wait too, for what was begun (`docs/decisions/short-turns.md`).
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

use crate::account::AUDITED;
use crate::buffer::{Buf, Pool};
use crate::devices::{Devices, Next, transfer_of};
use crate::op::{
    Completion, DirId, Driver, DriverCounts, FileId, Op, Piece, Returned, Sock, Token,
};
use crate::sys;
use files::{OpenFile, fixed, open_file};
use provided::{GROUP, Provided};
pub use setup::{Prepared, Registration, SetupError, prepare};
use turns::{ARRIVALS_MAX, Ended, Turns};

/// Completions with these numbers belong to no operation.
const WOKEN: u64 = u64::MAX;
const CANCELLATION: u64 = u64::MAX - 1;
const IGNORED: u64 = u64::MAX - 2;

/// From so many completions in a turn on, the next turn waits for more than one:
const BATCH_MIN: usize = 4;
/// for so many at most,
const BATCH_MAX: usize = 64;
/// and for so long (microseconds).
const PATIENCE_US: u32 = 60;

/// Test builds recount the transfers of devices while no more operations than this are in flight.
const RECOUNTED_MAX: usize = 512;

/// What an operation in flight keeps alive, and how it ends.
enum Held {
    Nothing,
    Name {
        _name: CString,
    },
    Names {
        _from: CString,
        _to: CString,
    },
    /// Its result is a descriptor to be registered as a file.
    Opening {
        _name: CString,
    },
    /// Bringing a file to stable media.
    Sync(FileId),
    /// Bringing a directory to stable media.
    SyncDir(DirId),
    /// Reading or writing one buffer.
    Buf(Buf),
    /// A gathered write, with the kernel's list of its pieces.
    Gather {
        bufs: Vec<Buf>,
        _pieces: Box<[libc::iovec]>,
        /// The file, if the write is durable.
        durable: Option<FileId>,
    },
    /// A receive into a buffer of the kernel's choice.
    RecvAny(Sock),
}

struct InFlight {
    token: Token,
    generation: u32,
    held: Held,
    /// The device that it keeps busy.
    device: Option<usize>,
}

/// How a ring works.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Operations in flight per device; this ring's share.
    pub device_in_flight: usize,
    /// Open files without `O_DIRECT`.
    pub buffered: bool,
}

/// The driver. It stays on the thread that started it.
pub struct Ring {
    ring: ManuallyDrop<IoUring>,
    provided: ManuallyDrop<Provided>,
    in_flight: ManuallyDrop<Slab<InFlight>>,
    generations: Vec<u32>,
    /// Where the operation of a token is in `in_flight`.
    slots: Vec<u32>,
    /// Described, but not yet in the submission queue: transfers, and all else.
    transfers: VecDeque<Entry>,
    backlog: VecDeque<Entry>,
    /// What has ended and waits for its turn.
    turns: Turns,
    /// Scratch space for a turn's completions.
    entries: Vec<cqueue::Entry>,
    starved: VecDeque<(Token, Sock)>,
    /// Ended without the kernel.
    ended: Vec<Completion>,
    dirs: Vec<File>,
    files: Slab<OpenFile>,
    /// How often each place in `files` was used: a number that outlives its file names no other.
    file_generations: Vec<u16>,
    /// Places in the kernel's table of files.
    files_max: u32,
    devices: Devices,
    peers: Vec<RawFd>,
    options: RingOptions,
    registered: bool,
    gathers_fixed: bool,
    /// Whether the kernel can wait for several completions with a bound (6.12).
    patient: bool,
    /// Completions of the last turn.
    last_batch: usize,
    counts: DriverCounts,
    pool: Pool,
}

impl Ring {
    /// Starts a prepared ring on this thread. Messages go to `peers` by their number.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(
        prepared: Prepared,
        pool: Pool,
        peers: Vec<RawFd>,
        options: RingOptions,
    ) -> io::Result<Self> {
        let Prepared { ring, files_max, registered, gathers_fixed } = prepared;
        ring.submitter().register_enable_rings()?;
        let provided = Provided::new(&ring, &pool)?;
        let patient = ring.params().is_feature_min_timeout();
        Ok(Self {
            ring: ManuallyDrop::new(ring),
            provided: ManuallyDrop::new(provided),
            in_flight: ManuallyDrop::new(Slab::with_capacity(4096)),
            generations: Vec::new(),
            slots: Vec::new(),
            transfers: VecDeque::with_capacity(1024),
            backlog: VecDeque::with_capacity(1024),
            turns: Turns::new(),
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
            patient,
            last_batch: 0,
            counts: DriverCounts::default(),
            pool,
        })
    }

    /// Operations the kernel has and has not completed.
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

    /// Gives an operation an entry and the kernel its description. `describe` gets the entry's
    /// content, at the address where it stays until the end.
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

    /// Moves what was described into the submission queue, as far as there is room.
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
        // What does not fit into the queue must go in before anything is waited for.
        let all_in = self.transfers.is_empty() && self.backlog.is_empty();
        let left = if all_in { until.saturating_sub(now) } else { 0 };
        let looks = !self.turns.is_empty();
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
        // Under load a little patience saves system calls, since completions come in batches. Asking
        // for many also lifts the kernel's bound of 20 completions per call (IO_LOCAL_TW_DEFAULT_MAX
        // in io_uring/io_uring.c). A lone request never waits: the batch is one then.
        let loaded = self.last_batch >= BATCH_MIN;
        let batch = if loaded { (2 * self.last_batch).min(BATCH_MAX) } else { 1 };
        let mut args = SubmitArgs::new().timespec(&time);
        if self.patient && batch > 1 && left > 0 {
            args = args.min_wait_usec(PATIENCE_US);
        }
        let want = match left {
            // Without waiting: only who wants something has the kernel do its deferred work. Under a crowd of
            // requests it is to do much of it, so that what was begun comes to light behind them.
            0 if self.turns.is_crowded() => BATCH_MAX,
            0 if looks => 1,
            0 => 0,
            _ if self.patient => batch,
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
            // A shard that has ended while the daemon stops needs no waking: its ring is closed.
            let errno = -ended.result;
            if !matches!(errno, libc::EBADF | libc::EBADFD) {
                tracing::error!("a message to another shard failed: errno {errno}");
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
            Held::Sync(file) => (self.believed_of(file, ended.result), Returned::None),
            Held::SyncDir(dir) => (self.believed_of_dir(dir, ended.result), Returned::None),
            Held::Gather { bufs, durable, .. } => {
                let result = match durable {
                    Some(file) => self.believed_of(file, ended.result),
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

    /// Lets what has ended go on at once, or wait for its turn. The device of a transfer is free for the
    /// next one now.
    fn sort(&mut self, ended: Ended, completed: &mut Vec<Completion>) {
        let slot = usize::try_from(ended.user_data & 0xffff_ffff).expect("32 bits");
        match self.in_flight.get_mut(slot) {
            Some(InFlight { device: device @ Some(_), .. }) => {
                let device = device.take().expect("just seen");
                self.release_device(device);
                self.turns.add_transfer(ended);
            }
            Some(InFlight { held: Held::RecvAny(_), .. }) if ended.result > 0 => {
                self.turns.add_arrival(ended);
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

    /// Recounts the transfers that keep devices busy.
    fn audit(&self) {
        let busy = |device| {
            self.in_flight.iter().filter(|(_, entry)| entry.device == Some(device)).count()
        };
        self.devices.expect(busy);
    }

    /// Puts back the buffers that receives took, and lets those receives go on that found none.
    fn refill(&mut self) {
        let there = self.provided.refill(&self.pool);
        // Handed over first, they find the buffers; more than go on in a turn would take them from others.
        for _ in 0..there.min(ARRIVALS_MAX).min(self.starved.len()) {
            let (token, sock) = self.starved.pop_front().expect("so many are there");
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
        // It may have ended meanwhile.
        let Some(entry) = entry.filter(|entry| entry.device.is_none()) else { return };
        let target = u64::from(entry.generation) << 32 | u64::from(slot);
        self.push(opcode::AsyncCancel::new(target).build().user_data(CANCELLATION));
    }

    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>) {
        self.refill();
        let nothing_waits = self.ended.is_empty() && self.turns.is_empty();
        self.enter(if nothing_waits { until } else { 0 });
        completed.append(&mut self.ended);
        let mut entries = std::mem::take(&mut self.entries);
        entries.extend(self.ring.completion());
        self.last_batch = entries.len();
        for entry in entries.drain(..) {
            self.sort(entry.into(), completed);
        }
        self.entries = entries;
        let mut turn = self.turns.begin(self.in_flight.len());
        while let Some(ended) = self.turns.next(&mut turn) {
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
        // SAFETY: dropped once, here; nothing uses it afterwards.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
        if idle {
            // SAFETY: as above; the ring that wrote to the buffers is closed.
            unsafe { ManuallyDrop::drop(&mut self.provided) };
            // SAFETY: as above.
            unsafe { ManuallyDrop::drop(&mut self.in_flight) };
        }
        // Else the kernel may still write to buffers of operations in flight while it closes the
        // ring: they are leaked, which happens only when a process ends.
    }
}
