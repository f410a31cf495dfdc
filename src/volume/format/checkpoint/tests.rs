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

fn properties() -> Vec<CheckpointProperty> {
    let unnamed = |n: u64| UnnamedRecord { id: (n, 7), version: n + 1, len: n * 512 };
    let full = (0..UNNAMED_PER_ENTRY as u64).map(unnamed).collect();
    vec![
        CheckpointProperty::OldestDead(0x0102_0304_0506_0708),
        CheckpointProperty::KeyMax(9),
        CheckpointProperty::UnnamedParts(vec![unnamed(5), unnamed(u64::from(u32::MAX))]),
        CheckpointProperty::UnnamedParts(full),
    ]
}

fn encode_properties(properties: &[CheckpointProperty], out: &mut [u8]) -> usize {
    properties.iter().fold(0, |at, property| {
        let len = property.encode(&mut out[at..]);
        assert_eq!(len, property.entry_len());
        at + len
    })
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
        properties: 6,
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

    let properties = properties();
    let len = encode_properties(&properties, &mut out[PAYLOAD_AT..]);
    let (len, _) = finish_piece(PieceKind::Properties, 1, 4, len, INCARNATION, &mut out);
    let piece = decode_piece(&out[..len], 1, INCARNATION, true).unwrap();
    assert_eq!(decode_properties(piece.payload, piece.count), Some(properties));
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
            reached, stash: 1, segments: 2, entries, parts: 3, damage: 4, properties: 5, len, sums: 6,
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
        kind in 1u32..8,
        (count, each) in (0u32..4, prop_oneof![Just(16usize), Just(32), Just(104), Just(HEADER_LEN)]),
        more in prop_oneof![Just(0usize), Just(1), Just(PAYLOAD_LEN_MAX - 10), Just(PAYLOAD_LEN_MAX + 1)],
    ) {
        let kind = PieceKind::of(kind).expect("1 to 7");
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

#[test]
fn properties_have_the_documented_bytes() {
    let mut out = vec![0xee; 100];
    let unnamed = UnnamedRecord { id: (0x0a, 0x0b), version: 0x0c, len: 0x0200 };
    let all = [
        CheckpointProperty::OldestDead(0x0102_0304_0506_0708),
        CheckpointProperty::KeyMax(9),
        CheckpointProperty::ExpirySums(vec![(0x0102, 7), (0x0d, 0x0e0f)]),
        CheckpointProperty::UnnamedParts(vec![unnamed]),
    ];
    let len = encode_properties(&all, &mut out);
    let expected = [
        &[1, 0, 8, 0, 8, 7, 6, 5, 4, 3, 2, 1][..],
        &[2, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0],
        &[3, 0, 24, 0, 2, 1, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
        &[0x0d, 0, 0, 0, 0x0f, 0x0e, 0, 0, 0, 0, 0, 0],
        &[4, 0, 28, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0x0c, 0, 0, 0, 0, 0, 0, 0],
        &[0, 2, 0, 0, 0, 0, 0, 0, 0x0b, 0, 0, 0],
    ];
    assert_eq!(out[..len], expected.concat());
}

#[test]
fn properties_of_unknown_types_are_left_out() {
    // Two types of a later build, and a known one.
    let payload = [5, 0, 2, 0, 5, 5, 255, 255, 0, 0, 2, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode_properties(&payload, 3), Some(vec![CheckpointProperty::KeyMax(9)]));
    assert_eq!(decode_properties(&[], 0), Some(Vec::new()));
}

#[test]
fn properties_of_wrong_length_are_refused() {
    for (payload, count) in [
        (&[1, 0, 7, 0, 1, 2, 3, 4, 5, 6, 7][..], 1),
        (&[2, 0, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 1),
        (&[4, 0, 2, 0, 1, 2], 1),
        (&[3, 0, 2, 0, 1, 2], 1),
        // The entry, or its head, is longer than what is left.
        (&[9, 0, 3, 0, 1, 2], 1),
        (&[9, 0, 0], 1),
        // More or fewer entries than the piece says.
        (&[9, 0, 1, 0, 1], 2),
        (&[9, 0, 1, 0, 1, 9, 0, 0, 0], 1),
        (&[9, 0, 0, 0], 0),
    ] {
        assert_eq!(decode_properties(payload, count), None, "{payload:?}");
    }
}

#[test]
fn checkpoint_of_another_version_is_refused_by_its_version() {
    let mut out = vec![0; BLOCK as usize];
    header().encode(&mut out);
    assert_eq!(out[PAYLOAD_AT..PAYLOAD_AT + 4], [2, 0, 0, 0]);
    assert_eq!(other_checkpoint_version(&out), None);
    for version in [1, 3] {
        out[PAYLOAD_AT] = version;
        assert_eq!(other_checkpoint_version(&out), None, "its checksum is wrong");
        finish_piece(PieceKind::Header, 0, 1, HEADER_LEN, INCARNATION, &mut out);
        assert_eq!(CheckpointHeader::decode(&out), None);
        assert_eq!(other_checkpoint_version(&out), Some(u32::from(version)));
    }
}

proptest! {
    #[test]
    fn decoded_properties_are_the_same_when_they_are_encoded_again(
        entries in prop::collection::vec(
            (0u16..6, prop_oneof![Just(0usize), Just(8), Just(28), Just(56), 0usize..40]), 0..5,
        ),
        (cut, fill) in (prop_oneof![Just(0usize), 0usize..60], any::<u8>()),
    ) {
        let mut payload = Vec::new();
        for (kind, len) in &entries {
            payload.extend(kind.to_le_bytes());
            payload.extend(u16::try_from(*len).expect("below 60").to_le_bytes());
            payload.extend(std::iter::repeat_n(fill, *len));
        }
        payload.truncate(payload.len().saturating_sub(cut));
        let count = |len: usize| u32::try_from(len).expect("at most four");
        if let Some(properties) = decode_properties(&payload, count(entries.len())) {
            let mut again = vec![0xee; 300];
            let len = encode_properties(&properties, &mut again);
            prop_assert!(len <= payload.len() && properties.len() <= entries.len());
            prop_assert_eq!(
                decode_properties(&again[..len], count(properties.len())),
                Some(properties)
            );
        }
    }
}

#[test]
fn footer_that_is_not_possible_is_refused_although_its_checksum_is_right() {
    let footer = CheckpointFooter {
        reached: position(9),
        stash: 1,
        segments: 2,
        entries: 3,
        parts: 4,
        damage: 5,
        properties: 6,
        len: 9 * BLOCK,
        sums: 7,
    };
    let decoded = |footer: CheckpointFooter| {
        let mut out = vec![0; BLOCK as usize];
        footer.put(3, INCARNATION, &mut out);
        CheckpointFooter::decode(decode_piece(&out, 3, INCARNATION, true).unwrap().payload)
    };
    assert_eq!(decoded(footer), Some(footer));
    let reached = LogPosition { record_at: 0, ..position(9) };
    for wrong in [
        CheckpointFooter { reached, ..footer },
        CheckpointFooter { len: BLOCK, ..footer },
        CheckpointFooter { len: 9 * BLOCK + 512, ..footer },
    ] {
        assert_eq!(decoded(wrong), None, "{wrong:?}");
    }
}

#[test]
fn header_of_a_position_outside_the_volume_is_refused_although_its_checksum_is_right() {
    let decoded = |header: CheckpointHeader| {
        let mut out = vec![0; BLOCK as usize];
        header.put(&mut out);
        CheckpointHeader::decode(&out).map(|(header, _)| header)
    };
    let least = CheckpointHeader { size: position(4).tail + BLOCK, ..header() };
    assert_eq!(decoded(least), Some(least));
    for size in [position(4).tail, BLOCK - 1, 0] {
        assert_eq!(decoded(CheckpointHeader { size, ..least }), None, "{size}");
    }
}

#[test]
fn checksum_over_checksums_depends_on_each_and_on_their_order() {
    let both = |first, second| chain(chain(0, first), second);
    let all = [both(1, 2), both(2, 1), both(1, 1), both(2, 2), chain(0, 1), chain(0, 2)];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
}
