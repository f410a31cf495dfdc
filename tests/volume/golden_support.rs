//! Helpers of the tests of golden images: build images, and compare them with the committed ones and with
//! `docs/FORMAT.md`.

use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::Runtime;
use hayloft::runtime::op::{Completion, DirId, Driver, Op, Token};
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::{SimDriver, World};
use hayloft::volume::{self, Draft, Expected, Preallocation, Slot, Superblock};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::common::{COOKIE, expected, pool};

const DOCUMENT: &str = include_str!("../../docs/FORMAT.md");
pub const INCARNATION: u64 = 0x1bad_b002_dead_beef;
pub const FILE: &str = "1.0.vol";
pub const SIZE: u64 = 256 * 1024;

pub const IMAGE: Option<&str> = Some("image/jpeg");
pub const TEXT: Option<&str> = Some("text/plain; charset=utf-8");

/// The processes that write the images.
pub const FIRST: Run = Run { wall: 1_700_000_001_000_000_000, epoch: 0x1111_2222_3333_4444 };
pub const SECOND: Run = Run { wall: 1_700_000_002_000_000_000, epoch: 0x5555_6666_7777_8888 };

/// Wall clock (nanoseconds) and epoch of a process.
#[derive(Clone, Copy)]
pub struct Run {
    pub wall: u64,
    pub epoch: u64,
}

/// A process that writes the image.
pub struct Writer {
    pub world: World,
    pub runtime: Runtime,
    pub driver: FixedClock,
    pub volume: Option<Rc<Slot>>,
}

impl Writer {
    pub fn start(run: Run, image: &Image) -> Self {
        let world = World::new(1, image);
        let driver = FixedClock { disk: world.driver(), wall: run.wall };
        let runtime = Runtime::new(&driver, pool(8 << 20), move || run.epoch);
        Self { world, runtime, driver, volume: None }
    }

    pub fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        self.runtime.block_on(&mut self.driver, future)
    }

    pub fn create(&mut self, superblock: Superblock) {
        let handle = self.runtime.handle().clone();
        let how = Preallocation::Reserve;
        let created = self
            .run(async move { volume::create(&handle, DirId(0), &superblock, how, |_| ()).await });
        created.unwrap();
    }

    pub fn open(&mut self) -> Rc<Slot> {
        let handle = self.runtime.handle().clone();
        let expected = Expected { hash_bits: None, ..expected() };
        let opened = self.run(async move { volume::open(&handle, DirId(0), &expected).await });
        let volume = Slot::new(opened.unwrap());
        self.volume = Some(Rc::clone(&volume));
        volume
    }

    /// A needle being stored, with its data.
    pub fn draft(&self, key: u64, alt: u32, content_type: Option<&str>, len: usize) -> Draft {
        let pool = self.runtime.handle().pool();
        let draft = Draft::new(pool, content_type.map(str::as_bytes), len as u64);
        let mut draft = draft.unwrap();
        draft.data_mut().copy_from_slice(&content(key, alt, len));
        draft
    }

    pub fn put(
        &self,
        key: u64,
        alt: u32,
        content_type: Option<&str>,
        len: usize,
    ) -> impl Future<Output = ()> + 'static {
        let draft = self.draft(key, alt, content_type, len);
        let volume = Rc::clone(self.volume.as_ref().unwrap());
        async move {
            let put = volume.put(NeedleId::new(key, alt), COOKIE, draft, None);
            put.await.unwrap();
        }
    }
}

/// The data of a needle, independent of the store's own code.
pub fn content(key: u64, alt: u32, len: usize) -> Vec<u8> {
    let start = key * 50 + u64::from(alt);
    (start..start + len as u64).map(|n| (n % 251).to_le_bytes()[0]).collect()
}

fn blessing() -> bool {
    std::env::var_os("HAYLOFT_BLESS").is_some_and(|value| value == "1")
}

