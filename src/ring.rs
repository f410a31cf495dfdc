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

mod budget;
mod encode;
mod files;
mod in_flight;
mod provided;
mod setup;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use nix::libc;
use nix::sys::socket::sockopt::TcpNoDelay;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket};

use crate::base::account::AUDITED;
use crate::base::sys;
use crate::runtime::buffer::Pool;
use crate::runtime::devices::{Devices, Next, transfer_of};
use crate::runtime::op::{
    Completion, DirId, Driver, DriverCounts, FileId, Op, Returned, Sock, Token,
};
use budget::{ARRIVALS_MAX, Ended, ReadyCompletions};
use encode::Encoded;
use files::OpenFiles;
use in_flight::{Held, InFlight, InFlightTable};
use provided::Provided;
pub use setup::{Prepared, Registration, SetupError, prepare};

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
    in_flight: ManuallyDrop<InFlightTable>,
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
    files: OpenFiles,
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
        let provided = Provided::new(&ring)?;
        let has_min_wait = ring.params().is_feature_min_timeout();
        Ok(Self {
            ring: ManuallyDrop::new(ring),
            provided: ManuallyDrop::new(provided),
            in_flight: ManuallyDrop::new(InFlightTable::new()),
            transfers: VecDeque::with_capacity(1024),
            backlog: VecDeque::with_capacity(1024),
            ready: ReadyCompletions::new(),
            entries: Vec::with_capacity(1024),
            starved: VecDeque::new(),
            ended: Vec::new(),
            files: OpenFiles::new(files_max),
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

    fn end_with(&mut self, token: Token, result: io::Result<u64>) {
        let number = match result {
            Ok(value) => i64::try_from(value).expect("lengths and counts are below 2^63"),
            Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        };
        self.end(token, number, Returned::None);
    }

    /// Queues the submission of an operation other than a transfer.
    fn launch(&mut self, token: Token, Encoded { held, entry }: Encoded) {
        let number = self.in_flight.insert(token, held, None);
        self.push(entry.user_data(number));
    }

    /// Queues the submission of a transfer on an open file.
    fn launch_transfer(&mut self, token: Token, file: FileId, Encoded { held, entry }: Encoded) {
        let open = self.files.file(file).expect("checked before a transfer is dispatched");
        let number = self.in_flight.insert(token, held, Some(open.device));
        self.transfers.push_back(entry.user_data(number));
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
                let read = encode::read(file, buf, start, len, offset, self.registered);
                self.launch_transfer(token, file, read);
            }
            Op::Write { file, bufs, pieces, offset, durable } => {
                let registered = self.registered && self.gathers_fixed;
                let write = encode::write(file, bufs, &pieces, offset, durable, registered);
                self.launch_transfer(token, file, write);
            }
            Op::RecvAny { sock } => self.launch(token, encode::recv_any(sock)),
            Op::Recv { sock, buf, start, len, whole } => {
                self.launch(token, encode::recv(sock, buf, start, len, whole));
            }
            Op::Send { sock, buf, start, len } => {
                self.launch(token, encode::send(sock, buf, start, len));
            }
            Op::SendLent { sock, lent, start, len, more } => {
                self.launch(token, encode::send_lent(sock, lent, start, len, more));
            }
            Op::Wake { peer } => self.wake(token, peer),
            Op::Connect { address } => match client_socket(&address) {
                Ok(socket) => self.launch(token, encode::connect(socket, address.into())),
                Err(errno) => self.fail(token, errno as i32),
            },
            Op::Accept { listener } => self.launch(token, encode::accept(listener)),
            Op::PeerName { sock } => {
                self.end(token, 0, Returned::Text(sys::peer_name(sock.0).into()));
            }
            Op::ShutdownWrite { sock } => self.launch(token, encode::shutdown_write(sock)),
            Op::Close { sock } => self.launch(token, encode::close(sock)),
            other => self.dispatch_file_op(token, other),
        }
    }

    /// Dispatches an operation on a file or directory other than a transfer. These are rare, and not part of
    /// any request.
    fn dispatch_file_op(&mut self, token: Token, op: Op) {
        match op {
            Op::OpenDir { path } => {
                let number = self.files.open_dir(&path);
                self.end_with(token, number);
            }
            Op::Create { dir, name } => {
                self.open(token, dir, name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL);
            }
            Op::Open { dir, name, write } => {
                let access = if write { libc::O_RDWR } else { libc::O_RDONLY };
                self.open(token, dir, name, access);
            }
            Op::FileLen { file } => self.end_with(token, self.files.len_of(file)),
            Op::IsNameOf { dir, name, file } => {
                let is_name = self.files.is_name_of(dir, &name, file);
                self.end_with(token, is_name.map(u64::from));
            }
            Op::Extents { file } => self.end_with(token, self.files.extents_of(file)),
            Op::Allocate { file, offset, len } => {
                // The hint can be set only as long as the file has no extents.
                if offset == 0 {
                    self.files.hint_extent_size(file, len);
                }
                self.launch(token, encode::allocate(file, offset, len));
            }
            Op::SetLen { file, len } => {
                let set = self.files.set_len(file, len);
                self.end_with(token, set);
            }
            Op::Sync { file } => self.launch(token, encode::sync(file)),
            Op::CloseFile { file } => {
                let closed = self.files.close(file, &self.ring.submitter());
                self.end_with(token, closed.map(|()| 0));
            }
            Op::Rename { dir, from, to, replace } => {
                self.launch(token, encode::rename(self.files.dir(dir), from, to, replace));
            }
            Op::Unlink { dir, name } => {
                self.launch(token, encode::unlink(self.files.dir(dir), name));
            }
            Op::SyncDir { dir } => {
                self.launch(token, encode::sync_dir(dir, self.files.dir(dir)));
            }
            _ => unreachable!("connections and transfers are dispatched by `dispatch`"),
        }
    }

    fn open(&mut self, token: Token, dir: DirId, name: CString, access: i32) {
        let direct = if self.options.buffered { 0 } else { libc::O_DIRECT };
        let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | direct | access;
        self.launch(token, encode::open(self.files.dir(dir), name, flags));
    }

    /// Completes a transfer on a file that was closed meanwhile with `EBADF`.
    fn refuse_transfer(&mut self, token: Token, op: Op) {
        let returned = match op {
            Op::Read { buf, .. } => Returned::One(buf),
            Op::Write { bufs, .. } => Returned::Many(bufs),
            _ => Returned::None,
        };
        self.end(token, -i64::from(libc::EBADF), returned);
    }

    fn wake(&mut self, token: Token, peer: usize) {
        let fd = self.peers[peer];
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
        assert!(!cqueue::more(ended.flags), "no operation here completes more than once");
        let InFlight { token, held, .. } = self.in_flight.remove(number);
        let (result, returned) = match held {
            Held::Nothing | Held::Name { .. } | Held::Names { .. } => {
                (i64::from(ended.result), Returned::None)
            }
            Held::Opening { .. } => {
                let ring = self.ring.submitter();
                (self.files.opened(ended.result, &mut self.devices, &ring), Returned::None)
            }
            Held::Buf(buf) => (i64::from(ended.result), Returned::One(buf)),
            Held::Lent(lent) => (i64::from(ended.result), Returned::Lent(lent)),
            Held::Connecting { socket, .. } => (connected(socket, ended.result), Returned::None),
            Held::Sync(file) => (self.files.file_sync_result(file, ended.result), Returned::None),
            Held::SyncDir(dir) => (self.files.dir_sync_result(dir, ended.result), Returned::None),
            Held::Gather { bufs, durable, .. } => {
                let result = match durable {
                    Some(file) => self.files.file_sync_result(file, ended.result),
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
        match self.in_flight.get_mut(ended.user_data) {
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
            match self.devices.next(device, |file| files.is_open(file)) {
                Some(Next::Closed(token, op)) => self.refuse_transfer(token, op),
                Some(Next::Begins(token, op)) => return self.dispatch(token, op),
                None => return,
            }
        }
    }

    /// Compares the transfers in flight on each device with a recount.
    fn audit(&self) {
        self.devices.expect(|device| self.in_flight.on_device(device));
    }

    /// Replaces the provided buffers that receives took, and submits receives again that found none.
    fn refill(&mut self) {
        let there = self.provided.refill(&self.pool);
        // Submitted before new receives, they get the buffers first. More than are resumed in an iteration
        // would take the buffers from other receives.
        for _ in 0..there.min(ARRIVALS_MAX).min(self.starved.len()) {
            let (token, sock) =
                self.starved.pop_front().expect("the count is limited to the queue's length");
            self.launch(token, encode::recv_any(sock));
        }
    }
}

/// Opens a socket for a connection to an address.
fn client_socket(address: &SocketAddr) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // A request is sent in one piece and must not wait for more data.
    setsockopt(&socket, TcpNoDelay, &true)?;
    Ok(socket)
}

/// Result of an attempt to connect a socket, which is closed if the attempt has failed.
fn connected(socket: Option<OwnedFd>, result: i32) -> i64 {
    match socket {
        Some(socket) if result >= 0 => i64::from(socket.into_raw_fd()),
        _ => i64::from(result),
    }
}

impl Driver for Ring {
    fn submit(&mut self, token: Token, op: Op) {
        let Some(file) = transfer_of(&op) else { return self.dispatch(token, op) };
        let Ok(open) = self.files.file(file) else { return self.refuse_transfer(token, op) };
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
        // The operation may have completed meanwhile. Transfers are never cancelled.
        let entry = self.in_flight.find(token).filter(|(_, entry)| entry.device.is_none());
        let Some((target, _)) = entry else { return };
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
        } else {
            // The kernel may still write to the buffers of operations in flight while it closes the ring.
            // They are leaked, which happens only when a process ends. The kernel has its own reference to a
            // socket.
            self.in_flight.close_sockets();
        }
    }
}
