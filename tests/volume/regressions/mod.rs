//! Regression tests by subject, and what they share.

mod damaged_needles;
mod extreme_values;
mod log_end;
mod seals;
mod states;

use std::collections::BTreeMap;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::GetError;
use hayloft::volume::format::FOOTER_LEN;

use crate::common::{Process, bytes, pool, tear};

const FILE: &str = "1.0.vol";
const SIZE: u64 = 128 * 1024;
const LOG: usize = 65_536;
const EIO: i32 = 5;

type Values = BTreeMap<NeedleId, Option<Vec<u8>>>;
type Got = Result<Vec<u8>, GetError>;

const fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 0)
}

fn small_pool() -> Pool {
    pool(8 << 20)
}

fn zero(image: &mut Image, from: usize, len: usize) {
    image.file(FILE).write(from, &vec![0; len]);
}

/// Image of a new volume with these needles, one commit each, after a clean stop.
fn clean_image(pool: &Pool, needles: &[(u64, Vec<u8>)]) -> Image {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(SIZE);
    let volume = process.open().unwrap();
    for (n, data) in needles {
        process.put(&volume, id(*n), data).unwrap();
    }
    process.close(&volume);
    process.image()
}

/// Recovers `image`. Returns the results of reading `ids`, the number of damaged places, and the image after
/// a kill right after recovery.
fn start(seed: u64, image: &Image, pool: &Pool, ids: &[NeedleId]) -> (Vec<Got>, usize, Image) {
    let mut process = Process::start(seed, image, pool);
    let volume = process.open().unwrap();
    let got = ids.iter().map(|id| process.get(&volume, *id)).collect();
    (got, volume.volume().damage().len(), process.image())
}

/// Offset of the seal.
fn seal(image: &Image) -> usize {
    let bytes = image.bytes(FILE);
    let mut places = (LOG..bytes.len()).step_by(4096);
    places.find(|&at| bytes[at..].starts_with(b"HAYLCMMT") && bytes[at + 36] == 1).expect("a seal")
}

/// A commit that replaces needle 1 and adds needle 2 was torn, and only needle 2 was complete and kept. The
/// tail was sealed, needle 3 stored, and the volume closed.
fn sealed_after_tear(pool: &Pool) -> (Image, Values) {
    let image = clean_image(pool, &[(1, bytes(1, 100))]);
    let puts = [(id(1), bytes(11, 600)), (id(2), bytes(2, 100))];
    let (blocker, kept) = (bytes(9, 10), [0, 1, 3, 4]);
    let first = Some((id(9), &blocker[..]));
    let image = tear(1000, (FILE, &image), pool, first, &puts, |sector| kept.contains(&sector));
    let mut process = Process::start(2, &image, pool);
    let volume = process.open().unwrap();
    process.put(&volume, id(3), &bytes(3, 50)).unwrap();
    process.close(&volume);
    let values = [(1, bytes(1, 100)), (2, bytes(2, 100)), (3, bytes(3, 50)), (9, blocker)];
    let values = values.into_iter().map(|(n, data)| (id(n), Some(data))).collect();
    (process.image(), values)
}

fn ids(values: &Values) -> Vec<NeedleId> {
    values.keys().copied().collect()
}

const _: () = assert!(FOOTER_LEN == 56, "the sectors of torn commits depend on it");
