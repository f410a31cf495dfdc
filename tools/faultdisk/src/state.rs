//! Makes disk images of possible states after a power cut.
//!
//! A cut is given as the number of log entries that had completed. Writes covered by a flush among them are
//! in the image. Of the later writes, any subset of the sectors may be; a seed chooses it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::device::Device;
use crate::error::{Error, file};
use crate::log::{Entry, Kind, RequestLog};
use crate::overlay::Overlay;
use crate::random::split_mix;
use crate::xfs;

/// Smallest unit of a write that can be lost on its own (bytes).
pub const SECTOR: usize = 512;

/// State of the writes that no flush covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unflushed {
    /// None of them is in the image.
    Lost,
    /// All of them are.
    Kept,
    /// A part of them is: whole writes, a prefix of each, or any sectors. The seed chooses the mode, the
    /// share and the sectors.
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
                format!("{seed:?} is not valid; write `lost`, `kept` or a seed (a number)")
            }),
        }
    }
}

/// Number of entries that are certainly on the device after a cut behind `cut` entries: those covered by the
/// last completed flush. The last `ignored_flushes` flushes count as having had no effect, as on a device
/// that acknowledges flushes without doing them.
#[must_use]
pub fn durable(entries: &[Entry], cut: usize, ignored_flushes: usize) -> usize {
    let flushes = entries[..cut].iter().filter(|entry| entry.kind == Kind::Flush);
    let mut covered: Vec<u64> = flushes.map(|flush| flush.begun).collect();
    covered.sort_unstable_by_key(|&covered| std::cmp::Reverse(covered));
    let covered = covered.get(ignored_flushes).copied().unwrap_or(0);
    usize::try_from(covered).expect("the entries are in memory")
}

/// Entries of writes that a cut behind `cut` entries may or may not have left: those that no flush covers,
/// and those in flight that completed later.
#[must_use]
pub fn pending(entries: &[Entry], durable: usize, cut: usize) -> Vec<usize> {
    let under_way = (cut..entries.len()).take(OVERTAKEN_MAX);
    let under_way = under_way.filter(|&n| entries[n].begun <= cut as u64);
    let pending = (durable..cut).chain(under_way);
    pending.filter(|&n| entries[n].kind == Kind::Write).collect()
}

/// Maximum number of requests that can overtake a request.
const OVERTAKEN_MAX: usize = 256;

/// Generator of the sectors that survive of a write.
struct LossPattern {
    state: u64,
    /// 0: whole writes survive, 1: prefixes, 2: single sectors.
    mode: u64,
    /// Probability that a write or sector survives, in eighths.
    kept: u64,
}

impl LossPattern {
    fn new(seed: u64) -> Self {
        let mut pattern = Self { state: seed, mode: 0, kept: 0 };
        (pattern.mode, pattern.kept) = (pattern.draw() % 3, [1, 4, 7][pattern.draw() as usize % 3]);
        pattern
    }

    fn draw(&mut self) -> u64 {
        split_mix(&mut self.state)
    }

    fn survives(&mut self) -> bool {
        self.draw() % 8 < self.kept
    }

    /// For each of the `count` sectors of a write, whether it survives.
    fn sectors(&mut self, count: usize) -> Vec<bool> {
        match self.mode {
            0 => vec![self.survives(); count],
            1 => {
                let first = self.draw() as usize % (count + 1);
                (0..count).map(|n| n < first).collect()
            }
            _ => (0..count).map(|_| self.survives()).collect(),
        }
    }
}

/// Image that advances through a log, and from which images of crash states are made.
#[derive(Debug)]
pub struct Replay<'a> {
    log: &'a RequestLog,
    path: PathBuf,
    image: File,
    /// Number of entries applied to the image.
    done: usize,
}

impl<'a> Replay<'a> {
    /// Copies `base`, the image of the device before the log began, to `path`.
    ///
    /// # Errors
    /// When the image cannot be copied.
    pub fn new(log: &'a RequestLog, base: &Path, path: &Path) -> Result<Self, Error> {
        copy(base, path)?;
        let image = File::options().write(true).open(path).map_err(file("open", path))?;
        Ok(Self { log, path: path.to_owned(), image, done: 0 })
    }

    /// Applies entries until the first `entries` are in the image.
    ///
    /// # Errors
    /// When the log cannot be read or the image cannot be written.
    ///
    /// # Panics
    /// When more entries were applied already, or the log has fewer.
    pub fn advance(&mut self, entries: usize) -> Result<(), Error> {
        assert!(self.done <= entries, "cannot go back to entry {entries} from {}", self.done);
        for n in self.done..entries {
            let (data, offset) = (self.log.data(n)?, self.log.entries()[n].offset);
            self.image.write_all_at(&data, offset).map_err(file("write", &self.path))?;
        }
        self.done = entries;
        Ok(())
    }

