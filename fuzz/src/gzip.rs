//! Packed bodies: what comes out is what another reader unpacks, in whatever pieces they arrive, and never
//! more than allowed.
//!
//! Input: whether to pack what follows first, most bytes that may come out, length of a piece, the bytes.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hayloft::http::fid::{NotUnpacked, Unpacker};

use crate::input::Input;

const BODY_MAX: usize = 4096;

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (packs, most, step) = (input.u8() % 3, u64::from(input.u16()), usize::from(input.u8()));
    let body = input.take(BODY_MAX);
    if packs == 0 {
        return compare(body, most, step);
    }
    // One member, or two.
    let members = body.chunks(body.len().div_ceil(usize::from(packs)).max(1));
    let packed: Vec<u8> = members.flat_map(pack).collect();
    compare(&packed, most, step);
    if !body.is_empty() {
        let fits = body.len() as u64 <= most;
        let wanted = if fits { Ok(body.to_vec()) } else { Err(NotUnpacked::TooLong) };
        assert_eq!(unpack(&packed, most, step), wanted);
    }
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn compare(packed: &[u8], most: u64, step: usize) {
    let whole = unpack(packed, most, usize::MAX);
    let pieces = unpack(packed, most, step);
    assert_eq!(whole.clone().ok(), pieces.ok());
    if let Ok(plain) = whole {
        let mut theirs = Vec::new();
        let read = MultiGzDecoder::new(packed).take(most + 1).read_to_end(&mut theirs);
        assert!(packed.is_empty() || read.is_ok(), "{read:?}");
        assert_eq!(plain, theirs);
    }
}

fn unpack(packed: &[u8], most: u64, step: usize) -> Result<Vec<u8>, NotUnpacked> {
    let (mut unpacker, mut out) = (Unpacker::new(most), Vec::new());
    for piece in packed.chunks(step.max(1)) {
        unpacker.unpack(piece, |bytes| out.extend_from_slice(bytes))?;
        assert!(out.len() as u64 <= most);
    }
    unpacker.finish(|bytes| out.extend_from_slice(bytes))?;
    assert!(out.len() as u64 <= most);
    Ok(out)
}
