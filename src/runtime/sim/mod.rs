//! The simulated world: a driver for tests.
//!
//! It has disks whose cache is lost in a power cut ([`disk`]), connections whose bytes arrive in segments of
//! varying length ([`net`]), completions in an order and after delays drawn from a seed, a clock that jumps
//! from event to event, and faults on chosen operations ([`fault`]). Either one runtime is alone in the world
//! and advances the clock itself ([`World::driver`]), or several runtimes are run alternately
//! ([`World::member`], [`World::next`]). The same seed gives the same run, and [`World::hash`] the same
//! number. The simulation uses no io_uring, no real time and no real files. [`history`] checks the answers
//! that clients received.

pub mod disk;
pub mod fault;
pub mod history;
pub mod net;
pub mod pages;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use nix::libc;
use xxhash_rust::xxh3::xxh3_64;

use crate::base::limits::{HEAD_BUFFER, RECEIVE_HEADROOM};
use crate::runtime::buffer::Pool;
use crate::runtime::devices::{Devices, Next, transfer_of};
use crate::runtime::op::{Completion, Driver, DriverCounts, FileId, Op, Returned, Sock, Token};
use crate::runtime::split_mix;
use disk::{Disk, Image, Wreck};
use fault::{Faults, Met};
use net::{Attempt, Net};

pub use fault::Fault;

type Hook = Rc<dyn Fn(&Snapshot<'_>)>;

/// Number of an operation that is not a disk operation, so that no fault applies to it.
const NO_DISK: u64 = u64::MAX;
/// Position of the only device, which holds all files.
const DEVICE: usize = 0;
/// Due time of an operation that waits for an event of its connection or listener.
const PARKED: u64 = u64::MAX;

/// An operation in flight.
struct Flight {
    /// Member that submitted the operation.
    member: usize,
    /// Time at which the operation ends, or is attempted again (nanoseconds).
    due: u64,
    /// Order of submission, which decides between operations that are due at the same time.
    order: u64,
    /// Number of the disk operation, or [`NO_DISK`].
    number: u64,
    token: Token,
    op: Op,
    /// Bytes received so far.
    done: usize,
    is_cancelled: bool,
    /// Whether the operation counts as a transfer in flight on the device.
    is_transfer: bool,
}

/// Whether an operation is on a connection or listener, or between shards.
fn is_network(op: &Op) -> bool {
    matches!(
        op,
        Op::Accept { .. }
            | Op::RecvAny { .. }
            | Op::Recv { .. }
            | Op::Send { .. }
            | Op::PeerName { .. }
            | Op::ShutdownWrite { .. }
            | Op::Close { .. }
            | Op::Wake { .. }
    )
}

/// The connection or listener that an operation can wait for.
fn waits_for(op: &Op) -> Option<i32> {
    match op {
        Op::Accept { listener } => Some(listener.0),
        Op::RecvAny { sock } | Op::Recv { sock, .. } | Op::Send { sock, .. } => Some(sock.0),
        _ => None,
    }
}

struct State {
    disk: Disk,
    /// Inode of each open file, and whether it is open for writing.
    open: BTreeMap<u32, (usize, bool)>,
    next_file: u32,
    flights: Vec<Flight>,
    seed: u64,
    now: u64,
    /// Difference between the wall clock and `now` (nanoseconds).
    wall_offset: u64,
    begun: u64,
    submitted: u64,
    net: Net,
    /// Members that were woken by another one.
    woken: BTreeSet<usize>,
    hash: u64,
    faults: Faults,
    hook: Option<Hook>,
}

/// The state of the world between two events.
pub struct Snapshot<'a> {
    state: &'a State,
}

impl Snapshot<'_> {
    /// Returns the crash states of a power cut at this moment.
    #[must_use]
    pub fn wreck(&self) -> Wreck {
        let state = self.state;
        let mut writing = Vec::new();
        for flight in &state.flights {
            if let Op::Write { file, bufs, pieces, offset, .. } = &flight.op
                && state.may_write(*file)
            {
                let inode = state.inode(*file);
                let at = usize::try_from(*offset).expect("small files");
                writing.push((inode, at, gather(bufs, pieces)));
            }
        }
        state.disk.wreck(&writing)
    }

    /// Returns the contents of the disk after a kill of the process at this moment.
    #[must_use]
    pub fn image(&self) -> Image {
        self.state.disk.image()
    }
}

