//! libCacheSim's oracleGeneral (`traceReader/customizedReader` of libCacheSim): packed little-endian records
//! of 24 bytes: u32 time in seconds, u64 object, u32 size in bytes, i64 number of the next request for the
//! same object (the first request has number 1) or -1.

use std::io::Read;

use super::access::{Access, Action};

/// Length of a record (bytes).
const RECORD_LEN: usize = 24;
/// Tolerated disorder (seconds): traces are ordered by time, but merged ones only roughly.
const DISORDER_MAX: u32 = 86_400;
/// Upper bound of request numbers, above any real trace and far below text read as a number. Some tools write
/// the largest i64 for "no next request".
const REQUESTS_MAX: i64 = 1 << 48;

/// Requests of a trace.
pub fn accesses(mut input: impl Read) -> impl Iterator<Item = Result<Access, String>> {
    let (mut number, mut latest) = (0, 0);
    std::iter::from_fn(move || {
        let mut record = [0; RECORD_LEN];
        let mut filled = 0;
        while filled < RECORD_LEN {
            match input.read(&mut record[filled..]) {
                Ok(0) if filled == 0 => return None,
                Ok(0) => {
                    return Some(Err(format!(
                        "record {} is incomplete; the file is truncated or not oracleGeneral",
                        number + 1
                    )));
                }
                Ok(len) => filled += len,
                Err(error) => return Some(Err(error.to_string())),
            }
        }
        number += 1;
        Some(decode(&record, number, &mut latest))
    })
}

/// Decodes record `number` (from 1); `latest` is the latest time so far. The format has no magic number, so
/// implausible records are rejected.
fn decode(record: &[u8; RECORD_LEN], number: i64, latest: &mut u32) -> Result<Access, String> {
    let field = |start: usize| &record[start..];
    let u32_at =
        |start| u32::from_le_bytes(*field(start).first_chunk().expect("inside the record"));
    let id = u64::from_le_bytes(*field(4).first_chunk().expect("inside the record"));
    let next = i64::from_le_bytes(*field(16).first_chunk().expect("inside the record"));
    let advice = "the file is damaged or not oracleGeneral; check --format";
    // The next request is not before this one, whether the tool counts from 0 or from 1.
    if next != -1 && next != i64::MAX && !(number..REQUESTS_MAX).contains(&next) {
        return Err(format!("record {number} names request {next} as its object's next; {advice}"));
    }
    let seconds = u32_at(0);
    if seconds.saturating_add(DISORDER_MAX) < *latest {
        return Err(format!(
            "record {number} is more than a day older than an earlier one; {advice}"
        ));
    }
    *latest = seconds.max(*latest);
    Ok(Access {
        time: u64::from(seconds) * 1_000_000_000,
        id,
        size: u64::from(u32_at(12)),
        action: Action::Read,
    })
}

/// Encodes a record: time (seconds), object, size (bytes), number of the object's next request.
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
        assert!(cut.contains("record 2 is incomplete"), "{cut}");
    }

    #[test]
    fn implausible_records_are_rejected() {
        let at = |seconds, next| encode(seconds, 7, 100, next);
        let csv = b"time,op,size,id\n1700000000,get,8192,a\n1700000001,get,8192,b\n";
        let late = u64::try_from(i64::MAX).unwrap();
        for (bytes, words) in [
            (&csv[..], "record 1"),
            (&[at(1, Some(2)), at(2, Some(1))].concat(), "record 2"),
            (&[at(1, None), [0xfe; RECORD_LEN]].concat(), "record 2"),
            (&[at(200_000, None), at(100_000, None)].concat(), "record 2"),
        ] {
            let read: Vec<_> = accesses(bytes).collect();
            let error = read.into_iter().find_map(Result::err).expect(words);
            assert!(error.contains(words) && error.contains("not oracleGeneral"), "{error}");
        }
        // Merged traces are slightly out of order, and some tools write i64::MAX for "no next request".
        let fine = [at(200_000, Some(2)), at(199_000, Some(late)), at(199_000, None)].concat();
        assert!(accesses(&fine[..]).all(|access| access.is_ok()));
    }
}
