use super::header::{HEADER_CHECKSUM_AT, HEADER_MAGIC};
use super::*;
use crate::base::limits::UNIT;
use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::agreement::{accepts, number};
use crate::volume::format::checksum::{checksum, data_checksum, seed};
use crate::volume::format::rising::RISING_MAX;
use proptest::prelude::*;

fn header(data: &[u8], attributes_len: usize) -> NeedleHeader {
    NeedleHeader {
        kind: Kind::Data,
        id: NeedleId::new(0x1122_3344_5566_7788, 9),
        cookie: Cookie(0xaabb),
        version: 77,
        modified_ns: 123,
        attributes_len: u16::try_from(attributes_len).unwrap(),
        data_len: u32::try_from(data.len()).unwrap(),
        body_len: data.len() as u64,
        previous: 4096,
        epoch: 5,
        sequence: 6,
        ordinal: 7,
        batch: 0,
        batch_ordinal: 0,
        batch_count: 0,
        parts_units: 0,
        data_checksum: data_checksum(data),
        expires_ns: None,
        keeps_parts: false,
    }
}

fn needle(data: &[u8], content_type: &[u8], offset: u64) -> Vec<u8> {
    let attribute = Attribute { code: Attribute::CONTENT_TYPE, value: content_type };
    let layout = NeedleLayout::data(attribute.encoded_len(), data.len());
    let mut bytes = vec![0xee; layout.len];
    attribute_bytes(&[attribute], &mut bytes[HEADER_LEN..]);
    bytes[layout.data_range()].copy_from_slice(data);
    let tag = encode_chunk_table(&mut bytes, &layout);
    assert_eq!(tag, data_checksum(data));
    encode_data_needle(&header(data, attribute.encoded_len()), 42, offset, &mut bytes);
    bytes
}

#[test]
fn needle_is_decoded_only_at_its_own_offset_and_file() {
    for len in [0, 1, 300, 65_535, 65_536, 65_537, 200_000, 1 << 20] {
        let data: Vec<u8> = (0..len).map(|n: u32| n.to_le_bytes()[0] ^ 3).collect();
        let bytes = needle(&data, b"image/png", 65_536);
        let (read, back) = decode_header(&bytes, 42, 65_536).unwrap();
        assert_eq!((back, read.data_len, read.previous), (0, len, 4096));
        assert_eq!(verify_meta(&bytes, &read, 42), Ok(()));
        assert_eq!(verify_data(&bytes, &read), Ok(()));
        let layout = read.layout();
        assert_eq!(&bytes[layout.data_range()], data);
        let found: Vec<_> = attributes(&bytes[layout.attributes()]).collect();
        assert_eq!(found[0].value, b"image/png");
        let footer = footer_at(&bytes, 42, 65_536 + bytes.len() as u64).unwrap();
        assert_eq!((footer.start, footer.id, footer.sequence), (65_536, read.id, 6));
        assert!(decode_header(&bytes, 42, 65_536 + 512).is_none(), "misdirected");
        assert!(decode_header(&bytes, 43, 65_536).is_none(), "another file's");
        assert!(footer_at(&bytes, 42, 65_536).is_none());
    }
}

#[test]
fn every_flipped_bit_outside_padding_is_detected() {
    let mut bytes = needle(&[7; 1000], b"a/b", 4096);
    let layout = decode_header(&bytes, 42, 4096).unwrap().0.layout();
    let end = 4096 + layout.len as u64;
    for bit in 0..bytes.len() * 8 {
        let byte = bit / 8;
        bytes[byte] ^= 1 << (bit % 8);
        let header = decode_header(&bytes, 42, 4096);
        let noticed = match header {
            None => true,
            Some((h, _)) => {
                verify_meta(&bytes, &h, 42).is_err() || verify_data(&bytes, &h).is_err()
            }
        } || footer_at(&bytes, 42, end).is_none();
        let padding = (layout.data_range().end..layout.len - FOOTER_LEN).contains(&byte);
        assert_eq!(noticed, !padding, "bit {bit}");
        bytes[byte] ^= 1 << (bit % 8);
    }
}

#[test]
fn range_is_verified_without_other_chunks() {
    let mut bytes = needle(&vec![1; 300_000], b"x/y", 512);
    let (read, _) = decode_header(&bytes, 42, 512).unwrap();
    bytes[read.layout().data_start + 70_000] ^= 1;
    assert_eq!(verify_range(&bytes, &read, 0..65_536), Ok(()));
    assert_eq!(verify_range(&bytes, &read, 131_072..300_000), Ok(()));
    assert_eq!(verify_range(&bytes, &read, 65_536..65_537), Err(Unreadable::Chunk(1)));
    assert_eq!(verify_range(&bytes, &read, 0..300_000), Err(Unreadable::Chunk(1)));
}