/// The world. A clone is another handle of the same world.
#[derive(Clone)]
pub struct World(Rc<RefCell<State>>);

impl World {
    /// Creates a world whose disk has the contents of `image`.
    #[must_use]
    pub fn new(seed: u64, image: &Image) -> Self {
        Self::with_disk(seed, Disk::from_image(image))
    }

    /// Creates the world after a kill of the process that left `wreck`: no data is lost yet, but a power cut
    /// may still lose unflushed data.
    #[must_use]
    pub fn after_kill(seed: u64, wreck: &Wreck) -> Self {
        Self::with_disk(seed, Disk::after_kill(wreck))
    }

    /// Creates a world with this disk.
    #[must_use]
    pub fn with_disk(seed: u64, disk: Disk) -> Self {
        Self(Rc::new(RefCell::new(State {
            disk,
            open: BTreeMap::new(),
            next_file: 0,
            flights: Vec::new(),
            seed,
            now: 1_000_000_000,
            wall_offset: 1_700_000_000_000_000_000,
            begun: 0,
            submitted: 0,
            net: Net::default(),
            woken: BTreeSet::new(),
            hash: 0,
            faults: Faults::default(),
            hook: None,
        })))
    }

    /// Sets the wall clock (nanoseconds since 1970), to simulate a wrong clock or its correction.
    pub fn set_wall(&self, wall: u64) {
        let mut state = self.0.borrow_mut();
        state.wall_offset = wall.saturating_sub(state.now);
    }

    /// Creates a driver for a runtime that is alone in the world and has no connections.
    #[must_use]
    pub fn driver(&self) -> SimDriver {
        let counts = DriverCounts::default();
        let devices = one_device();
        SimDriver { world: self.clone(), member: 0, is_alone: true, pool: None, devices, counts }
    }

    /// Creates a driver for one of several runtimes, numbered from 0, which run in the order that
    /// [`Self::next`] gives. Shards come first, with their shard numbers. [`Op::RecvAny`] receives into
    /// buffers of `pool`.
    #[must_use]
    pub fn member(&self, member: usize, pool: &Pool) -> SimDriver {
        let (pool, counts) = (Some(pool.clone()), DriverCounts::default());
        let devices = one_device();
        SimDriver { world: self.clone(), member, is_alone: false, pool, devices, counts }
    }

    /// Draws the member that runs next. `until` is the time for each member at which it is due if no event
    /// happens (nanoseconds). If no member can run, advances the clock to the next event. Returns `None` when
    /// no member waits for anything.
    #[must_use]
    pub fn next(&self, until: &[u64]) -> Option<usize> {
        self.0.borrow_mut().next_member(until)
    }

    /// Connects to a listener and returns the client's end. The bytes of both sides arrive in segments of at
    /// most `segment` bytes.
    #[must_use]
    pub fn connect(&self, listener: Sock, segment: usize) -> Sock {
        let mut state = self.0.borrow_mut();
        let client = state.net.connect(listener.0, segment);
        state.retry_waiters(listener.0);
        Sock(client)
    }

    /// Resets a connection.
    pub fn reset(&self, end: Sock) {
        let mut state = self.0.borrow_mut();
        let peer = state.net.peer(end.0);
        state.net.reset(end.0);
        for end in [Some(end.0), peer].into_iter().flatten() {
            state.retry_waiters(end);
        }
    }

