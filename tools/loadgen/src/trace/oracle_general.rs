//! libCacheSim's oracleGeneral: packed little-endian records of 24 bytes (`traceReader/customizedReader`
//! of libCacheSim): u32 time in seconds, u64 object, u32 size in bytes, i64 number of the next request for
//! the same object (the first request has number 1), or -1.

use std::io::Read;

use super::{Access, Action};

/// Length of a record (bytes).
const RECORD_LEN: usize = 24;

/// The requests of a trace.
pub fn accesses(mut input: impl Read) -> impl Iterator<Item = Result<Access, String>> {
    let mut number = 0_u64;
    std::iter::from_fn(move || {
        let mut record = [0; RECORD_LEN];
        let mut filled = 0;
        while filled < RECORD_LEN {
            match input.read(&mut record[filled..]) {
                Ok(0) if filled == 0 => return None,
                Ok(0) => {
                    return Some(Err(format!(
                        "record {number} is cut off; the file is no oracleGeneral"
                    )));
                }
                Ok(len) => filled += len,
                Err(error) => return Some(Err(error.to_string())),
            }
        }
        number += 1;
        Some(Ok(decode(&record)))
    })
}

fn decode(record: &[u8; RECORD_LEN]) -> Access {
    let field = |start: usize| &record[start..];
    let u32_at =
        |start| u32::from_le_bytes(*field(start).first_chunk().expect("inside the record"));
    let id = u64::from_le_bytes(*field(4).first_chunk().expect("inside the record"));
    Access {
        time: u64::from(u32_at(0)) * 1_000_000_000,
        id,
        size: u64::from(u32_at(12)),
        action: Action::Read,
    }
}

/// A record: time in seconds, object, size in bytes, number of the object's next request.
#[must_use]
pub fn encode(seconds: u32, id: u64, size: u32, next: Option<u64>) -> [u8; RECORD_LEN] {
    let mut record = [0; RECORD_LEN];
    record[..4].copy_from_slice(&seconds.to_le_bytes());
    record[4..12].copy_from_slice(&id.to_le_bytes());
    record[12..16].copy_from_slice(&size.to_le_bytes());
    let next = next.map_or(-1, |next| i64::try_from(next).expect("fewer than 2^63 requests"));
    record[16..].copy_from_slice(&next.to_le_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_and_written() {
        let bytes = [encode(5_633_898, 42_932_745, 512, None), encode(5_633_899, 7, 4096, Some(3))]
            .concat();
        assert_eq!(bytes[..16], [0x6a, 0xf7, 0x55, 0, 9, 0x1a, 0x8f, 2, 0, 0, 0, 0, 0, 2, 0, 0]);
        assert_eq!((&bytes[16..24], &bytes[40..]), (&[255; 8][..], &[3, 0, 0, 0, 0, 0, 0, 0][..]));
        let read: Vec<Access> = accesses(&bytes[..]).map(Result::unwrap).collect();
        assert_eq!(read[0].time, 5_633_898_000_000_000);
        assert_eq!(
            (read[0].id, read[0].size, read[1].id, read[1].size),
            (42_932_745, 512, 7, 4096)
        );
        assert_eq!(read.len(), 2);
        let cut = accesses(&bytes[..30]).nth(1).unwrap().unwrap_err();
        assert!(cut.contains("record 1 is cut off"), "{cut}");
    }
}
