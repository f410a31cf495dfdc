//! What `tests/golden.rs` builds the image with, and what it compares it with.

use hayloft::op::{Completion, Driver, Op, Token};
use hayloft::sim::SimDriver;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const DOCUMENT: &str = include_str!("../../docs/FORMAT.md");
pub const INCARNATION: u64 = 0x1bad_b002_dead_beef;

/// The simulated disk with a wall clock that stands still, so that no byte of the image depends on
/// how many operations the engine happens to need.
pub struct StillClock {
    pub disk: SimDriver,
    pub wall: u64,
}

impl Driver for StillClock {
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
    /// The first table behind this heading: its rows with an offset and a width.
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

    /// No gap, no overlap, and this long.
    pub fn tiles(&self, len: usize) {
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
pub fn sound(structure: &[u8], seed: u64) -> bool {
    let (covered, sum) = structure.split_last_chunk::<8>().unwrap();
    xxh3_64_with_seed(covered, seed) == u64::from_le_bytes(*sum)
}

pub fn seed(offset: usize) -> u64 {
    INCARNATION ^ (offset as u64).rotate_left(32)
}

pub fn zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
