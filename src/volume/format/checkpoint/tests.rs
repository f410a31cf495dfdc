use proptest::prelude::*;

use super::lens::HEADER_LEN;
use super::piece::put_piece;
use super::*;
use crate::base::limits::{BLOCK, LOG_START};
use crate::volume::format::agreement::{accepts, number};

const INCARNATION: u64 = 0x1bad_b002_dead_beef;

fn position(n: u64) -> LogPosition {
    let (record_at, tail) = (LOG_START + n * BLOCK, LOG_START + (n + 1) * BLOCK);
    LogPosition { record_at, tail, sequence: n + 1, record_checksum: n ^ 99, version: 7 + n }
}

fn header() -> CheckpointHeader {
    CheckpointHeader {
        store: *b"a store of tests",
        volume: 7,
        generation: 3,
        incarnation: INCARNATION,
        size: 1 << 30,
        hash_seed: 42,
        layout: [1, 2, 3, 4, 5, 6, 7, 8],
        covers: position(4),
        written_ns: 1_700_000_000_000_000_000,
    }
}

#[test]
fn encoded_structures_are_decoded_to_the_same() {
    let mut out = vec![0xff; PIECE_LEN_MAX];
    let (len, sum) = header().encode(&mut out);
    assert_eq!(len, BLOCK as usize);
    assert_eq!(CheckpointHeader::decode(&out), Some((header(), sum)));

    let footer = CheckpointFooter {
        reached: position(9),
        stash: 1,
        segments: 2,
        entries: 3,
        parts: 4,
        damage: 5,
        len: 9 * BLOCK,
        sums: 7,
    };
    let len = footer.encode(8, INCARNATION, &mut out);
    let piece = decode_piece(&out[..len], 8, INCARNATION, true).unwrap();
    assert_eq!(piece.kind, PieceKind::Footer);
    assert_eq!(CheckpointFooter::decode(piece.payload), Some(footer));

    let buckets: Vec<[u64; 8]> =
        (0..100).map(|n| std::array::from_fn(|m| (n * m as u64) % 3 * (n + 1))).collect();
    let first = encode_segment(5, 3, buckets.iter().copied(), &mut out[PAYLOAD_AT..]);
    let all = buckets.iter().flatten().filter(|entry| **entry != 0).count();
    assert_eq!(first, segment_len(100, all));
    let second = encode_segment(1, 1, [[0; 8]].into_iter(), &mut out[PAYLOAD_AT + first..]);
    let (len, _) = finish_piece(PieceKind::Segments, 1, 2, first + second, INCARNATION, &mut out);
    let piece = decode_piece(&out[..len], 1, INCARNATION, true).unwrap();
    let (segment, rest) = SegmentRecord::decode(piece.payload).unwrap();
    assert_eq!((segment.prefix, segment.depth, segment.len as usize), (5, 3, all));
    assert!(segment.buckets().eq(buckets));
    let (segment, rest) = SegmentRecord::decode(rest).unwrap();
    assert!(segment.buckets().eq([[0; 8]]) && rest.is_empty());

    let pairs = [(1, 2), (u64::MAX, 3)];
    let len = encode_pairs(&pairs, &mut out);
    assert!(decode_pairs(&out[..len], 2).unwrap().eq(pairs));
    assert!(decode_pairs(&out[..len], 3).is_none());

    let damage = [
        DamageRecord { offset: 512, len: 4096, part: DamagedPart::Log(Some((8, 9))) },
        DamageRecord { offset: 1024, len: 1, part: DamagedPart::Log(None) },
        DamageRecord { offset: 1536, len: 1024, part: DamagedPart::Loss(Some((0, 0))) },
        DamageRecord { offset: 2560, len: 1024, part: DamagedPart::Loss(None) },
        DamageRecord { offset: 70_000, len: 8192, part: DamagedPart::Generation(u64::MAX) },
    ];
    let len = encode_damage(&damage, &mut out);
    assert!(decode_damage(&out[..len], 5).unwrap().eq(damage));
    assert!(decode_damage(&out[..len], 4).is_none());
}