    /// Hash of all events so far and their order.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.0.borrow().hash
    }

    /// Advances the clock to `now` (nanoseconds); does nothing if it is later already.
    pub fn skip_to(&self, now: u64) {
        let mut state = self.0.borrow_mut();
        state.now = state.now.max(now);
    }

    /// Time of the world's monotonic clock (nanoseconds).
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.borrow().now
    }

    /// Makes all operations on files whose names begin with `prefix` fail from now on, as if their disk was
    /// unplugged.
    pub fn unplug(&self, prefix: &str) {
        self.0.borrow_mut().faults.unplug(prefix);
    }

    /// Faults that hit operations so far, in order.
    #[must_use]
    pub fn met(&self) -> Vec<Met> {
        self.0.borrow().faults.met()
    }

    /// Names of the open files, one for each time that a file is open; empty for a file whose name was
    /// removed.
    #[must_use]
    pub fn open_files(&self) -> Vec<String> {
        let state = self.0.borrow();
        state.open.values().map(|(inode, _)| state.disk.name_of(*inode)).collect()
    }

    /// Whether a write is in flight.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        let state = self.0.borrow();
        state.flights.iter().any(|flight| matches!(flight.op, Op::Write { .. }))
    }

    /// Names of all files, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.borrow().disk.all_names()
    }

    /// Removes a file's name, as the daemon does at start with unfinished files.
    pub fn remove(&self, name: &str) {
        self.0.borrow_mut().disk.unlink(name);
    }

    /// Makes names durable, as the daemon does at start before it relies on them.
    pub fn sync_names(&self) {
        self.0.borrow_mut().disk.sync_names();
    }

    /// Number of accepted connections that are not closed.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.0.borrow().net.accepted()
    }

    /// Calls `hook` at every event: when an operation is submitted and when one has completed.
    pub fn on_event(&self, hook: impl Fn(&Snapshot<'_>) + 'static) {
        self.0.borrow_mut().hook = Some(Rc::new(hook));
    }

    /// Adds a fault to disk operation number `n` from now (0 is the next).
    pub fn fail(&self, n: u64, fault: Fault) {
        let mut state = self.0.borrow_mut();
        let number = state.submitted + n;
        state.faults.add(number, fault, false);
    }

    /// Adds a fault to disk operation number `n` from now (0 is the next) and to all later ones.
    pub fn fail_from(&self, n: u64, fault: Fault) {
        let mut state = self.0.borrow_mut();
        let number = state.submitted + n;
        state.faults.add(number, fault, true);
    }

    /// Makes a sector of a file bad, so that reads and writes of it fail.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn spoil(&self, name: &str, sector: usize) {
        let mut state = self.0.borrow_mut();
        let inode = state.disk.find(name).expect("a file of that name");
        state.disk.spoil(inode, sector);
    }

    /// Flips a bit of a file without an operation.
    ///
    /// # Panics
    /// When there is no such file or byte.
    pub fn rot(&self, name: &str, byte: usize, bit: u32) {
        let mut state = self.0.borrow_mut();
        let inode = state.disk.find(name).expect("a file of that name");
        state.disk.rot(inode, byte, bit);
        state.faults.count(fault::BIT_ROT);
    }

    /// Number of times that faults of this name had an effect; see [`fault`].
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.0.borrow().faults.counted(name)
    }

    /// Number of disk operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.borrow().submitted
    }

    /// Calls `look` with the current state of the world.
    pub fn look<T>(&self, look: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        look(&Snapshot { state: &self.0.borrow() })
    }

    fn call_hook(&self) {
        let hook = self.0.borrow().hook.clone();
        if let Some(hook) = hook {
            hook(&Snapshot { state: &self.0.borrow() });
        }
    }
}

/// Creates the device that holds all files, without a limit of transfers in flight.
fn one_device() -> Devices {
    let mut devices = Devices::new(usize::MAX);
    devices.position(DEVICE as u64);
    devices
}

fn gather(bufs: &[crate::runtime::buffer::Buf], pieces: &[crate::runtime::op::Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let start = piece.start as usize;
        bytes.extend_from_slice(&bufs[usize::from(piece.buf)][start..start + piece.len as usize]);
    }
    bytes
}

/// Whether a read has the alignment that direct I/O requires.
fn is_aligned(start: u32, len: u32, offset: u64) -> bool {
    let unit = crate::base::limits::UNIT;
    [u64::from(start), u64::from(len), offset].iter().all(|number| number.is_multiple_of(unit))
}

