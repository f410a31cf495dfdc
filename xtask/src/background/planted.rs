//! The needles in a volume file, as far as damage is planted in them. The offsets are those of
//! docs/FORMAT.md: the library that is measured does not help.

use std::fs;
use std::path::Path;

use crate::process::Failed;
use crate::record::cannot;

/// Offset of the log (bytes).
const LOG: usize = 65_536;
/// Alignment of needles (bytes).
const UNIT: usize = 512;
/// Kind of a part of a multipart object.
pub const PART: u8 = 3;

/// A needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needle {
    /// Offset in the file (bytes).
    pub offset: u64,
    /// Length (bytes).
    pub len: u64,
    /// Kind.
    pub kind: u8,
    /// Key of the photo.
    pub key: u64,
    /// Length of the data (bytes).
    pub data_len: u32,
}

/// Returns the needles of a volume file, dead or not.
///
/// # Errors
/// When it cannot be read.
pub fn needles(path: &Path) -> Result<Vec<Needle>, Failed> {
    let bytes = fs::read(path).map_err(cannot("read", path))?;
    Ok(needles_in(&bytes))
}

fn needles_in(bytes: &[u8]) -> Vec<Needle> {
    let (mut at, mut found) = (LOG, Vec::new());
    while at + UNIT <= bytes.len() {
        let header = &bytes[at..at + 128];
        if &header[..4] != b"HNDL" {
            at += UNIT;
            continue;
        }
        let u32_at =
            |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let key = u64::from_le_bytes(header[8..16].try_into().expect("8 bytes"));
        let len = u32_at(20) as usize * UNIT;
        let (offset, kind, data_len) = (at as u64, header[4], u32_at(48));
        found.push(Needle { offset, len: len as u64, kind, key, data_len });
        at += len.max(UNIT);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_are_found_by_their_headers() {
        let mut bytes = vec![0; LOG + 4096];
        let at = LOG + 1024;
        bytes[at..at + 5].copy_from_slice(b"HNDL\x03");
        bytes[at + 8] = 7;
        bytes[at + 20] = 3;
        bytes[at + 48..at + 50].copy_from_slice(&[0x10, 2]);
        let needle = Needle { offset: at as u64, len: 1536, kind: PART, key: 7, data_len: 528 };
        assert_eq!(needles_in(&bytes), [needle]);
    }
}