fn any_position() -> impl Strategy<Value = LogPosition> {
    (number(), number(), number(), number()).prop_map(|(record_at, tail, sequence, version)| {
        LogPosition { record_at, tail, sequence, record_checksum: 5, version }
    })
}

proptest! {
    #[test]
    fn header_is_encoded_exactly_if_it_would_be_decoded(
        (covers, size, written_ns) in (any_position(), number(), number()),
    ) {
        let header = CheckpointHeader { covers, size, written_ns, ..header() };
        let mut out = vec![0xee; BLOCK as usize];
        let (_, sum) = header.put(&mut out);
        let read = CheckpointHeader::decode(&out);
        prop_assert!(read.is_none_or(|read| read == (header, sum)));
        let mut again = vec![0; BLOCK as usize];
        prop_assert_eq!(accepts(|| { header.encode(&mut again); }), read.is_some());
    }

    #[test]
    fn footer_is_encoded_exactly_if_it_would_be_decoded(
        (reached, len, entries) in (any_position(), number(), number()),
    ) {
        let footer = CheckpointFooter {
            reached, stash: 1, segments: 2, entries, parts: 3, damage: 4, len, sums: 5,
        };
        let mut out = vec![0xee; BLOCK as usize];
        footer.put(3, INCARNATION, &mut out);
        let piece = decode_piece(&out, 3, INCARNATION, true).expect("its checksum is right");
        let read = CheckpointFooter::decode(piece.payload);
        prop_assert!(read.is_none_or(|read| read == footer));
        let mut again = vec![0; BLOCK as usize];
        let accepted = accepts(|| { footer.encode(3, INCARNATION, &mut again); });
        prop_assert_eq!(accepted, read.is_some());
    }

    #[test]
    fn piece_is_encoded_exactly_if_it_would_be_decoded(
        kind in 1u32..7,
        (count, each) in (0u32..4, prop_oneof![Just(16usize), Just(32), Just(96), Just(HEADER_LEN)]),
        more in prop_oneof![Just(0usize), Just(1), Just(PAYLOAD_LEN_MAX - 10), Just(PAYLOAD_LEN_MAX + 1)],
    ) {
        let kind = PieceKind::of(kind).expect("1 to 6");
        let payload = count as usize * each + more;
        let mut out = vec![0; 2 * PIECE_LEN_MAX];
        put_piece(kind, 3, count, payload, INCARNATION, &mut out);
        let read = decode_piece(&out, 3, INCARNATION, true).is_some();
        let mut again = vec![0; 2 * PIECE_LEN_MAX];
        let accepted = accepts(|| {
            finish_piece(kind, 3, count, payload, INCARNATION, &mut again);
        });
        prop_assert_eq!(accepted, read);
    }
}

#[test]
fn every_flipped_bit_is_detected() {
    let mut out = vec![0; PIECE_LEN_MAX];
    let (len, _) = header().encode(&mut out);
    for bit in 0..len * 8 {
        out[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(CheckpointHeader::decode(&out), None, "bit {bit}");
        out[bit / 8] ^= 1 << (bit % 8);
    }
    let payload = encode_pairs(&[(1, 2), (3, 4)], &mut out[PAYLOAD_AT..]);
    let (len, _) = finish_piece(PieceKind::Parts, 2, 2, payload, INCARNATION, &mut out);
    for bit in 0..len * 8 {
        out[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_piece(&out, 2, INCARNATION, true).is_none(), "bit {bit}");
        out[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(decode_piece(&out, 2, INCARNATION, true).is_some());
    assert!(decode_piece(&out, 1, INCARNATION, true).is_none(), "a piece of another place");
    assert!(decode_piece(&out, 2, INCARNATION + 1, true).is_none(), "a piece of another file");
    for len in 0..len {
        assert!(decode_piece(&out[..len], 2, INCARNATION, true).is_none());
    }
}