impl State {
    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    fn begin(&mut self, member: usize, token: Token, op: Op) {
        self.begin_as(false, member, token, op);
    }

    /// Begins the next queued transfers of a member whose device has become free.
    fn begin_queued(&mut self, member: usize, devices: &mut Devices) {
        while let Some(next) = devices.next(DEVICE, |file| self.is_open(file)) {
            match next {
                Next::Begins(token, op) => self.begin_as(true, member, token, op),
                // Completes with EBADF, without a transfer.
                Next::Closed(token, op) => self.begin(member, token, op),
            }
        }
        let busy = |flight: &&Flight| flight.member == member && flight.is_transfer;
        devices.expect(|_| self.flights.iter().filter(busy).count());
    }

    fn begin_as(&mut self, is_transfer: bool, member: usize, token: Token, op: Op) {
        let mut delay = 20_000 + self.draw(100_000);
        let order = self.begun;
        self.begun += 1;
        let number = if is_network(&op) { NO_DISK } else { self.submitted };
        if number != NO_DISK {
            delay += self.before(number, &op);
            self.submitted += 1;
        }
        let due = self.now + delay;
        let (done, is_cancelled) = (0, false);
        let flight =
            Flight { member, due, order, number, token, op, done, is_cancelled, is_transfer };
        self.flights.push(flight);
    }

    /// Cancels an operation that waits for a connection or listener.
    fn cancel(&mut self, member: usize, token: Token) {
        let now = self.now;
        let of = |flight: &&mut Flight| flight.member == member && flight.token == token;
        if let Some(flight) = self.flights.iter_mut().find(of)
            && waits_for(&flight.op).is_some()
        {
            flight.is_cancelled = true;
            flight.due = flight.due.min(now);
        }
    }

    fn next_due(&self, member: usize) -> Option<usize> {
        let flights = self.flights.iter().enumerate();
        let flights = flights.filter(|(_, flight)| flight.member == member);
        flights.min_by_key(|(_, flight)| (flight.due, flight.order)).map(|(n, _)| n)
    }

    fn next_member(&mut self, until: &[u64]) -> Option<usize> {
        loop {
            let mut ready = self.woken.clone();
            ready.extend((0..until.len()).filter(|&member| until[member] <= self.now));
            let due = self.flights.iter().filter(|flight| flight.due <= self.now);
            ready.extend(due.map(|flight| flight.member));
            if !ready.is_empty() {
                let drawn = self.draw(ready.len() as u64);
                return ready.into_iter().nth(usize::try_from(drawn).expect("few members"));
            }
            let flights = self.flights.iter().map(|flight| flight.due);
            self.now = flights.chain(until.iter().copied()).min().filter(|&due| due < PARKED)?;
        }
    }

    /// Schedules new attempts of the operations that wait for a connection or listener.
    fn retry_waiters(&mut self, sock: i32) {
        for n in 0..self.flights.len() {
            if self.flights[n].due == PARKED && waits_for(&self.flights[n].op) == Some(sock) {
                // One packet in 64 is lost and sent again.
                let lost = self.draw(64) == 0;
                let delay = 5_000 + self.draw(50_000) + if lost { 200_000_000 } else { 0 };
                self.flights[n].due = self.now + delay;
            }
        }
    }

