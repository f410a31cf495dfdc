//! Large bodies by subject, and what the tests share.

mod bodies;
mod faults;
mod reservations;
mod uploads;

use std::ops::Range;
use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::split_mix;
use hayloft::volume::format::{NeedleHeader, decode_header};
use hayloft::volume::{Figures, GetError, Refusal, Slot};

use crate::common::{COOKIE, Process, pool, superblock};

const FILE: &str = "1.0.vol";
const EIO: i32 = 5;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const CHUNK: u64 = 64 * KIB;
/// Part lengths (bytes), most of which are not multiples of a chunk or block.
const UNALIGNED: [u64; 4] = [70_000, MIB, CHUNK, 200_001];

const A: NeedleId = NeedleId::new(1, 0);
const B: NeedleId = NeedleId::new(2, 0);

fn started_with(pool: &Pool, size: u64) -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(size);
    let volume = process.open().unwrap();
    (process, volume)
}

fn started() -> (Process, Rc<Slot>) {
    started_with(&pool(16 << 20), 16 << 20)
}

fn restarted(image: &Image) -> (Process, Rc<Slot>) {
    let mut process = Process::start(2, image, &pool(16 << 20));
    let volume = process.open().unwrap();
    (process, volume)
}

/// Space accounting: used, live and dead bytes, and the number of needles.
fn accounting(volume: &Slot) -> (u64, u64, u64, u64) {
    let Figures { used, live, dead, needles, .. } = volume.volume().figures();
    (used, live, dead, needles)
}

/// Longest body that would be admitted in the current state (bytes).
fn capacity(volume: &Rc<Slot>) -> u64 {
    let (mut fits, mut too_long) = (0, 1_u64 << 30);
    while too_long - fits > 1 {
        let len = u64::midpoint(fits, too_long);
        match volume.upload(A, COOKIE, len) {
            Ok(_) => fits = len,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Full);
                too_long = len;
            }
        }
    }
    fits
}

/// Parts of a body and their chunks, as ranges of the body. `lens`: lengths of the parts, repeated.
fn pieces(len: u64, lens: &[u64]) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
    let (mut parts, mut chunks) = (Vec::new(), Vec::new());
    let mut lens = lens.iter().cycle();
    let mut at = 0;
    while at < len {
        let part = at..len.min(at + lens.next().unwrap());
        at = part.end;
        chunks.extend(
            part.clone().step_by(CHUNK as usize).map(|start| start..part.end.min(start + CHUNK)),
        );
        parts.push(part);
    }
    (parts, chunks)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn random_range(seed: &mut u64, len: u64) -> Range<u64> {
    let start = split_mix(seed) % len;
    // Short ranges are as frequent as long ones.
    let most = (len - start).min([1, 100, CHUNK, len][(split_mix(seed) % 4) as usize]);
    start..start + 1 + split_mix(seed) % most
}

/// Needles of a volume file, with their offsets.
fn needles(image: &Image) -> Vec<(usize, NeedleHeader)> {
    let bytes = image.bytes(FILE);
    let units = (65_536..bytes.len() - 4096).step_by(512);
    let incarnation = superblock(0).incarnation;
    let header = |at: usize| decode_header(&bytes[at..], incarnation, at as u64);
    units.filter_map(|at| header(at).filter(|(_, back)| *back == 0).map(|(h, _)| (at, h))).collect()
}

fn flipped(image: &Image, byte: usize) -> Image {
    let mut image = image.clone();
    image.file(FILE).flip(byte, byte as u32 % 8);
    image
}

fn head(process: &mut Process, volume: &Rc<Slot>, id: NeedleId) -> Result<(u64, u64), GetError> {
    let (volume, pool) = (Rc::clone(volume), process.runtime.handle().pool().clone());
    process.run(async move {
        let needle = volume.head(id, COOKIE, |len| pool.alloc(len)).await?;
        assert!(needle.is_large && needle.data.is_empty());
        assert_eq!(needle.content_type(), Some(&b"image/jpeg"[..]));
        Ok((needle.body_len, needle.etag))
    })
}
