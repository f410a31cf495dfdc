//! Recovery: any bytes as a volume file open, or are refused; quickly, and the same way again. No needle
//! is given out whose checksum is wrong.
//!
//! Input: which image to begin with, how many changes, the changes (see [`Change`]), then bytes that some
//! of them use. A last byte of the choice puts all of the rest behind a sound superblock instead.

use std::collections::BTreeMap;
use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{FOOTER_LEN, HEADER_LEN, seed};
use hayloft::volume::{
    GetError, Location, OpenError, OpenReport, Refusal, Slot, open, open_read_only,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::common::{COOKIE, Process, bytes, draft, expected, read_large, superblock};
use crate::format::put_right;
use crate::images::{Base, FILE, bases, id};
use crate::input::Input;

const SECTOR: usize = 512;
/// The choice of no image, but of a whole log.
const IMAGES_BEFORE: usize = 6;
const CHANGES_MAX: usize = 8;
/// Operations that an opening takes at most, for each block of the file and besides.
const OPERATIONS_PER_BLOCK: u64 = 8;
const OPERATIONS_BESIDES: u64 = 64;
const SUPERBLOCK_SEED: u64 = 0x4841_594c_4f46_5400;

thread_local! {
    static POOL: Pool = Pool::new(&Region::map(1, 8 << 20).expect("8 MiB of memory"), 0);
}

/// Runs the target.
pub fn run(data: &[u8]) {
    POOL.with(|pool| {
        let mut input = Input(data);
        let bases = bases(pool);
        // The choice after the first images is none of them; so inputs kept from before there were more still
        // mean the same.
        let choice = match usize::from(input.u8()) % (bases.len() + 1) {
            IMAGES_BEFORE => None,
            choice => bases.get(choice - usize::from(choice > IMAGES_BEFORE)),
        };
        let base = choice.unwrap_or(&bases[0]);
        let mut file = base.bytes.clone();
        let honest = match choice {
            Some(base) => change(&mut file, base, input),
            None => {
                pour(&mut file, input);
                false
            }
        };
        check(&file, base, honest, pool);
    });
}

/// Everything behind the first superblock copies is the input's.
fn pour(file: &mut [u8], mut input: Input<'_>) {
    let start = [8192, 65_536][usize::from(input.u8()) % 2];
    let len = input.0.len().min(file.len() - 4096 - start);
    file[start..start + len].copy_from_slice(&input.0[..len]);
}

/// Changes the file as the input says: whether checksums still mean what they should.
fn change(file: &mut Vec<u8>, base: &Base, mut input: Input<'_>) -> bool {
    let count = usize::from(input.u8()) % (CHANGES_MAX + 1);
    let mut honest = true;
    for _ in 0..count {
        let change = Change::new(&mut input, base, file.len());
        honest &= change.apply(file, &mut input);
        if file.len() < SECTOR {
            return honest;
        }
    }
    honest
}

/// A change of the file.
struct Change {
    kind: u8,
    /// The sector it begins in.
    sector: usize,
    /// Where in that sector.
    within: usize,
}

impl Change {
    /// Two of three changes are made where a structure is, or right behind it.
    fn new(input: &mut Input<'_>, base: &Base, len: usize) -> Self {
        let (kind, near, place) = (input.u8() % 12, input.u8() % 3, input.below(65_536));
        let sector = match near {
            0 => place,
            near => base.structures[place % base.structures.len()] + usize::from(near) - 1,
        };
        Self { kind, sector: sector % (len / SECTOR), within: input.below(SECTOR) }
    }

    fn apply(&self, file: &mut Vec<u8>, input: &mut Input<'_>) -> bool {
        let start = self.sector * SECTOR;
        let at = start + self.within;
        let other = input.below(file.len() / SECTOR) * SECTOR;
        match self.kind {
            0 => file[at] ^= 1 << (input.u8() % 8),
            1 => file[at] = input.u8(),
            2 => file[start..start + SECTOR].fill(0),
            3 => file[start..start + SECTOR].copy_from_slice(&bytes(input.u64(), SECTOR)),
            // Misdirected, or stale.
            4 => file.copy_within(start..start + SECTOR, other),
            5 => {
                let block = start / 4096 * 4096..(start / 4096 * 4096 + 4096).min(file.len());
                let other = other.min(file.len() - block.len());
                file.copy_within(block, other);
            }
            6 => {
                let len = usize::from(input.u8());
                let bytes = input.take(len);
                let len = bytes.len().min(file.len() - at);
                file[at..at + len].copy_from_slice(&bytes[..len]);
            }
            7 => file.truncate(other),
            8 => file.resize(file.len() + other.min(65_536), 0),
            // Whoever writes these knows the format.
            9 => {
                let field = start + self.within % 128 / 4 * 4;
                file[field..field + 8].copy_from_slice(&input.bytes::<8>());
                return !seal(file, start);
            }
            10 => {
                let field = start + self.within % 128 / 4 * 4;
                file[field..field + 4].copy_from_slice(&input.bytes::<4>());
                return !seal(file, start);
            }
            _ => return !seal(file, start),
        }
        true
    }
}

/// Puts the checksum right of whatever begins in this sector, or ends there: whether there was something.
fn seal(file: &mut [u8], start: usize) -> bool {
    let incarnation = superblock(0).incarnation;
    let place = seed(incarnation, start as u64);
    let end = (start + SECTOR).min(file.len());
    let unit = &mut file[start..end];
    match unit {
        [b'H', b'A', b'Y', b'L', b'S', ..] => put_right(unit, SUPERBLOCK_SEED),
        [b'H', b'A', b'Y', b'L', ..] => put_right(unit, place),
        [b'H', b'N', b'D', b'L', ..] => put_right(&mut unit[..HEADER_LEN], place),
        _ => {
            let footer = &mut unit[SECTOR - FOOTER_LEN..];
            let units = u32::from_le_bytes([footer[16], footer[17], footer[18], footer[19]]);
            let begin = (end as u64).checked_sub(u64::from(units) * SECTOR as u64);
            let (true, Some(begin)) = (footer.starts_with(b"HEND"), begin) else { return false };
            put_right(footer, seed(incarnation, begin));
        }
    }
    true
}

/// What a volume says of itself after it was opened.
#[derive(Debug, PartialEq)]
struct Told {
    live: u64,
    /// Since when something is dead, and the highest key.
    properties: (Option<u64>, u64),
    damage: usize,
    /// Live needles in the order of the file, with the hash of what is read of each.
    needles: Vec<(Location, Result<(NeedleId, u64), Option<NeedleId>>)>,
    /// What a GET says of each id.
    got: Vec<Result<u64, GetError>>,
}

type Opened = Result<(Process, Rc<Slot>), OpenError>;

fn check(file: &[u8], base: &Base, honest: bool, pool: &Pool) {
    let files = BTreeMap::from([(FILE.to_owned(), file.into())]);
    let image = Image { files, ..Image::default() };
    let looked = start(&image, pool, true);
    let opened = start(&image, pool, false);
    let (mut process, volume) = match (looked, opened) {
        (Ok((mut looking, seen)), Ok((mut process, volume))) => {
            let told = tell(&mut looking, &seen, base);
            assert!(looking.image() == image, "looking at a volume changed it");
            assert_eq!(tell(&mut process, &volume, base), told, "looking and opening differ");
            assert_eq!(plain(seen.volume().open_report()), plain(volume.volume().open_report()));
            if honest {
                only_what_was_stored(&told, base);
            }
            again(&process.image(), &told, base, pool);
            (process, volume)
        }
        (Err(one), Err(other)) => return assert_eq!(one.to_string(), other.to_string()),
        (looked, opened) => panic!("{:?} and {:?}", looked.err(), opened.err()),
    };
    goes_on(&mut process, &volume, base, pool);
}

/// What was found, but for what opening itself puts right.
fn plain(findings: &OpenReport) -> (u64, u64, u64) {
    (findings.commits, findings.end.tail, findings.end.sequence)
}

fn start(image: &Image, pool: &Pool, look: bool) -> Opened {
    let mut process = Process::start(3, image, pool);
    let handle = process.runtime.handle().clone();
    let volume = process.run(async move {
        handle.submit(Op::OpenDir { path: "data".into() }).await;
        match look {
            true => open_read_only(&handle, DirId(0), &expected()).await,
            false => open(&handle, DirId(0), &expected()).await,
        }
    });
    let blocks = image.files[FILE].len() as u64 / 4096;
    let operations = process.world.operations();
    let most = OPERATIONS_BESIDES + OPERATIONS_PER_BLOCK * blocks;
    assert!(operations <= most, "{operations} operations for {blocks} blocks");
    Ok((process, Slot::new(volume?)))
}

/// A second start decides as the first one.
fn again(image: &Image, told: &Told, base: &Base, pool: &Pool) {
    let (mut process, volume) = start(image, pool, false).expect("it opened before");
    assert_eq!(&tell(&mut process, &volume, base), told, "the second recovery");
}

fn tell(process: &mut Process, volume: &Rc<Slot>, base: &Base) -> Told {
    let figures = volume.volume().figures();
    assert!(figures.used <= figures.size, "{figures:?}");
    let needles = walk(process, volume);
    // The record of a lost needle is indexed under each hash that may be its own.
    assert!(
        needles.len() as u64 <= figures.needles && needles.is_empty() == (figures.needles == 0)
    );
    let ids = (1..=4).map(id).filter(|id| *id == self::id(4) || base.stored.contains_key(id));
    let got = ids.map(|id| get(process, volume, id)).collect();
    let properties = (figures.oldest_dead_ns, figures.key_max);
    Told { live: figures.live, properties, damage: volume.volume().damage().len(), needles, got }
}

fn walk(
    process: &mut Process,
    volume: &Rc<Slot>,
) -> Vec<(Location, Result<(NeedleId, u64), Option<NeedleId>>)> {
    let pool = process.runtime.handle().pool().clone();
    let mut walk = volume.volume().walk().expect("there are buffers");
    process.run(async move {
        let mut found = Vec::new();
        while let Some(len) = walk.buffer_len() {
            let buf = pool.alloc(len).expect("there are buffers");
            found.push(match walk.next(buf).await {
                Ok(live) => {
                    let hash = xxh3_64(&live.needle.buf[live.needle.data.clone()]);
                    assert!(live.needle.is_large || hash == live.needle.etag, "wrong bytes");
                    (live.at, Ok((live.id, hash)))
                }
                Err(damaged) => (damaged.at, Err(damaged.id)),
            });
        }
        found
    })
}

/// The hash of what is read.
fn get(process: &mut Process, volume: &Rc<Slot>, id: NeedleId) -> Result<u64, GetError> {
    let volume = Rc::clone(volume);
    let pool = process.runtime.handle().pool().clone();
    process.run(async move {
        let needle = volume.get(id, COOKIE, |len| pool.alloc(len)).await?;
        if needle.is_large {
            let range = 0..needle.body_len.min(1 << 20);
            let body = read_large(&volume, &pool, id, needle, range, 1 << 20).await?;
            return Ok(xxh3_64(&body));
        }
        let hash = xxh3_64(&needle.buf[needle.data.clone()]);
        assert_eq!(hash, needle.etag, "wrong bytes");
        Ok(hash)
    })
}

/// As long as nobody forges checksums, nothing comes out that was not stored under that name.
fn only_what_was_stored(told: &Told, base: &Base) {
    for (at, needle) in &told.needles {
        if let Ok((id, _)) | Err(Some(id)) = needle {
            assert!(base.stored.contains_key(id), "{at:?}: {id} was never stored");
        }
    }
    let ids = (1..=4).map(id).filter(|id| *id == self::id(4) || base.stored.contains_key(id));
    for (id, got) in ids.zip(&told.got) {
        if let Ok(hash) = got {
            let stored = base.stored.get(&id).is_some_and(|all| all.contains(hash));
            assert!(stored, "{id} holds what was never stored there");
        }
    }
}

/// Writes go on, and what is acknowledged is there after the next start.
fn goes_on(process: &mut Process, volume: &Rc<Slot>, base: &Base, pool: &Pool) {
    let before = tell(process, volume, base);
    let (new, data) = (id(77), bytes(77, 200));
    let draft = draft(pool, &data);
    let writing = Rc::clone(volume);
    let put = process.run(async move { writing.put(new, COOKIE, draft, None).await });
    match put {
        Ok(_) => {}
        Err(Refusal::Full | Refusal::ReadOnly | Refusal::Conflict) => return,
        Err(other) => panic!("nothing fails here, yet: {other}"),
    }
    let closing = Rc::clone(volume);
    process.run(async move { closing.set_read_only(true).await }).expect("nothing fails here, yet");
    let image = process.image();
    let (mut process, volume) = start(&image, pool, false).expect("it opened before");
    assert_eq!(get(&mut process, &volume, new), Ok(xxh3_64(&data)), "acknowledged, and gone");
    let after = tell(&mut process, &volume, base);
    assert_eq!(after.got, before.got, "a write to another name changed them");
}
