//! A volume in the simulated world, with some needles.

use std::ops::Range;
use std::rc::Rc;

use hayloft::base::types::NeedleId;
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{NeedleHeader, decode_header};
use hayloft::volume::{Expected, Location, Slot};

use crate::common::{Process, bytes, expected, superblock};

pub const FILE: &str = "1.0.vol";

pub fn id(n: u64) -> NeedleId {
    NeedleId::new(n, 1)
}

fn as_volume() -> Expected {
    Expected { hash_bits: None, ..expected() }
}

pub fn created(size: u64, pool: &Pool) -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), pool);
    process.create(size);
    let volume = process.open_as(as_volume()).unwrap();
    (process, volume)
}

pub fn opened(image: &Image, pool: &Pool) -> (Process, Rc<Slot>) {
    let mut process = Process::start(2, image, pool);
    let volume = process.open_as(as_volume()).unwrap();
    (process, volume)
}

pub fn put_many(process: &mut Process, volume: &Rc<Slot>, ids: Range<u64>) {
    for n in ids {
        let len = 100 + usize::try_from(n * 37 % 4000).unwrap();
        process.put(volume, id(n), &bytes(n, len)).unwrap();
    }
}

/// All needles in the file, dead or not, in its order.
pub fn found(image: &Image) -> Vec<(NeedleHeader, Location)> {
    let bytes = image.bytes(FILE);
    let (mut at, mut found) = (65_536, Vec::new());
    while at + 512 <= bytes.len() {
        match decode_header(&bytes[at..], superblock(0).incarnation, at as u64) {
            Some((header, 0)) => {
                let len = header.layout().len;
                found.push((header, Location { offset: at as u64, len: len as u64 }));
                at += len;
            }
            _ => at += 512,
        }
    }
    found
}