    /// Byte runs (offset, data) that a cut behind `cut` entries leaves of the writes that are not in the
    /// image.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn survivors(
        &self,
        cut: usize,
        unflushed: Unflushed,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let mut pattern =
            LossPattern::new(if let Unflushed::Some(seed) = unflushed { seed } else { 0 });
        let mut runs = Vec::new();
        for n in pending(self.log.entries(), self.done, cut) {
            let (data, offset) = (self.log.data(n)?, self.log.entries()[n].offset);
            let count = data.len() / SECTOR;
            let sectors = match unflushed {
                Unflushed::Lost => vec![false; count],
                Unflushed::Kept => vec![n < cut; count],
                Unflushed::Some(_) => pattern.sectors(count),
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

    /// State after a cut behind `cut` entries, as a device in memory.
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

    /// State after a cut behind `cut` entries, as an image at `out`.
    ///
    /// # Errors
    /// When the log cannot be read or the image cannot be written.
    pub fn image(&self, cut: usize, unflushed: Unflushed, out: &Path) -> Result<(), Error> {
        copy(&self.path, out)?;
        let image = File::options().write(true).open(out).map_err(file("open", out))?;
        for (offset, data) in self.survivors(cut, unflushed)? {
            image.write_all_at(&data, offset).map_err(file("write", out))?;
        }
        Ok(())
    }
}

/// Copies a sparse file; holes stay holes.
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

    /// Log of: two writes, a flush that covers both, a write over the first, a write behind the
    /// second, a flush that arrived before that one had completed, and a write that completed late.
    fn recorded() -> (tempfile::TempDir, RequestLog, PathBuf) {
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
        let log = RequestLog::open(&written(dir.path(), &entries)).unwrap();
        let base = dir.path().join("base");
        File::create(&base).unwrap().set_len(16_384).unwrap();
        (dir, log, base)
    }

    fn image_after(unflushed: Unflushed, cut: usize, ignored_flushes: usize) -> Vec<u8> {
        let (dir, log, base) = recorded();
        let mut replay = Replay::new(&log, &base, &dir.path().join("rolling")).unwrap();
        replay.advance(durable(log.entries(), cut, ignored_flushes)).unwrap();
        let out = dir.path().join("out");
        replay.image(cut, unflushed, &out).unwrap();
        std::fs::read(out).unwrap()
    }

    fn blocks(image: &[u8]) -> Vec<u8> {
        image.chunks(4096).map(|block| block[0]).collect()
    }

    #[test]
    fn unflushed_writes_are_lost_or_kept_as_requested() {
        assert_eq!(blocks(&image_after(Unflushed::Lost, 2, 0)), [0, 0, 0, 0]);
        assert_eq!(blocks(&image_after(Unflushed::Lost, 5, 0)), [1, 2, 0, 0]);
        assert_eq!(blocks(&image_after(Unflushed::Kept, 5, 0)), [3, 2, 4, 0]);
        assert_eq!(
            blocks(&image_after(Unflushed::Lost, 6, 0)),
            [3, 2, 0, 0],
            "the flush arrived before the write had completed"
        );
        assert_eq!(blocks(&image_after(Unflushed::Lost, 6, 1)), [1, 2, 0, 0], "one ignored flush");
        assert_eq!(blocks(&image_after(Unflushed::Lost, 6, 2)), [0, 0, 0, 0]);
    }

    #[test]
    fn writes_in_flight_at_the_cut_may_survive() {
        let (_, log, _) = recorded();
        assert_eq!(pending(log.entries(), 2, 4), [3, 4, 6]);
        assert_eq!(pending(log.entries(), 2, 3), [3]);
        let arrived =
            (0..64).filter(|&seed| blocks(&image_after(Unflushed::Some(seed), 6, 0))[3] == 5);
        assert!((1..64).contains(&arrived.count()));
    }

    #[test]
    fn sectors_survive_independently_and_reproducibly() {
        let mut torn = 0;
        for seed in 0..64 {
            let image = image_after(Unflushed::Some(seed), 5, 0);
            assert_eq!(image, image_after(Unflushed::Some(seed), 5, 0));
            let sectors: Vec<u8> = image.chunks(SECTOR).map(|sector| sector[0]).collect();
            assert!(sectors[..8].iter().all(|&byte| byte == 1 || byte == 3));
            assert_eq!(sectors[8..16], [2; 8]);
            assert!(sectors[16..24].iter().all(|&byte| byte == 0 || byte == 4));
            torn += usize::from(sectors[..8].iter().any(|&byte| byte != sectors[0]));
        }
        assert!(torn > 16, "only {torn} of 64 states have a torn write");
    }

    #[test]
    fn unflushed_modes_parse_from_their_display_form() {
        for mode in [Unflushed::Lost, Unflushed::Kept, Unflushed::Some(7)] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("some".parse::<Unflushed>().is_err());
    }
}
