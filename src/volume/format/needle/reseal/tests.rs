use proptest::prelude::*;

use super::*;
use crate::base::limits::UNIT;
use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::checksum::data_checksum;
use crate::volume::format::needle::{
    EarlierRange, HEADER_LEN, HashPrefix, Loss, NeedleLayout, Unreadable, decode_header,
    encode_chunk_table, encode_data_needle, footer_at, verify_data, verify_meta, verify_range,
};

const OLD: (u64, u64) = (0x1bad_b002_dead_beef, 65_536 + 512);
const NEW: (u64, u64) = (0x0123_4567_89ab_cdef, 1 << 30);

fn header(kind: Kind, layout: &NeedleLayout) -> NeedleHeader {
    NeedleHeader {
        kind,
        version: 77,
        attributes_len: u16::try_from(layout.attributes_len).unwrap(),
        data_len: u32::try_from(layout.data_len).unwrap(),
        body_len: layout.data_len as u64,
        previous: 4096,
        epoch: 5,
        sequence: 6,
        ordinal: 7,
        batch: 8,
        batch_ordinal: 1,
        batch_count: 2,
        ..Loss::Object { id: NeedleId::new(3, 9), cookie: Cookie(0xaabb), len: 0 }.header(123)
    }
}

/// A needle with these contents, in its old place.
fn needle(kind: Kind, attributes: &[u8], data: &[u8]) -> (NeedleHeader, Vec<u8>) {
    let layout = match kind {
        Kind::Manifest => NeedleLayout::manifest(attributes.len(), data.len()),
        _ => NeedleLayout::data(attributes.len(), data.len()),
    };
    let mut bytes = vec![0xee; layout.len];
    bytes[layout.attributes()].copy_from_slice(attributes);
    bytes[layout.data_range()].copy_from_slice(data);
    let sum = encode_chunk_table(&mut bytes, &layout);
    let header = NeedleHeader { data_checksum: sum, ..header(kind, &layout) };
    encode_data_needle(&header, OLD.0, OLD.1, &mut bytes);
    (header, bytes)
}

/// The header of a copy.
fn copied(header: &NeedleHeader) -> NeedleHeader {
    NeedleHeader {
        previous: 0,
        epoch: 15,
        sequence: 16,
        ordinal: 17,
        batch: 0,
        batch_ordinal: 0,
        batch_count: 0,
        ..*header
    }
}

/// What verifying a needle says: its meta, all of its data, and each chunk.
#[derive(Debug, PartialEq)]
struct Verdict {
    meta: Result<(), Unreadable>,
    data: Result<(), Unreadable>,
    chunks: Vec<Result<(), Unreadable>>,
}

fn verdict(bytes: &[u8], header: &NeedleHeader, incarnation: u64) -> Verdict {
    let chunks = (0..header.data_len as usize).step_by(65_536);
    Verdict {
        meta: verify_meta(bytes, header, incarnation),
        data: verify_data(bytes, header),
        chunks: chunks.map(|at| verify_range(bytes, header, at..at + 1)).collect(),
    }
}

/// Seals a needle anew and checks all that must hold for the copy. Returns the verdict about it.
fn check(header: &NeedleHeader, bytes: &[u8]) -> Verdict {
    let before = verdict(bytes, header, OLD.0);
    let new = copied(header);
    let mut copy = bytes.to_vec();
    reseal(&mut copy, header, OLD.0, &new, NEW.0, NEW.1);
    let (read, back) = decode_header(&copy, NEW.0, NEW.1).expect("it was just encoded");
    assert_eq!(back, 0);
    assert_eq!(format!("{read:?}"), format!("{new:?}"));
    let after = verdict(&copy, &read, NEW.0);
    assert_eq!(after, before, "no read gets better or worse");
    let layout = header.layout();
    let unchanged = HEADER_LEN..layout.data_range().end;
    assert!(copy[unchanged.clone()] == bytes[unchanged.clone()], "attributes, table and data");
    assert!(copy[unchanged.end..layout.len - FOOTER_LEN].iter().all(|byte| *byte == 0));
    let footer = footer_at(&copy, NEW.0, NEW.1 + layout.len as u64).expect("it was just encoded");
    assert_eq!((footer.start, footer.id, footer.cookie.0), (NEW.1, header.id, header.cookie.0));
    assert_eq!((footer.epoch, footer.sequence, footer.ordinal), (15, 16, 17));
    after
}

