//! The simulated world: the second driver of the seam, for tests.
//!
//! Disks whose cache is lost in a power cut ([`disk`]), connections whose bytes arrive in any pieces
//! ([`net`]), completions in an order and after delays drawn from a seed, a clock that jumps from event
//! to event, faults on chosen operations ([`fault`]). Either one runtime is alone in it and moves the
//! clock itself ([`World::driver`]), or several take turns ([`World::member`], [`World::next`]). The
//! same seed gives the same run, and [`World::hash`] the same number. It knows no io_uring, no real time
//! and no real files. [`history`] judges what clients saw.

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

use crate::buffer::Pool;
use crate::devices::{Devices, Next, transfer_of};
use crate::limits::{HEAD_BUFFER, RECEIVE_HEADROOM};
use crate::op::{Completion, Driver, DriverCounts, FileId, Op, Returned, Sock, Token};
use crate::runtime::split_mix;
use disk::{Disk, Image, Wreck};
use fault::{Faults, Met};
use net::{Attempt, Net};

pub use fault::Fault;

type Hook = Rc<dyn Fn(&Snapshot<'_>)>;

/// The number of an operation that no fault can be meant for.
const NO_DISK: u64 = u64::MAX;
/// All files are on one device.
const DEVICE: usize = 0;
/// When an operation is due that waits for something to happen.
const PARKED: u64 = u64::MAX;

struct Flight {
    /// Whose it is.
    member: usize,
    due: u64,
    order: u64,
    /// Which operation of the disk it is.
    number: u64,
    token: Token,
    op: Op,
    /// Bytes received so far.
    done: usize,
    is_cancelled: bool,
    /// Whether it keeps the device busy.
    is_transfer: bool,
}

/// Whether an operation is one of connections, or between shards.
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
    /// What each open file is, and whether it may be written to.
    open: BTreeMap<u32, (usize, bool)>,
    next_file: u32,
    flights: Vec<Flight>,
    seed: u64,
    now: u64,
    /// The wall clock less `now` (nanoseconds).
    wall_offset: u64,
    begun: u64,
    submitted: u64,
    net: Net,
    /// Members that another one woke.
    woken: BTreeSet<usize>,
    hash: u64,
    faults: Faults,
    hook: Option<Hook>,
}

/// A look at the world between two events.
pub struct Snapshot<'a> {
    state: &'a State,
}

impl Snapshot<'_> {
    /// What a power cut at this moment could leave behind.
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

    /// What a kill of the process at this moment leaves behind.
    #[must_use]
    pub fn image(&self) -> Image {
        self.state.disk.image()
    }
}

/// The world; cloning gives another handle on the same one.
#[derive(Clone)]
pub struct World(Rc<RefCell<State>>);

impl World {
    /// A world whose disk holds `image`.
    #[must_use]
    pub fn new(seed: u64, image: &Image) -> Self {
        Self::with_disk(seed, Disk::from_image(image))
    }

    /// The world after a kill of the process that left `wreck`: nothing is lost yet, but a power
    /// cut may still lose it.
    #[must_use]
    pub fn after_kill(seed: u64, wreck: &Wreck) -> Self {
        Self::with_disk(seed, Disk::after_kill(wreck))
    }

    /// A world with this disk.
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

    /// Sets the wall clock (nanoseconds since 1970): a clock may be wrong, and is put right.
    pub fn set_wall(&self, wall: u64) {
        let mut state = self.0.borrow_mut();
        state.wall_offset = wall.saturating_sub(state.now);
    }

    /// A driver for a runtime that is alone in the world, and has no connections.
    #[must_use]
    pub fn driver(&self) -> SimDriver {
        let counts = DriverCounts::default();
        let devices = one_device();
        SimDriver { world: self.clone(), member: 0, is_alone: true, pool: None, devices, counts }
    }

    /// A driver for one of several runtimes, numbered from 0, that take turns as [`Self::next`] says.
    /// Those of shards come first, with the numbers of the shards. What arrives for nobody's buffer in
    /// particular is received into one of `pool`.
    #[must_use]
    pub fn member(&self, member: usize, pool: &Pool) -> SimDriver {
        let (pool, counts) = (Some(pool.clone()), DriverCounts::default());
        let devices = one_device();
        SimDriver { world: self.clone(), member, is_alone: false, pool, devices, counts }
    }

