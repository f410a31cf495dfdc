//! Short scripts with their initial images: together they use every operation of the engine.

use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::Preallocation;

use super::{Held, IDS, data, set_read_only};
use crate::common::{ON_DEMAND, Process, tear};

pub const FILE: &str = "1.0.vol";
pub const CHECKPOINT: &str = "1.0.ckpt";
pub const SIZE: u64 = 128 * 1024;
/// Volume size for scripts with multipart objects (bytes).
pub const LARGE_SIZE: u64 = 416 * 1024;
/// Values from this one on are multipart objects of two parts.
pub const BODIES: u64 = 100;

/// A step of a script, with numbers of ids and values.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Create,
    /// A partial file.
    CreateInSteps,
    Open,
    Put(usize, u64),
    Delete(usize),
    Batch(&'static [(usize, u64)]),
    MultiDelete(&'static [usize]),
    /// Concurrently.
    Concurrent(&'static [Step]),
    ReadOnly(bool),
    /// When an idle volume writes its tail hint.
    ReadOnlyAtHint(bool),
    /// Waits until the tail hint is written.
    Idle,
    Get,
    Checkpoint,
    Close,
    Remove,
}

#[derive(Clone, Copy, Debug)]
pub enum Base {
    /// No file.
    Nothing,
    /// A new volume.
    New,
    NewLarge,
    /// A new partial file.
    Partial,
    /// The same; ids 0 and 1 hold 1 and 2, then a kill.
    PartialKilled,
    /// As [`Base::Torn`], in a partial file.
    PartialTorn,
    /// Ids 0 and 1 hold 1 and 2; closed cleanly.
    Filled,
    /// The same with a checkpoint.
    Saved,
    /// The same after a kill.
    Killed,
    /// The same, overwritten until only deletes fit.
    Full,
    /// Ids 0 and 1 hold multipart objects.
    Bodies,
    ReadOnly,
    /// One superblock copy is damaged.
    BadCopy,
    /// Both tail hints are damaged.
    BadHints,
    /// Id 3 holds 23, and a following commit of ids 0 and 2 was torn: only its record is left.
    TornToNothing,
    /// The same: id 2 is whole.
    Torn,
    /// The same without a record.
    TornRecord,
}

use Base::{
    BadCopy, BadHints, Bodies, Filled, Full, Killed, New, NewLarge, Nothing, Partial,
    PartialKilled, PartialTorn, Saved, Torn, TornRecord, TornToNothing,
};
use Step::{
    Batch, Checkpoint, Close, Concurrent, Create, CreateInSteps, Delete, Get, Idle, MultiDelete,
    Open, Put, ReadOnly, ReadOnlyAtHint, Remove,
};

/// All scenarios.
pub const SCENARIOS: &[(Base, &[Step])] = &[
    (Nothing, &[Create, Open, Put(0, 3), Get, Close]),
    (Nothing, &[Create]),
    (New, &[Open, Close]),
    (New, &[Open, Put(0, 3), Get]),
    (New, &[Open, Put(0, 3), Close]),
    (New, &[Open, Put(0, 3), Put(1, 4), Put(2, 5), Get, Close]),
    (New, &[Open, Put(0, 3), Idle, Put(1, 4), Idle, Close]),
    (New, &[Open, Put(0, 4), Put(0, 5), Get, Close]),
    (New, &[Open, Put(0, 5), Delete(0), Put(0, 6), Get]),
    (New, &[Open, Batch(&[(0, 3), (1, 4), (2, 5)]), Get, Close]),
    (New, &[Open, Put(0, 3), Close, Open, Put(1, 4), Close, Open, Get]),
    (New, &[Open, Concurrent(&[Put(0, 3), Put(1, 4), Put(2, 5)]), Get, Close]),
    (New, &[Open, Concurrent(&[Put(0, 3), Put(0, 4), Delete(0)]), Get]),
    (New, &[Open, Remove]),
    (Filled, &[Open, Get]),
    (Filled, &[Open, Close]),
    (Filled, &[Open, Delete(0), Get, Close]),
    (Filled, &[Open, Delete(0), Delete(1), Idle, Get, Close]),
    (Filled, &[Open, Put(0, 7), Get, Close, Open, Get]),
    (Filled, &[Open, Batch(&[(0, 8), (2, 9)]), Put(0, 10), Get]),
    (Filled, &[Open, Batch(&[(1, 8), (3, 9)]), Delete(1), Get, Close]),
    (Filled, &[Open, Concurrent(&[Delete(0), Put(1, 9), Put(2, 8)]), Get, Close]),
    (Filled, &[Open, Concurrent(&[Batch(&[(0, 8), (1, 9)]), Batch(&[(1, 6), (0, 5)])]), Get]),
    (Filled, &[Open, MultiDelete(&[0, 1]), Put(0, 10), Get, Close, Open, Get]),
    (Filled, &[Open, Put(2, 8), MultiDelete(&[2, 3, 0]), Get]),
    (Filled, &[Open, Concurrent(&[MultiDelete(&[1, 0]), Put(1, 9), MultiDelete(&[0, 1])]), Get]),
    (Filled, &[Open, Concurrent(&[Put(2, 3), ReadOnly(true), Put(3, 4)]), Get, Close]),
    (Filled, &[Open, ReadOnly(true), Put(0, 5), ReadOnly(false), Put(0, 6), Get, Close]),
    (Filled, &[Open, Put(2, 3), ReadOnly(true), Idle, Get, Close]),
    (Filled, &[Open, Put(2, 3), ReadOnlyAtHint(true), Get, Close]),
    (Filled, &[Open, Put(2, 3), ReadOnlyAtHint(true), ReadOnly(false), Put(3, 5), Get]),
    (Filled, &[Open, Put(2, 3), Remove, Get]),
    (New, &[Open, Put(0, 3), Checkpoint, Put(0, 4), Get, Close]),
    (Filled, &[Open, Concurrent(&[Checkpoint, Put(0, 3), Delete(1)]), Put(2, 4), Get]),
    (Saved, &[Open, Get, Put(0, 3), Delete(1), Checkpoint, Put(1, 4), Get, Close, Open, Get]),
    (Saved, &[Open, Concurrent(&[Put(0, 3), Checkpoint, Put(0, 4)]), ReadOnly(true), Get, Close]),
    (Saved, &[Open, Put(2, 3), Remove, Get]),
    (Killed, &[Open, Get, Close]),
    (Killed, &[Open, Put(0, 3), Delete(1), Get]),
    (Full, &[Open, Put(2, 3), Delete(0), Delete(1), Get, Close, Open, Get]),
    (Full, &[Open, Concurrent(&[Delete(1), Put(0, 5), Delete(0)]), Get]),
    (Full, &[Open, MultiDelete(&[1, 0]), Get, Close, Open, Get]),
    (Base::ReadOnly, &[Open, Put(0, 3), Get, ReadOnly(false), Put(0, 4), Get, Close]),
    (Base::ReadOnly, &[Open, ReadOnly(false), ReadOnly(true), Close, Open, Get]),
    (BadCopy, &[Open, Put(0, 3), Get, Close]),
    (BadCopy, &[Open, ReadOnly(true), Get]),
    (BadHints, &[Open, Put(0, 3), Get, Close]),
    (TornToNothing, &[Open, Get, Put(0, 3), Get, Close]),
    (Torn, &[Open, Get, Close]),
    (Torn, &[Open, Put(2, 3), Delete(0), Get, Close, Open, Get]),
    (TornRecord, &[Open, Get, Put(0, 3), Close]),
    (NewLarge, &[Open, Put(0, 101), Get, Close]),
    (NewLarge, &[Open, Put(0, 3), Concurrent(&[Put(0, 102), Put(1, 4)]), Get]),
    (Bodies, &[Open, Put(0, 103), Delete(1), Get, Close]),
    (Bodies, &[Open, Delete(0), Put(1, 4), Get, Close, Open, Get]),
    (Bodies, &[Open, MultiDelete(&[0, 1]), Get, Close, Open, Get]),
    (Nothing, &[CreateInSteps, Open, Put(0, 3), Get]),
    (Partial, &[Open, Close]),
    (Partial, &[Open, Put(0, 3), Put(1, 4), Put(2, 5), Delete(0), Put(1, 7), Put(2, 8), Idle, Get]),
    (
        Partial,
        &[Open, Idle, Put(0, 3), Put(1, 4), Put(2, 5), Put(0, 6), Put(1, 7), Close, Open, Get],
    ),
    (Partial, &[Open, Put(0, 3), Concurrent(&[Put(1, 4), Put(2, 5), Put(3, 6)]), ReadOnly(true)]),
    (PartialKilled, &[Open, Put(2, 3), Concurrent(&[Put(3, 4), ReadOnly(true)]), Idle, Get, Close]),
    (PartialKilled, &[Open, ReadOnly(true), ReadOnly(false), Put(0, 3), Put(1, 4), Idle, Get]),
    (PartialTorn, &[Open, Put(2, 3), Delete(0), Get, Close, Open, Get]),
];

impl Base {
    /// Whether a PUT may find no space.
    pub fn is_full(self) -> bool {
        matches!(self, Full)
    }

    fn preallocation(self) -> Preallocation {
        match self {
            Partial | PartialKilled | PartialTorn => Preallocation::InSteps,
            _ => Preallocation::Reserve,
        }
    }

    pub fn size(self) -> u64 {
        if matches!(self, NewLarge | Bodies) { LARGE_SIZE } else { SIZE }
    }

    /// The image, and what it holds.
    pub(crate) fn build(self, pool: &Pool) -> (Image, Held) {
        let mut held = Held::default();
        if matches!(self, Nothing) {
            return (Image::default(), held);
        }
        held.file = true;
        let mut process = Process::start(1, &Image::default(), pool);
        process.create_how(self.size(), self.preallocation()).unwrap();
        process.checkpoints = matches!(self, Saved).then_some(ON_DEMAND);
        if matches!(self, New | NewLarge | Partial) {
            return (process.image(), held);
        }
        let volume = process.open().unwrap();
        let bodies = if matches!(self, Bodies) { BODIES } else { 0 };
        for id in [0, 1] {
            let value = bodies + id as u64 + 1;
            if bodies > 0 {
                process.put_large(&volume, IDS[id], &data(value), &[1 << 16]).unwrap();
            } else {
                process.put(&volume, IDS[id], &data(value)).unwrap();
            }
            held.values[id] = Some(value);
        }
        if matches!(self, Full) {
            while process.put(&volume, IDS[0], &data(1)).is_ok() {}
        }
        if matches!(self, Base::ReadOnly) {
            set_read_only(&mut process, &volume, true).unwrap();
            held.read_only = true;
        }
        if !matches!(self, Killed | PartialKilled) {
            process.close(&volume);
        }
        let mut image = process.image();
        let bits: &[usize] = match self {
            BadCopy => &[4096 + 30],
            BadHints => &[8192 + 20, 12_288 + 20],
            _ => &[],
        };
        bits.iter().for_each(|byte| image.file(FILE).flip(*byte, 3));
        let left: &[usize] = match self {
            TornToNothing => &[0],
            Torn | PartialTorn => &[0, 1, 3, 4],
            TornRecord => &[1, 3, 4],
            _ => return (image, held),
        };
        let puts = [(0, 21), (2, 22)].map(|(id, value): (usize, u64)| (IDS[id], data(value)));
        let before = data(23);
        let first = Some((IDS[3], &before[..]));
        let torn = tear(1000, (FILE, &image), pool, first, &puts, |sector| left.contains(&sector));
        held.values[3] = Some(23);
        if !matches!(self, TornToNothing) {
            held.values[2] = Some(22);
        }
        (torn, held)
    }
}