/// The committed image.
pub fn golden(path: &str, build: fn() -> Vec<u8>) -> Vec<u8> {
    if blessing() { build() } else { std::fs::read(path).unwrap() }
}

/// Asserts that `built` is the committed image; with `HAYLOFT_BLESS=1` rewrites that first.
pub fn assert_same_bytes(path: &str, built: &[u8]) {
    if blessing() {
        std::fs::write(path, built).unwrap();
    }
    let golden = std::fs::read(path).unwrap();
    assert_eq!(built.len(), golden.len());
    if let Some(at) = (0..built.len()).find(|&at| built[at] != golden[at]) {
        panic!(
            "byte {at} of the image is {:#04x} and was {:#04x}: the format changed. A format \
             change needs a new version, a new golden image and an upgrade note \
             (docs/FORMAT.md, \"Versions and feature flags\").",
            built[at], golden[at]
        );
    }
}

/// The simulated disk with a fixed wall clock, so that no byte of the image depends on the number of
/// operations.
pub struct FixedClock {
    pub disk: SimDriver,
    pub wall: u64,
}

impl Driver for FixedClock {
    fn submit(&mut self, token: Token, op: Op) {
        self.disk.submit(token, op);
    }

    fn cancel(&mut self, token: Token) {
        self.disk.cancel(token);
    }

    fn reap(&mut self, until: u64, completed: &mut Vec<Completion>) {
        self.disk.reap(until, completed);
    }

    fn now(&self) -> u64 {
        self.disk.now()
    }

    fn wall(&self) -> u64 {
        self.wall
    }
}

/// A byte table of `docs/FORMAT.md`.
pub struct Table(pub Vec<(usize, usize, &'static str)>);

impl Table {
    /// The first table after this heading: its rows with an offset and a width.
    pub fn of(heading: &str) -> Self {
        let is_heading = |line: &&str| line.starts_with('#');
        let title = |line: &str| line.trim_start_matches('#').trim() == heading;
        let mut lines = DOCUMENT.lines().skip_while(|line| !is_heading(line) || !title(line));
        assert!(lines.next().is_some(), "no heading {heading:?}");
        let rows = lines
            .take_while(|line| !is_heading(line))
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .filter_map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                Some((cells[1].parse().ok()?, cells[2].parse().ok()?, cells[3]))
            });
        Self(rows.collect())
    }

    /// Asserts that the fields have no gap and no overlap, and end at `len`.
    pub fn assert_contiguous(&self, len: usize) {
        let mut end = 0;
        for (offset, width, name) in &self.0 {
            assert_eq!(*offset, end, "{name}");
            end += width;
        }
        assert_eq!(end, len);
    }

    pub fn bytes<'a>(&self, structure: &'a [u8], name: &str) -> &'a [u8] {
        let (offset, width, _) = *self
            .0
            .iter()
            .find(|(.., field)| *field == name)
            .unwrap_or_else(|| panic!("no field {name:?}"));
        &structure[offset..offset + width]
    }

    pub fn number(&self, structure: &[u8], name: &str) -> u64 {
        let mut bytes = [0; 8];
        let field = self.bytes(structure, name);
        bytes[..field.len()].copy_from_slice(field);
        u64::from_le_bytes(bytes)
    }

    pub fn check(&self, structure: &[u8], fields: &[(&str, u64)]) {
        for (name, value) in fields {
            assert_eq!(self.number(structure, name), *value, "{name}");
        }
    }
}

/// Whether the last eight bytes are the checksum of those before.
pub fn checksum_is_valid(structure: &[u8], seed: u64) -> bool {
    let (covered, sum) = structure.split_last_chunk::<8>().unwrap();
    xxh3_64_with_seed(covered, seed) == u64::from_le_bytes(*sum)
}

pub fn seed(offset: usize) -> u64 {
    INCARNATION ^ (offset as u64).rotate_left(32)
}

pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
