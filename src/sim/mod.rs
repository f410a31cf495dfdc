//! The simulated world: the second driver of the seam, for tests.
//!
//! Disks whose cache is lost in a power cut ([`disk`]), completions in an order and after delays
//! drawn from a seed, a clock that jumps from event to event, faults on chosen operations. The
//! same seed gives the same run. It knows no io_uring, no real time and no real files.

pub mod disk;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use nix::libc;

use crate::op::{Completion, Driver, FileId, Op, Returned, Token};
use crate::runtime::split_mix;
use disk::{Disk, Image, Wreck};

/// What goes wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this errno; a write leaves nothing behind.
    Errno(i32),
    /// A read or write transfers only so many bytes.
    Short(u32),
}

type Hook = Rc<dyn Fn(&Snapshot<'_>)>;

struct Flight {
    due: u64,
    order: u64,
    token: Token,
    op: Op,
}

struct State {
    disk: Disk,
    /// What each open file is, and whether it may be written to.
    open: BTreeMap<u32, (usize, bool)>,
    next_file: u32,
    flights: Vec<Flight>,
    seed: u64,
    now: u64,
    submitted: u64,
    /// Faults by the number of the disk operation they hit.
    faults: HashMap<u64, Fault>,
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

    fn with_disk(seed: u64, disk: Disk) -> Self {
        Self(Rc::new(RefCell::new(State {
            disk,
            open: BTreeMap::new(),
            next_file: 0,
            flights: Vec::new(),
            seed,
            now: 1_000_000_000,
            submitted: 0,
            faults: HashMap::new(),
            hook: None,
        })))
    }

    /// A driver for a runtime.
    #[must_use]
    pub fn driver(&self) -> SimDriver {
        SimDriver(self.clone())
    }

    /// Calls `hook` at every event: when a disk operation begins and when one has ended.
    pub fn on_event(&self, hook: impl Fn(&Snapshot<'_>) + 'static) {
        self.0.borrow_mut().hook = Some(Rc::new(hook));
    }

    /// Lets disk operation number `n` from now (0 is the next) go wrong.
    pub fn fail(&self, n: u64, fault: Fault) {
        let mut state = self.0.borrow_mut();
        let number = state.submitted + n;
        state.faults.insert(number, fault);
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

fn gather(bufs: &[crate::buffer::Buf], pieces: &[crate::op::Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let start = piece.start as usize;
        bytes.extend_from_slice(&bufs[usize::from(piece.buf)][start..start + piece.len as usize]);
    }
    bytes
}

impl State {
    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    fn begin(&mut self, token: Token, op: Op) {
        let delay = 20_000 + self.draw(100_000);
        let order = self.submitted;
        self.submitted += 1;
        self.flights.push(Flight { due: self.now + delay, order, token, op });
    }

    fn next_due(&self) -> Option<usize> {
        let flights = self.flights.iter().enumerate();
        flights.min_by_key(|(_, flight)| (flight.due, flight.order)).map(|(n, _)| n)
    }

    fn inode(&self, file: FileId) -> usize {
        self.open[&file.0].0
    }

    fn may_write(&self, file: FileId) -> bool {
        self.open[&file.0].1
    }

    fn open_file(&mut self, inode: usize, write: bool) -> i64 {
        let file = self.next_file;
        self.next_file += 1;
        self.open.insert(file, (inode, write));
        i64::from(file)
    }

    fn end(&mut self, flight: Flight) -> Completion {
        let fault = self.faults.remove(&flight.order);
        let (result, returned) = self.carry_out(flight.op, fault);
        Completion { token: flight.token, result, returned }
    }

    fn carry_out(&mut self, op: Op, fault: Option<Fault>) -> (i64, Returned) {
        let errno = match fault {
            Some(Fault::Errno(errno)) => Some(-i64::from(errno)),
            _ => None,
        };
        let limit = match fault {
            Some(Fault::Short(len)) => len as usize,
            _ => usize::MAX,
        };
        match op {
            Op::Read { file, mut buf, start, len, offset } => {
                let result = errno.unwrap_or_else(|| {
                    let bytes = self.disk.bytes(self.inode(file));
                    let at = usize::try_from(offset).expect("small files").min(bytes.len());
                    let len = (len as usize).min(bytes.len() - at).min(limit);
                    let start = start as usize;
                    buf[start..start + len].copy_from_slice(&bytes[at..at + len]);
                    i64::try_from(len).expect("small files")
                });
                (result, Returned::One(buf))
            }
            Op::Write { file, bufs, .. } if !self.may_write(file) => {
                (-i64::from(libc::EBADF), Returned::Many(bufs))
            }
            Op::Write { file, bufs, pieces, offset, durable } => {
                let result = errno.unwrap_or_else(|| {
                    let mut bytes = gather(&bufs, &pieces);
                    bytes.truncate(limit);
                    let inode = self.inode(file);
                    let at = usize::try_from(offset).expect("small files");
                    self.disk.write(inode, at, &bytes, durable);
                    i64::try_from(bytes.len()).expect("small files")
                });
                (result, Returned::Many(bufs))
            }
            other => (errno.unwrap_or_else(|| self.carry_out_plain(other)), Returned::None),
        }
    }

    fn carry_out_plain(&mut self, op: Op) -> i64 {
        let text = |name: &std::ffi::CString| name.to_str().expect("plain names").to_owned();
        match op {
            Op::OpenDir { .. } => 0,
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
            Op::Sync { file } => {
                let inode = self.inode(file);
                self.disk.sync(inode);
                0
            }
            Op::CloseFile { file } => {
                self.open.remove(&file.0);
                0
            }
            Op::Rename { from, to, .. } => self
                .disk
                .rename(&text(&from), &text(&to))
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
            Op::Accept { .. }
            | Op::RecvAny { .. }
            | Op::Recv { .. }
            | Op::Send { .. }
            | Op::ShutdownWrite { .. }
            | Op::Close { .. }
            | Op::Wake { .. } => -i64::from(libc::ENOSYS),
            Op::Read { .. } | Op::Write { .. } => unreachable!("carried out with their buffers"),
        }
    }
}

/// The driver of one runtime in a [`World`].
pub struct SimDriver(World);

impl Driver for SimDriver {
    fn submit(&mut self, token: Token, op: Op) {
        self.0.0.borrow_mut().begin(token, op);
        self.0.call_hook();
    }

    fn cancel(&mut self, _: Token) {
        // Disk operations are never cancelled, and there are no others here yet.
    }

    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>) {
        let completion = {
            let mut state = self.0.0.borrow_mut();
            let next = state.next_due().filter(|&n| state.flights[n].due <= until.max(state.now));
            let Some(next) = next else {
                assert!(until < u64::MAX, "nothing in flight and nothing to wait for: a deadlock");
                state.now = state.now.max(until);
                return;
            };
            let flight = state.flights.swap_remove(next);
            state.now = state.now.max(flight.due);
            state.end(flight)
        };
        completed.push(completion);
        self.0.call_hook();
    }

    fn now(&self) -> u64 {
        self.0.0.borrow().now
    }

    fn wall(&self) -> u64 {
        // Version numbers need a wall clock that looks like one.
        self.now() + 1_700_000_000_000_000_000
    }
}