#[test]
fn a_flipped_bit_anywhere_is_as_visible_after_resealing() {
    let (header, intact) = needle(Kind::Data, b"\x01\0\x03\0a/b", &[7; 700]);
    let layout = header.layout();
    assert_eq!(check(&header, &intact).meta, Ok(()));
    let mut visible = 0;
    for bit in HEADER_LEN * 8..intact.len() * 8 {
        let mut bytes = intact.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verdict = check(&header, &bytes);
        let is_meta = bit / 8 < layout.data_start;
        assert_eq!(verdict.meta.is_err(), is_meta, "bit {bit}");
        assert_eq!(verdict.data.is_err(), layout.data_range().contains(&(bit / 8)), "bit {bit}");
        visible += usize::from(verdict.meta.is_err() || verdict.data.is_err());
    }
    assert_eq!(visible, (layout.data_range().end - HEADER_LEN) * 8);
}

#[test]
fn a_needle_sealed_twice_at_the_same_place_has_its_first_bytes() {
    let (header, intact) = needle(Kind::Manifest, b"", &[3; 100]);
    let mut bytes = intact.clone();
    bytes[HEADER_LEN + 3] ^= 4;
    let damaged = bytes.clone();
    reseal(&mut bytes, &header, OLD.0, &copied(&header), NEW.0, NEW.1);
    reseal(&mut bytes, &copied(&header), NEW.0, &header, OLD.0, OLD.1);
    assert!(bytes == damaged);
}

#[test]
fn both_headers_of_a_header_only_needle_are_sealed_anew() {
    let id = NeedleId::new(3, 9);
    let range = EarlierRange { generation: 2, offset: 70_000, len: 1024 };
    let hash = HashPrefix { leading: 0xabc << 52, bits: 40 };
    let loss = Loss::Object { id, cookie: Cookie(1), len: 4096 }.header(1);
    let tombstone = NeedleHeader { kind: Kind::Tombstone, ..loss };
    let unidentified = Loss::Unidentified { hash, len: 512 }.header(1);
    for header in [tombstone, loss, unidentified, Loss::Range(range).header(1)] {
        // What is left of the needle does not matter.
        let mut bytes = vec![0xee; 1024];
        reseal(&mut bytes, &header, OLD.0, &copied(&header), NEW.0, NEW.1);
        let (first, 0) = decode_header(&bytes, NEW.0, NEW.1).unwrap() else { panic!() };
        let (second, UNIT) = decode_header(&bytes[512..], NEW.0, NEW.1 + UNIT).unwrap() else {
            panic!()
        };
        let expected = format!("{:?}", copied(&header));
        assert_eq!([format!("{first:?}"), format!("{second:?}")], [expected.clone(), expected]);
        assert_eq!(footer_at(&bytes, NEW.0, NEW.1 + 1024).unwrap().kind, header.kind);
        assert_eq!(verify_meta(&bytes, &first, NEW.0), Ok(()));
        assert_eq!(verify_data(&bytes, &first), Ok(()));
    }
}

#[test]
#[should_panic(expected = "another needle")]
fn the_header_of_another_needle_is_refused() {
    let (header, mut bytes) = needle(Kind::Data, b"", b"data");
    let other = NeedleHeader { data_checksum: data_checksum(b"atad"), ..header };
    reseal(&mut bytes, &header, OLD.0, &other, NEW.0, NEW.1);
}

proptest! {
    #[test]
    fn no_damage_is_added_or_removed_by_resealing(
        kind in prop_oneof![Just(Kind::Data), Just(Kind::Part), Just(Kind::Manifest)],
        attributes in prop::collection::vec(any::<u8>(), 0..100),
        (data_len, seed) in (prop_oneof![0usize..2000, 60_000usize..140_000], any::<u8>()),
        // Half of the flips are before the data.
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0u32..8), 0..5),
    ) {
        let data: Vec<u8> = (0..data_len).map(|n| n.to_le_bytes()[0] ^ seed).collect();
        let (header, mut bytes) = needle(kind, &attributes, &data);
        let layout = header.layout();
        for (at, before_data, bit) in flips {
            let end = if before_data { layout.data_start } else { layout.len };
            if end > HEADER_LEN {
                bytes[HEADER_LEN + at.index(end - HEADER_LEN)] ^= 1 << bit;
            }
        }
        check(&header, &bytes);
    }
}