#[test]
fn either_copy_of_a_tombstone_can_be_decoded() {
    let mut deleted = header(&[], 0);
    deleted.kind = Kind::Tombstone;
    let mut bytes = [0xee; 1024];
    encode_tombstone(&deleted, 42, 8192, &mut bytes);
    assert_eq!(decode_header(&bytes, 42, 8192).unwrap().1, 0);
    assert_eq!(decode_header(&bytes[512..], 42, 8704).unwrap().1, 512);
    assert_eq!(footer_at(&bytes, 42, 9216).unwrap().kind, Kind::Tombstone);
}

#[test]
fn records_of_losses_say_what_was_lost_in_both_headers_and_the_footer() {
    let (id, cookie) = (NeedleId::new(5, 6), Cookie(7));
    let hash = HashPrefix { leading: 0x1234_5678_9000_0000, bits: 36 };
    let range = EarlierRange { generation: 3, offset: 1 << 39, len: 1 << 40 };
    let rounded = EarlierRange { len: 1000, ..range };
    let losses = [
        (Loss::Object { id, cookie, len: 4096 }, Some(id)),
        (Loss::Unidentified { hash, len: 4096 }, None),
        (Loss::Range(range), None),
        (Loss::Range(rounded), None),
    ];
    for (loss, owner) in losses {
        let header = NeedleHeader { version: 77, sequence: 6, ..loss.header(123) };
        let mut bytes = [0xee; 1024];
        encode_loss(&header, 42, 8192, &mut bytes);
        let (first, back) = decode_header(&bytes, 42, 8192).unwrap();
        assert_eq!((back, first.owner(), first.modified_ns), (0, owner, 123));
        let (second, back) = decode_header(&bytes[512..], 42, 8704).unwrap();
        assert_eq!((back, format!("{second:?}")), (512, format!("{first:?}")));
        assert!(decode_header(&bytes[512..], 42, 8192).is_none());
        let footer = footer_at(&bytes, 42, 9216).unwrap();
        assert_eq!((footer.kind, footer.owner(), footer.start), (header.kind, owner, 8192));
        assert_eq!(
            (verify_meta(&bytes, &first, 42), verify_data(&bytes, &first)),
            (Ok(()), Ok(()))
        );
        match loss {
            Loss::Object { .. } => {
                assert_eq!((footer.cookie.0, first.cookie.0, first.body_len), (7, 7, 4096));
                assert!(first.kind.is_loss());
            }
            Loss::Unidentified { .. } => {
                assert_eq!([HashPrefix::of(first.id), HashPrefix::of(footer.id)], [hash; 2]);
                assert!(first.kind.is_loss() && first.body_len == 4096);
            }
            Loss::Range(range) => {
                let range = EarlierRange { len: range.len.next_multiple_of(512), ..range };
                assert_eq!(EarlierRange::of(first.id, first.cookie), range);
                assert_eq!(EarlierRange::of(footer.id, footer.cookie), range);
                assert!(!first.kind.is_loss());
            }
        }
    }
}