    /// Whose turn it is. `until` says for each member when it is due if nothing happens. When it is
    /// nobody's, the clock moves on; there is nobody when no member waits for anything.
    #[must_use]
    pub fn next(&self, until: &[u64]) -> Option<usize> {
        self.0.borrow_mut().next_member(until)
    }

    /// Connects to a listener; the bytes of either side arrive in pieces of at most `segment`. Gives
    /// the client's end.
    #[must_use]
    pub fn connect(&self, listener: Sock, segment: usize) -> Sock {
        let mut state = self.0.borrow_mut();
        let client = state.net.connect(listener.0, segment);
        state.poke(listener.0);
        Sock(client)
    }

    /// Breaks a connection.
    pub fn reset(&self, end: Sock) {
        let mut state = self.0.borrow_mut();
        let peer = state.net.peer(end.0);
        state.net.reset(end.0);
        for end in [Some(end.0), peer].into_iter().flatten() {
            state.poke(end);
        }
    }

    /// A number that depends on every event so far and on their order.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.0.borrow().hash
    }

    /// Moves the clock forward; never back.
    pub fn skip_to(&self, now: u64) {
        let mut state = self.0.borrow_mut();
        state.now = state.now.max(now);
    }

    /// Nanoseconds on the world's clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.borrow().now
    }

    /// From now on, whatever is done to files whose names begin so fails, as when their disk was pulled out.
    pub fn unplug(&self, prefix: &str) {
        self.0.borrow_mut().faults.unplug(prefix);
    }

    /// Faults that operations met so far, in order.
    #[must_use]
    pub fn met(&self) -> Vec<Met> {
        self.0.borrow().faults.met()
    }

    /// Names of the files that are open, each as often as it is; empty for one that has none any more.
    #[must_use]
    pub fn open_files(&self) -> Vec<String> {
        let state = self.0.borrow();
        state.open.values().map(|(inode, _)| state.disk.name_of(*inode)).collect()
    }

    /// Whether something is being written to a file.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        let state = self.0.borrow();
        state.flights.iter().any(|flight| matches!(flight.op, Op::Write { .. }))
    }

    /// Names of the files there are.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.borrow().disk.all_names()
    }

    /// Removes a file's name, as who starts the store does with what was left unfinished.
    pub fn remove(&self, name: &str) {
        self.0.borrow_mut().disk.unlink(name);
    }

    /// Makes names durable, as who starts the store does before it believes in them.
    pub fn sync_names(&self) {
        self.0.borrow_mut().disk.sync_names();
    }

    /// Ends of connections that listeners have and that are not closed.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.0.borrow().net.accepted()
    }

    /// Calls `hook` at every event: when a disk operation begins and when one has ended.
    pub fn on_event(&self, hook: impl Fn(&Snapshot<'_>) + 'static) {
        self.0.borrow_mut().hook = Some(Rc::new(hook));
    }

    /// Lets disk operation number `n` from now (0 is the next) go wrong.
    pub fn fail(&self, n: u64, fault: Fault) {
        let mut state = self.0.borrow_mut();
        let number = state.submitted + n;
        state.faults.add(number, fault, false);
    }

    /// Lets disk operation number `n` from now (0 is the next) go wrong, and all behind it.
    pub fn fail_from(&self, n: u64, fault: Fault) {
        let mut state = self.0.borrow_mut();
        let number = state.submitted + n;
        state.faults.add(number, fault, true);
    }

    /// Makes a sector of a file bad: it can be neither read nor written any more.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn spoil(&self, name: &str, sector: usize) {
        let mut state = self.0.borrow_mut();
        let inode = state.disk.find(name).expect("a file of that name");
        state.disk.spoil(inode, sector);
    }

    /// Turns a bit of a file over, behind everybody's back.
    ///
    /// # Panics
    /// When there is no such file or byte.
    pub fn rot(&self, name: &str, byte: usize, bit: u32) {
        let mut state = self.0.borrow_mut();
        let inode = state.disk.find(name).expect("a file of that name");
        state.disk.rot(inode, byte, bit);
        state.faults.count(fault::BIT_ROT);
    }

    /// How often faults of this name made a difference; see [`fault`].
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.0.borrow().faults.counted(name)
    }

    /// Disk operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.borrow().submitted
    }

    /// Looks at the world now.
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