    /// Attempts an operation on a connection, on a listener or between shards.
    ///
    /// # Errors
    /// Returns the flight when the operation has to wait.
    fn communicate(&mut self, mut flight: Flight, pool: &Pool) -> Result<Completion, Flight> {
        let drawn = self.draw(4096) + 1;
        let most = usize::try_from(drawn * drawn).expect("16 MiB");
        let token = flight.token;
        flight.due = PARKED;
        let cancelled = flight.is_cancelled.then_some(-i64::from(libc::ECANCELED));
        let ended = |result, returned| Ok(Completion { token, result, returned });
        match &mut flight.op {
            Op::Accept { listener } => {
                let attempt = cancelled.or_else(|| self.net.accept(listener.0));
                match attempt {
                    Some(result) => ended(result, Returned::None),
                    None => Err(flight),
                }
            }
            Op::RecvAny { sock } => {
                let sock = sock.0;
                let Some(mut buf) = pool.alloc(HEAD_BUFFER) else {
                    flight.due = self.now + 1_000_000;
                    return Err(flight);
                };
                let room = &mut buf[RECEIVE_HEADROOM..HEAD_BUFFER];
                let attempt = self.receive(sock, room, most).or(cancelled);
                match attempt {
                    Some(len @ 1..) => ended(len, Returned::One(buf)),
                    Some(result) => ended(result, Returned::None),
                    None => Err(flight),
                }
            }
            Op::Recv { sock, buf, start, len, whole } => {
                let (sock, whole) = (sock.0, *whole);
                let room = *start as usize + flight.done..(*start + *len) as usize;
                let wanted = room.len();
                let attempt = self.receive(sock, &mut buf[room], most);
                let so_far = |result: i64, done: usize| if done > 0 { done as i64 } else { result };
                let result = match attempt {
                    Some(got @ 1..) => {
                        let got = usize::try_from(got).expect("positive");
                        flight.done += got;
                        if whole && got < wanted && cancelled.is_none() {
                            flight.due = self.now + 1_000;
                            return Err(flight);
                        }
                        i64::try_from(flight.done).expect("small")
                    }
                    Some(end) => so_far(end, flight.done),
                    None => match cancelled {
                        Some(cancelled) => so_far(cancelled, flight.done),
                        None => return Err(flight),
                    },
                };
                let Op::Recv { buf, .. } = flight.op else { unreachable!("matched above") };
                ended(result, Returned::One(buf))
            }
            Op::Send { sock, buf, start, len } => {
                let (sock, bytes) = (sock.0, &buf[*start as usize..(*start + *len) as usize]);
                let attempt = self.net.send(sock, bytes, most).or(cancelled);
                let sent = usize::try_from(attempt.unwrap_or(0)).unwrap_or(0);
                self.hash ^= xxh3_64(&bytes[..sent]);
                let Some(result) = attempt else { return Err(flight) };
                if let Some(peer) = self.net.peer(sock) {
                    self.retry_waiters(peer);
                }
                let Op::Send { buf, .. } = flight.op else { unreachable!("matched above") };
                ended(result, Returned::One(buf))
            }
            Op::PeerName { .. } => ended(0, Returned::Text("simulated".into())),
            Op::ShutdownWrite { sock } => {
                let sock = sock.0;
                self.net.shutdown(sock);
                self.retry_peer_waiters(sock);
                ended(0, Returned::None)
            }
            Op::Close { sock } => {
                let sock = sock.0;
                let peer = self.net.peer(sock);
                self.net.close(sock);
                if let Some(peer) = peer {
                    self.retry_waiters(peer);
                }
                ended(0, Returned::None)
            }
            Op::Wake { shard } => {
                self.woken.insert(usize::from(*shard));
                ended(0, Returned::None)
            }
            other => unreachable!("{other:?} is a disk operation"),
        }
    }

    fn receive(&mut self, sock: i32, room: &mut [u8], most: usize) -> Attempt {
        let attempt = self.net.receive(sock, room, most);
        if attempt.is_some() {
            self.retry_peer_waiters(sock);
        }
        attempt
    }

    fn retry_peer_waiters(&mut self, sock: i32) {
        if let Some(peer) = self.net.peer(sock) {
            self.retry_waiters(peer);
        }
    }

    fn note(&mut self, member: usize, completion: &Completion) {
        let index = u64::from(completion.token.index);
        for part in [self.now, member as u64, index, completion.result.cast_unsigned()] {
            self.hash ^= part;
            self.hash = split_mix(&mut self.hash);
        }
    }

    fn inode(&self, file: FileId) -> usize {
        self.open[&file.0].0
    }

    fn is_open(&self, file: FileId) -> bool {
        self.open.contains_key(&file.0)
    }

