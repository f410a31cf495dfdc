//! The simulated world, as tests use it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use super::disk::{Disk, Image, Wreck};
use super::driver::SimDriver;
use super::fault::{BIT_ROT, Fault, Met};
use super::flight::may_wait;
use super::state::{Snapshot, State};
use crate::runtime::buffer::Pool;
use crate::runtime::op::{Op, Sock};

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
        Self(Rc::new(RefCell::new(State::new(seed, disk))))
    }

    /// Sets the wall clock (nanoseconds since 1970), to simulate a wrong clock or its correction.
    pub fn set_wall(&self, wall: u64) {
        let mut state = self.0.borrow_mut();
        state.wall_offset = wall.saturating_sub(state.now);
    }

    /// Creates a driver for a runtime that is alone in the world and has no connections.
    #[must_use]
    pub fn driver(&self) -> SimDriver {
        SimDriver::new(&self.0, 0, None)
    }

    /// Creates a driver for one of several runtimes, numbered from 0, which run in the order that
    /// [`Self::next`] gives. Shards come first, with their shard numbers. [`Op::RecvAny`] receives into
    /// buffers of `pool`.
    #[must_use]
    pub fn member(&self, member: usize, pool: &Pool) -> SimDriver {
        SimDriver::new(&self.0, member, Some(pool.clone()))
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

    /// Gives a listener an address, at which [`Op::Connect`] finds it until it is closed. It takes the place
    /// of a listener that had the address. Connections to other addresses are refused.
    pub fn listen_at(&self, address: SocketAddr, listener: Sock) {
        self.0.borrow_mut().net.listen_at(address, listener.0);
    }

    /// Sets whether an address is reachable, as every address is at first. While it is not, [`Op::Connect`]
    /// to it waits, and the connections to the listener that has the address stall: no bytes are moved in
    /// either direction, and neither end learns that the other one was closed. [`Self::reset`] reaches both
    /// ends.
    pub fn set_reachable(&self, address: SocketAddr, is_reachable: bool) {
        let mut state = self.0.borrow_mut();
        state.net.set_reachable(address, is_reachable);
        if is_reachable {
            state.retry(|op| may_wait(op) && !matches!(op, Op::Accept { .. }));
        }
    }

    /// Resets a connection, at both ends.
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

    /// Names the data directories, as if they had been opened before in this order.
    pub fn name_directories(&self, paths: &[&str]) {
        self.0.borrow_mut().dirs = paths.iter().map(PathBuf::from).collect();
    }

    /// Writes in flight: the name of the file, and the offset (bytes).
    #[must_use]
    pub fn writes(&self) -> Vec<(String, u64)> {
        self.look(|snapshot| snapshot.writes())
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

    /// Limits the disk to this number of blocks of 4096 bytes. Without a limit there is always space.
    pub fn set_capacity(&self, blocks: usize) {
        self.0.borrow_mut().disk.set_capacity(blocks);
    }

    /// Number of free blocks of the disk (4096 bytes each).
    #[must_use]
    pub fn free_blocks(&self) -> usize {
        self.0.borrow().free_blocks()
    }

    /// Lets another program take up to `blocks` of the free blocks of the disk. Returns how many it got.
    pub fn occupy(&self, blocks: usize) -> usize {
        let mut state = self.0.borrow_mut();
        let got = blocks.min(state.free_blocks());
        state.disk.occupy(got);
        got
    }

    /// Lets another program free up to `blocks` of the blocks that it took.
    pub fn vacate(&self, blocks: usize) {
        self.0.borrow_mut().disk.vacate(blocks);
    }

    /// Accepted ends of the connections that are not closed.
    #[must_use]
    pub fn accepted_ends(&self) -> Vec<Sock> {
        self.0.borrow().net.accepted_ends().map(Sock).collect()
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

    /// Makes a sector of a file unreadable: reads of it fail until it is written.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn wear_out(&self, name: &str, sector: usize) {
        let mut state = self.0.borrow_mut();
        let inode = state.disk.find(name).expect("a file of that name");
        state.disk.wear_out(inode, sector);
    }

    /// Makes an unreadable sector of a file readable again, with its content.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn make_readable(&self, name: &str, sector: usize) {
        let mut state = self.0.borrow_mut();
        let inode = state.disk.find(name).expect("a file of that name");
        state.disk.make_readable(inode, sector);
    }

    /// Sectors that are unreadable now: the name of the file, and the number of the sector.
    #[must_use]
    pub fn unreadable(&self) -> BTreeSet<(String, usize)> {
        self.0.borrow().disk.unreadable_sectors()
    }

    /// Flips a bit of a file without an operation.
    ///
    /// # Panics
    /// When there is no such file or byte.
    pub fn rot(&self, name: &str, byte: usize, bit: u32) {
        let mut state = self.0.borrow_mut();
        let inode = state.disk.find(name).expect("a file of that name");
        state.disk.rot(inode, byte, bit);
        state.faults.count(BIT_ROT);
    }

    /// Number of times that faults of this name had an effect; see [`super::fault`].
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
        look(&Snapshot::of(&self.0.borrow()))
    }
}