/// The device that all files are on; it takes any number of transfers until it is told otherwise.
fn one_device() -> Devices {
    let mut devices = Devices::new(usize::MAX);
    devices.position(DEVICE as u64);
    devices
}

fn gather(bufs: &[crate::buffer::Buf], pieces: &[crate::op::Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let start = piece.start as usize;
        bytes.extend_from_slice(&bufs[usize::from(piece.buf)][start..start + piece.len as usize]);
    }
    bytes
}

/// Whether a read is one that a device can do without a copy.
fn is_aligned(start: u32, len: u32, offset: u64) -> bool {
    let unit = crate::limits::UNIT;
    [u64::from(start), u64::from(len), offset].iter().all(|number| number.is_multiple_of(unit))
}

impl State {
    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    fn begin(&mut self, member: usize, token: Token, op: Op) {
        self.begin_as(false, member, token, op);
    }

    /// The device of a member is free for the next transfer.
    fn hand_on(&mut self, member: usize, devices: &mut Devices) {
        while let Some(next) = devices.next(DEVICE, |file| self.is_open(file)) {
            match next {
                Next::Begins(token, op) => self.begin_as(true, member, token, op),
                // It ends without having been anywhere.
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

    /// Ends a wait early.
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

    /// Something happened to a connection or listener: who waits for it looks again.
    fn poke(&mut self, sock: i32) {
        for n in 0..self.flights.len() {
            if self.flights[n].due == PARKED && waits_for(&self.flights[n].op) == Some(sock) {
                // Now and then a packet is lost and sent again.
                let lost = self.draw(64) == 0;
                let delay = 5_000 + self.draw(50_000) + if lost { 200_000_000 } else { 0 };
                self.flights[n].due = self.now + delay;
            }
        }
    }

    /// Attempts an operation of connections: its end, or the flight back when it must wait.
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
                    self.poke(peer);
                }
                let Op::Send { buf, .. } = flight.op else { unreachable!("matched above") };
                ended(result, Returned::One(buf))
            }
            Op::PeerName { .. } => ended(0, Returned::Text("simulated".into())),
            Op::ShutdownWrite { sock } => {
                let sock = sock.0;
                self.net.shutdown(sock);
                self.poke_peer(sock);
                ended(0, Returned::None)
            }
            Op::Close { sock } => {
                let sock = sock.0;
                let peer = self.net.peer(sock);
                self.net.close(sock);
                if let Some(peer) = peer {
                    self.poke(peer);
                }
                ended(0, Returned::None)
            }
            Op::Wake { shard } => {
                self.woken.insert(usize::from(*shard));
                ended(0, Returned::None)
            }
            other => unreachable!("{other:?} is one of files"),
        }
    }

    fn receive(&mut self, sock: i32, room: &mut [u8], most: usize) -> Attempt {
        let attempt = self.net.receive(sock, room, most);
        if attempt.is_some() {
            self.poke_peer(sock);
        }
        attempt
    }

    fn poke_peer(&mut self, sock: i32) {
        if let Some(peer) = self.net.peer(sock) {
            self.poke(peer);
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

    /// The name of the file that an operation is about; empty without one.
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

    /// Ends the operation in flight number `n`, unless it has to wait.
    fn end(&mut self, n: usize, pool: Option<&Pool>) -> Option<Completion> {
        let flight = self.flights.swap_remove(n);
        let member = flight.member;
        let completion = if flight.number == NO_DISK {
            let pool = pool.expect("who has connections has buffers to receive into");
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
            // As direct I/O does.
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
                // Its number may be another file's by now. Whatever a close reports, the file is closed
                // (close(2)).
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
    /// Whether it moves the clock.
    is_alone: bool,
    pool: Option<Pool>,
    devices: Devices,
    counts: DriverCounts,
}

impl SimDriver {
    /// The next completion that is due by now.
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
                state.hand_on(self.member, &mut self.devices);
            }
            if ended.is_some() {
                return ended;
            }
        }
    }

    /// Moves the clock to the next event, or to `until`.
    fn wait(&self, until: u64) {
        let mut state = self.world.0.borrow_mut();
        let due = state.next_due(self.member).map_or(u64::MAX, |next| state.flights[next].due);
        let next = due.min(until);
        assert!(next < u64::MAX, "nothing in flight and nothing to wait for: a deadlock");
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