    fn may_write(&self, file: FileId) -> bool {
        self.open.get(&file.0).is_some_and(|(_, write)| *write)
    }

    /// Name of the file of an operation; empty without one.
    fn name_of(&self, op: &Op) -> String {
        let text = |name: &std::ffi::CString| name.to_string_lossy().into_owned();
        match op {
            Op::Create { name, .. } | Op::Open { name, .. } | Op::Unlink { name, .. } => text(name),
            Op::Rename { from, .. } => text(from),
            Op::Read { file, .. }
            | Op::Write { file, .. }
            | Op::Sync { file }
            | Op::FileLen { file }
            | Op::Extents { file }
            | Op::Allocate { file, .. } => match self.open.get(&file.0) {
                Some((inode, _)) => self.disk.name_of(*inode),
                None => String::new(),
            },
            _ => String::new(),
        }
    }

    fn open_file(&mut self, inode: usize, write: bool) -> i64 {
        let file = self.next_file;
        self.next_file += 1;
        self.open.insert(file, (inode, write));
        i64::from(file)
    }

    /// Completes the operation with index `n` in `flights`, unless it has to wait.
    fn end(&mut self, n: usize, pool: Option<&Pool>) -> Option<Completion> {
        let flight = self.flights.swap_remove(n);
        let member = flight.member;
        let completion = if flight.number == NO_DISK {
            let pool = pool.expect("a member with connections has a pool");
            match self.communicate(flight, pool) {
                Ok(completion) => completion,
                Err(waiting) => {
                    self.flights.push(waiting);
                    return None;
                }
            }
        } else {
            let name = self.name_of(&flight.op);
            let fault = self.faults.take(flight.number, &flight.op, name);
            let (result, returned) = self.carry_out(flight.op, fault);
            Completion { token: flight.token, result, returned }
        };
        self.note(member, &completion);
        Some(completion)
    }

    fn carry_out(&mut self, op: Op, fault: Option<Fault>) -> (i64, Returned) {
        let place = |offset: u64| usize::try_from(offset).expect("small files");
        match op {
            Op::Read { file, buf, .. } if !self.is_open(file) => {
                (-i64::from(libc::EBADF), Returned::One(buf))
            }
            // As with O_DIRECT (open(2)).
            Op::Read { buf, start, len, offset, .. } if !is_aligned(start, len, offset) => {
                (-i64::from(libc::EINVAL), Returned::One(buf))
            }
            Op::Read { file, mut buf, start, len, offset } => {
                let out = &mut buf[start as usize..(start + len) as usize];
                let result = self.read(self.inode(file), place(offset), out, fault);
                (result, Returned::One(buf))
            }
            Op::Write { file, bufs, .. } if !self.may_write(file) => {
                (-i64::from(libc::EBADF), Returned::Many(bufs))
            }
            Op::Write { file, bufs, pieces, offset, durable } => {
                let bytes = gather(&bufs, &pieces);
                let inode = self.inode(file);
                (self.write(inode, place(offset), &bytes, durable, fault), Returned::Many(bufs))
            }
            Op::Sync { file } if !self.is_open(file) => (-i64::from(libc::EBADF), Returned::None),
            Op::Sync { file } => (self.sync(self.inode(file), fault), Returned::None),
            Op::CloseFile { file } => {
                // A second close could hit another file that has the same number by then. The file is closed
                // even if close(2) reports an error.
                assert!(self.open.remove(&file.0).is_some(), "file {} was closed twice", file.0);
                (self.fails(fault).unwrap_or(0), Returned::None)
            }
            other => {
                let failed = self.fails(fault);
                (failed.unwrap_or_else(|| self.carry_out_plain(other)), Returned::None)
            }
        }
    }

