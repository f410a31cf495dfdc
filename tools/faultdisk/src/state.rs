//! Makes disk images of what a power cut could have left.
//!
//! A cut is a number of entries of the log: these were carried out. What was written before the last
//! flush among them is there. Of what was written behind it, any sectors are: which, a seed decides.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::device::Device;
use crate::error::{Error, file};
use crate::log::{Entry, Kind, Log};
use crate::overlay::Overlay;
use crate::random::split_mix;
use crate::xfs;

/// Smallest piece of a write that can be lost alone (bytes).
pub const SECTOR: usize = 512;

/// The fate of what was written behind the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unflushed {
    /// Nothing of it is there.
    Lost,
    /// All of it is.
    Kept,
    /// Some of it is: whole writes, the first sectors of each, or any sectors, few or many; the seed
    /// says which.
    Some(u64),
}

impl std::fmt::Display for Unflushed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost => f.write_str("lost"),
            Self::Kept => f.write_str("kept"),
            Self::Some(seed) => write!(f, "{seed}"),
        }
    }
}

impl std::str::FromStr for Unflushed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lost" => Ok(Self::Lost),
            "kept" => Ok(Self::Kept),
            seed => seed.parse().map(Self::Some).map_err(|_| {
                format!("{seed:?} is neither `lost` nor `kept` nor a seed (a number)")
            }),
        }
    }
}

/// Number of entries that are on the device for certain behind a cut after `cut` of them: those that the
/// last flush covers which had completed. With `deaf`, so many of the last flushes did nothing: a device
/// that lies.
#[must_use]
pub fn durable(entries: &[Entry], cut: usize, deaf: usize) -> usize {
    let flushes = entries[..cut].iter().filter(|entry| entry.kind == Kind::Flush);
    let mut covered: Vec<u64> = flushes.map(|flush| flush.begun).collect();
    covered.sort_unstable_by_key(|&covered| std::cmp::Reverse(covered));
    let covered = covered.get(deaf).copied().unwrap_or(0);
    usize::try_from(covered).expect("entries in memory")
}

/// Writes that a cut after `cut` entries may have left or not: those that no flush covers, and those
/// that were under way and completed later.
#[must_use]
pub fn pending(entries: &[Entry], durable: usize, cut: usize) -> Vec<usize> {
    let under_way = (cut..entries.len()).take(OVERTAKEN_MAX);
    let under_way = under_way.filter(|&n| entries[n].begun <= cut as u64);
    let pending = (durable..cut).chain(under_way);
    pending.filter(|&n| entries[n].kind == Kind::Write).collect()
}

/// A request is not overtaken by more others than this.
const OVERTAKEN_MAX: usize = 256;

/// Runs of sectors of a write of `len` bytes that survive.
struct Dice {
    state: u64,
    how: u64,
    /// Of 8 sectors or writes so many survive.
    kept: u64,
}

impl Dice {
    fn new(seed: u64) -> Self {
        let mut dice = Self { state: seed, how: 0, kept: 0 };
        (dice.how, dice.kept) = (dice.roll() % 3, [1, 4, 7][dice.roll() as usize % 3]);
        dice
    }

    fn roll(&mut self) -> u64 {
        split_mix(&mut self.state)
    }

    fn survives(&mut self) -> bool {
        self.roll() % 8 < self.kept
    }

    /// Which sectors of a write of so many are there.
    fn sectors(&mut self, count: usize) -> Vec<bool> {
        match self.how {
            0 => vec![self.survives(); count],
            1 => {
                let first = self.roll() as usize % (count + 1);
                (0..count).map(|n| n < first).collect()
            }
            _ => (0..count).map(|_| self.survives()).collect(),
        }
    }
}

/// An image that goes through a log from its beginning, and of which copies are made on the way.
#[derive(Debug)]
pub struct Replay<'a> {
    log: &'a Log,
    path: PathBuf,
    image: File,
    /// Entries that are in the image.
    done: usize,
}

impl<'a> Replay<'a> {
    /// Begins with `base`, what the device held before the log, in a copy of it at `path`.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn new(log: &'a Log, base: &Path, path: &Path) -> Result<Self, Error> {
        copy(base, path)?;
        let image = File::options().write(true).open(path).map_err(file("open", path))?;
        Ok(Self { log, path: path.to_owned(), image, done: 0 })
    }

    /// Goes on until the first `entries` are in the image.
    ///
    /// # Errors
    /// When the log cannot be read or the image not be written.
    ///
    /// # Panics
    /// When it is further already, or the log is shorter.
    pub fn advance(&mut self, entries: usize) -> Result<(), Error> {
        assert!(self.done <= entries, "{entries} entries lie behind, at {}", self.done);
        for n in self.done..entries {
            let (data, offset) = (self.log.data(n)?, self.log.entries()[n].offset);
            self.image.write_all_at(&data, offset).map_err(file("write", &self.path))?;
        }
        self.done = entries;
        Ok(())
    }

    /// What a cut after `cut` entries leaves of those behind where this stands: bytes, and where.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn survivors(
        &self,
        cut: usize,
        unflushed: Unflushed,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let mut dice = Dice::new(if let Unflushed::Some(seed) = unflushed { seed } else { 0 });
        let mut runs = Vec::new();
        for n in pending(self.log.entries(), self.done, cut) {
            let (data, offset) = (self.log.data(n)?, self.log.entries()[n].offset);
            let count = data.len() / SECTOR;
            let sectors = match unflushed {
                Unflushed::Lost => vec![false; count],
                Unflushed::Kept => vec![n < cut; count],
                Unflushed::Some(_) => dice.sectors(count),
            };
            let mut at = 0;
            for run in sectors.chunk_by(|a, b| a == b) {
                let end = at + run.len() * SECTOR;
                if run[0] {
                    runs.push((offset + at as u64, data[at..end].to_vec()));
                }
                at = end;
            }
        }
        Ok(runs)
    }

    /// The same as a device.
    ///
    /// # Errors
    /// When the log or the image cannot be read.
    pub fn overlay(&self, cut: usize, unflushed: Unflushed) -> Result<Overlay, Error> {
        let overlay = Overlay::new(&self.path)?;
        for (offset, data) in self.survivors(cut, unflushed)? {
            overlay.write(offset, &data).map_err(file("read", &self.path))?;
        }
        Ok(overlay)
    }

    /// The same as an image, at `out`.
    ///
    /// # Errors
    /// When the log cannot be read or the image not be written.
    pub fn image(&self, cut: usize, unflushed: Unflushed, out: &Path) -> Result<(), Error> {
        copy(&self.path, out)?;
        let image = File::options().write(true).open(out).map_err(file("open", out))?;
        for (offset, data) in self.survivors(cut, unflushed)? {
            image.write_all_at(&data, offset).map_err(file("write", out))?;
        }
        Ok(())
    }
}

