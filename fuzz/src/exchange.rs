//! The exchange format: decoding never panics, what was accepted is the same when it is encoded again, and a
//! body never has more bytes than its head says.
//!
//! Input: whether magics, numbers and checksums are put right first, then a start and records.

use hayloft::volume::format::{
    EXCHANGE_START_LEN, ExchangeKind, ExchangeSequence, ExchangeStart, RECORD_HEAD_LEN, RecordHead,
    data_checksum, seed,
};

use crate::format::put_right;
use crate::input::Input;

/// Seed of the checksum of a start, as docs/FORMAT.md has it.
const START_SEED: u64 = 0x4841_594c_5843_4847;
/// Largest number of records of an input.
const RECORDS_MAX: u64 = 64;

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let fix = input.u8() & 1 == 1;
    let mut bytes: [u8; EXCHANGE_START_LEN] = input.bytes();
    if fix {
        bytes[..12].copy_from_slice(b"HAYLXCHG\x01\0\0\0");
        put_right(&mut bytes, START_SEED);
    }
    let Ok(start) = ExchangeStart::decode(&bytes) else { return };
    assert_eq!(start.encode(), bytes);
    let (mut order, mut body) = (ExchangeSequence::default(), 0);
    while !input.is_empty() && order.next_number() < RECORDS_MAX {
        let Some((head, payload)) = record(&mut input, start.stream, order.next_number(), fix)
        else {
            return;
        };
        assert_eq!(head.verify(&payload).is_ok(), data_checksum(&payload) == head.payload_checksum);
        let Ok(is_complete) = order.take(&head) else { return };
        match head.kind {
            ExchangeKind::LargeObject => body = 0,
            ExchangeKind::Piece => {
                assert_eq!(head.offset, body, "pieces follow each other");
                body += u64::from(head.data_len);
                assert_eq!(is_complete, body == head.body_len);
            }
            ExchangeKind::Object | ExchangeKind::Deletion => assert!(is_complete),
            ExchangeKind::Withdrawn | ExchangeKind::Damaged => assert!(!is_complete),
            ExchangeKind::End => {
                assert!(order.finish().is_ok());
                return;
            }
        }
        assert!(order.finish().is_err());
    }
}

/// The next record, and as many bytes behind it as it announces.
fn record(
    input: &mut Input<'_>,
    stream: u64,
    number: u64,
    fix: bool,
) -> Option<(RecordHead, Vec<u8>)> {
    let mut bytes: [u8; RECORD_HEAD_LEN] = input.bytes();
    if fix {
        bytes[..4].copy_from_slice(b"XREC");
        bytes[80..88].copy_from_slice(&number.to_le_bytes());
        put_right(&mut bytes, seed(stream, number));
    }
    let head = RecordHead::decode(&bytes, stream, number).ok()?;
    assert!(head.fits() && head.encode(stream) == bytes);
    assert!(RecordHead::decode(&bytes, stream, number + 1).is_err(), "another place");
    let mut payload = input.take(head.payload_len()).to_vec();
    payload.resize(head.payload_len(), 0);
    Some((head, payload))
}