#[test]
fn number_of_known_hash_bits_is_limited() {
    let all = 0xffff_ffff_ffff_ffff_u64;
    for (leading, bits, possible) in [
        (0, 34, false),
        (0, 35, true),
        (0, 64, true),
        (0, 65, false),
        (0, u32::MAX, false),
        (all, 64, true),
        (all, 63, false),
        (all << 1, 63, true),
        (1 << 29, 35, true),
        (1 << 28, 35, false),
    ] {
        let header = Loss::Unidentified { hash: HashPrefix { leading, bits }, len: 512 }.header(1);
        let mut bytes = [0; 1024];
        let encoded = accepts(|| encode_loss(&header, 42, 8192, &mut bytes));
        assert_eq!(encoded, possible, "{leading:#x}, {bits} bits");
        // A forged footer, too, has an impossible number of bits.
        let known = Loss::Object { id: header.id, cookie: Cookie(0), len: 512 }.header(1);
        encode_loss(&known, 42, 8192, &mut bytes);
        let footer = &mut bytes[1024 - FOOTER_LEN..];
        footer[20] = Kind::UnidentifiedLoss.code();
        let sum = checksum(&footer[..FOOTER_LEN - 8], seed(42, 8192));
        footer[FOOTER_LEN - 8..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(footer_at(&bytes, 42, 9216).is_some(), possible, "{leading:#x}, {bits} bits");
    }
}

#[test]
fn footer_with_an_impossible_length_is_rejected() {
    let whole = needle(&vec![7; 1 << 20], b"a/b", 65_536);
    let end = 65_536 + whole.len() as u64;
    let at = whole.len() - FOOTER_LEN;
    for (units, possible) in [(0u32, false), (1, false), (2, true), (2064, true), (2065, false)] {
        let mut footer = whole[at..].to_vec();
        footer[16..20].copy_from_slice(&units.to_le_bytes());
        let start = end - u64::from(units) * UNIT;
        let sum = checksum(&footer[..FOOTER_LEN - 8], seed(42, start));
        footer[FOOTER_LEN - 8..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(footer_at(&footer, 42, end).is_some(), possible, "{units}");
    }
}

#[test]
fn footer_with_an_impossible_sequence_is_rejected() {
    let whole = needle(&[7; 100], b"a/b", 65_536);
    let end = 65_536 + whole.len() as u64;
    for (sequence, possible) in [(RISING_MAX - 1, true), (RISING_MAX, false), (u64::MAX, false)] {
        let mut footer = whole[whole.len() - FOOTER_LEN..].to_vec();
        footer[24..32].copy_from_slice(&sequence.to_le_bytes());
        let sum = checksum(&footer[..FOOTER_LEN - 8], seed(42, 65_536));
        footer[FOOTER_LEN - 8..].copy_from_slice(&sum.to_le_bytes());
        let read = footer_at(&footer, 42, end).map(|footer| footer.sequence);
        assert_eq!(read, possible.then_some(sequence));
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Data,
        Kind::Tombstone,
        Kind::Part,
        Kind::Manifest,
        Kind::Loss,
        Kind::UnidentifiedLoss,
        Kind::DamagedRange,
    ])
}

/// An id, or what an unidentified loss has in its place, possible or not.
fn any_id() -> impl Strategy<Value = NeedleId> {
    (prop_oneof![Just(0), Just(1 << 29), any::<u64>()], prop_oneof![33u32..37, 62u32..67])
        .prop_map(|(key, alt)| NeedleId::new(key, alt))
}

proptest! {
    /// `units` is computed by the encoder. An impossible layout has none, so the limit is used.
    #[test]
    fn header_is_encoded_exactly_if_it_would_be_decoded(
        (kind, id, version, sequence) in (any_kind(), any_id(), number(), number()),
        attributes_len in prop_oneof![Just(0u16), 0u16..5000],
        data_len in prop_oneof![Just(0u32), 0u32..3 << 19, (1u32 << 20) - 2..(1 << 20) + 3],
        (modified_ns, body_len, ordinal) in (number(), number(), 65_530u32..65_540),
    ) {
        let written = NeedleHeader {
            kind, id, version, sequence, attributes_len, data_len, modified_ns, body_len, ordinal,
            ..header(&[], 0)
        };
        let mut len = 0;
        let has_layout = accepts(|| len = written.layout().len);
        let units = if has_layout { written.layout().units() } else { 2064 };
        let mut bytes = vec![0xee; HEADER_LEN];
        written.put(0, 0, seed(42, 4096), units, &mut bytes);
        let read = decode_header(&bytes, 42, 4096);
        let mut needle = vec![0; len];
        let accepted = accepts(|| match kind {
            Kind::Tombstone => encode_tombstone(&written, 42, 4096, &mut needle),
            kind if kind.is_header_only() => encode_loss(&written, 42, 4096, &mut needle),
            _ => encode_data_needle(&written, 42, 4096, &mut needle),
        });
        // The footer has two bytes for the ordinal.
        prop_assert_eq!(accepted, read.is_some() && ordinal <= u32::from(u16::MAX));
        if accepted {
            let (again, _) = decode_header(&needle, 42, 4096).expect("what was just encoded");
            prop_assert_eq!((again.version, again.sequence), (version, sequence));
            let footer = footer_at(&needle, 42, 4096 + len as u64);
            prop_assert_eq!(footer.map(|footer| footer.ordinal), Some(ordinal));
        }
    }

    #[test]
    fn decoding_any_bytes_never_panics(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        fix in any::<bool>(),
    ) {
        if fix && bytes.len() >= HEADER_LEN {
            bytes[..4].copy_from_slice(&HEADER_MAGIC);
            let sum = checksum(&bytes[..HEADER_CHECKSUM_AT], seed(1, 2));
            bytes[HEADER_CHECKSUM_AT..HEADER_LEN].copy_from_slice(&sum.to_le_bytes());
        }
        let _ = decode_header(&bytes, 1, 2);
        let _ = footer_at(&bytes, 1, 600);
        for attribute in attributes(&bytes) {
            prop_assert!(attribute.value.len() <= bytes.len());
        }
    }
}