/// A copy with the same holes.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = xfs::command("cp", "coreutils", |c| {
        c.args(["--sparse=auto", "--reflink=auto"]).arg(from).arg(to)
    });
    copied.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::written;

    /// Two writes, a flush that covers both, a write over the first, one beside it, a flush that came
    /// before that one was done, and one that completed late.
    fn recorded() -> (tempfile::TempDir, Log, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let entries = [
            (0, Some(vec![1; 4096]), 0),
            (4096, Some(vec![2; 4096]), 1),
            (0, None, 2),
            (0, Some(vec![3; 4096]), 3),
            (8192, Some(vec![4; 4096]), 4),
            (0, None, 4),
            (12_288, Some(vec![5; 4096]), 4),
        ];
        let log = Log::open(&written(dir.path(), &entries)).unwrap();
        let base = dir.path().join("base");
        File::create(&base).unwrap().set_len(16_384).unwrap();
        (dir, log, base)
    }

    fn made(unflushed: Unflushed, cut: usize, deaf: usize) -> Vec<u8> {
        let (dir, log, base) = recorded();
        let mut replay = Replay::new(&log, &base, &dir.path().join("rolling")).unwrap();
        replay.advance(durable(log.entries(), cut, deaf)).unwrap();
        let out = dir.path().join("out");
        replay.image(cut, unflushed, &out).unwrap();
        std::fs::read(out).unwrap()
    }

    fn blocks(image: &[u8]) -> Vec<u8> {
        image.chunks(4096).map(|block| block[0]).collect()
    }

    #[test]
    fn what_no_flush_covers_is_there_or_not() {
        assert_eq!(blocks(&made(Unflushed::Lost, 2, 0)), [0, 0, 0, 0]);
        assert_eq!(blocks(&made(Unflushed::Lost, 5, 0)), [1, 2, 0, 0]);
        assert_eq!(blocks(&made(Unflushed::Kept, 5, 0)), [3, 2, 4, 0]);
        assert_eq!(
            blocks(&made(Unflushed::Lost, 6, 0)),
            [3, 2, 0, 0],
            "it came before the write was done"
        );
        assert_eq!(blocks(&made(Unflushed::Lost, 6, 1)), [1, 2, 0, 0], "a flush that did nothing");
        assert_eq!(blocks(&made(Unflushed::Lost, 6, 2)), [0, 0, 0, 0]);
    }

    #[test]
    fn what_was_under_way_may_have_arrived() {
        let (_, log, _) = recorded();
        assert_eq!(pending(log.entries(), 2, 4), [3, 4, 6]);
        assert_eq!(pending(log.entries(), 2, 3), [3]);
        let arrived = (0..64).filter(|&seed| blocks(&made(Unflushed::Some(seed), 6, 0))[3] == 5);
        assert!((1..64).contains(&arrived.count()));
    }

    #[test]
    fn every_sector_has_its_own_fate_and_a_seed_decides() {
        let mut torn = 0;
        for seed in 0..64 {
            let image = made(Unflushed::Some(seed), 5, 0);
            assert_eq!(image, made(Unflushed::Some(seed), 5, 0));
            let sectors: Vec<u8> = image.chunks(SECTOR).map(|sector| sector[0]).collect();
            assert!(sectors[..8].iter().all(|&byte| byte == 1 || byte == 3));
            assert_eq!(sectors[8..16], [2; 8]);
            assert!(sectors[16..24].iter().all(|&byte| byte == 0 || byte == 4));
            torn += usize::from(sectors[..8].iter().any(|&byte| byte != sectors[0]));
        }
        assert!(torn > 16, "only {torn} of 64 states have a torn write");
    }

    #[test]
    fn fates_are_written_as_they_are_read() {
        for fate in [Unflushed::Lost, Unflushed::Kept, Unflushed::Some(7)] {
            assert_eq!(fate.to_string().parse(), Ok(fate));
        }
        assert!("some".parse::<Unflushed>().is_err());
    }
}