    fn carry_out_plain(&mut self, op: Op) -> i64 {
        let text = |name: &std::ffi::CString| name.to_str().expect("plain names").to_owned();
        match op {
            Op::OpenDir { .. } => 0,
            Op::Create { dir, .. }
            | Op::Open { dir, .. }
            | Op::Rename { dir, .. }
            | Op::Unlink { dir, .. }
            | Op::SyncDir { dir }
                if dir.0 != 0 =>
            {
                -i64::from(libc::EBADF)
            }
            Op::Create { name, .. } => match self.disk.create(&text(&name)) {
                Some(inode) => self.open_file(inode, true),
                None => -i64::from(libc::EEXIST),
            },
            Op::Open { name, write, .. } => match self.disk.find(&text(&name)) {
                Some(inode) => self.open_file(inode, write),
                None => -i64::from(libc::ENOENT),
            },
            Op::FileLen { file } => {
                i64::try_from(self.disk.len(self.inode(file))).expect("small files")
            }
            Op::Extents { .. } => 0,
            Op::Allocate { file, .. } if !self.may_write(file) => -i64::from(libc::EBADF),
            Op::Allocate { file, len } => {
                let inode = self.inode(file);
                self.disk.allocate(inode, usize::try_from(len).expect("small files"));
                0
            }
            Op::Rename { from, to, replace, .. } => self
                .disk
                .rename(&text(&from), &text(&to), replace)
                .map_or_else(|errno| -i64::from(errno), |()| 0),
            Op::Unlink { name, .. } => {
                if self.disk.unlink(&text(&name)) {
                    0
                } else {
                    -i64::from(libc::ENOENT)
                }
            }
            Op::SyncDir { .. } => {
                self.disk.sync_names();
                0
            }
            other => unreachable!("{other:?} is carried out elsewhere"),
        }
    }
}

/// The driver of one runtime in a [`World`].
pub struct SimDriver {
    world: World,
    member: usize,
    /// Whether the runtime is alone in the world and advances the clock.
    is_alone: bool,
    pool: Option<Pool>,
    devices: Devices,
    counts: DriverCounts,
}

impl SimDriver {
    /// Returns the next completion that is due.
    fn next_completion(&mut self) -> Option<Completion> {
        let mut state = self.world.0.borrow_mut();
        loop {
            let next = state.next_due(self.member)?;
            if state.flights[next].due > state.now {
                return None;
            }
            let was_transfer = state.flights[next].is_transfer;
            let ended = state.end(next, self.pool.as_ref());
            if was_transfer {
                self.devices.end(DEVICE);
                state.begin_queued(self.member, &mut self.devices);
            }
            if ended.is_some() {
                return ended;
            }
        }
    }

    /// Advances the clock to the next event, or to `until` if that is earlier.
    fn wait(&self, until: u64) {
        let mut state = self.world.0.borrow_mut();
        let due = state.next_due(self.member).map_or(u64::MAX, |next| state.flights[next].due);
        let next = due.min(until);
        assert!(next < u64::MAX, "deadlock: nothing in flight and nothing to wait for");
        state.now = state.now.max(next);
    }
}

impl Driver for SimDriver {
    fn submit(&mut self, token: Token, op: Op) {
        let mut state = self.world.0.borrow_mut();
        match transfer_of(&op) {
            Some(file) if state.is_open(file) => {
                if let Some((token, op)) = self.devices.begin(DEVICE, token, op) {
                    state.begin_as(true, self.member, token, op);
                }
            }
            _ => state.begin(self.member, token, op),
        }
        drop(state);
        self.world.call_hook();
    }

    fn cancel(&mut self, token: Token) {
        self.world.0.borrow_mut().cancel(self.member, token);
    }

    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>) {
        self.world.0.borrow_mut().woken.remove(&self.member);
        if self.is_alone {
            self.wait(until);
        }
        if let Some(completion) = self.next_completion() {
            self.counts.completions += 1;
            completed.push(completion);
            self.world.call_hook();
        }
    }

    fn counts(&self) -> DriverCounts {
        self.counts
    }

    fn limit_device(&mut self, limit: usize) {
        self.devices.set_limit(limit);
    }

    fn now(&self) -> u64 {
        self.world.now()
    }

    fn wall(&self) -> u64 {
        let state = self.world.0.borrow();
        state.now.saturating_add(state.wall_offset)
    }
}
