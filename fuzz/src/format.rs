//! The bytes on disk: decoding never panics, and what was accepted is the same when it is encoded again.
//!
//! Input: which structure, whether its magic and checksum are put right first, then its bytes.

use hayloft::base::limits::{ATTRIBUTES_MAX, NEEDLE_DATA_MAX, UNIT};
use hayloft::base::types::{Cookie, NeedleId};
use hayloft::volume::format::{
    Attribute, AttributeSet, COMMIT_RECORD_LEN, CommitRecord, FOOTER_LEN, HASH_PREFIX_BITS,
    HEADER_LEN, HINT_OFFSETS, HashPrefix, INCOMPAT_LOSSES, Kind, Manifest, NeedleHeader,
    NeedleLayout, PartEntry, Superblock, TailHint, attribute_bytes, attributes, checksum,
    decode_header, decode_properties, encode_chunk_table, encode_data_needle, encode_loss,
    encode_manifest, encode_tombstone, footer_at, manifest_len, reseal, seed, verify_data,
    verify_meta, verify_range,
};

use crate::input::Input;

const INCARNATION: u64 = 0x1bad_b002_dead_beef;
const PLACE: u64 = 65_536;
/// File and offset of a needle that is sealed anew.
const OTHER_INCARNATION: u64 = 0x0123_4567_89ab_cdef;
const OTHER_PLACE: u64 = 1 << 31;
const LOG_END: u64 = 1 << 40;
/// Seed of superblock checksums, as docs/FORMAT.md has it.
const SUPERBLOCK_SEED: u64 = 0x4841_594c_4f46_5400;
const BLOCK: usize = 4096;
/// The first byte of inputs that are properties of a checkpoint; lower ones are the other structures.
const CHECKPOINT_PROPERTIES: u8 = 252;

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (what, fix) = (input.u8(), input.u8() & 1 == 1);
    if what >= CHECKPOINT_PROPERTIES {
        return properties(input);
    }
    match what % 7 {
        0 => superblock(input, fix),
        1 => hint(input, fix),
        2 => commit(input, fix),
        3 => header(input, fix),
        4 => manifest(input),
        5 => attribute_list(input.0),
        _ => needle(input),
    }
}

/// The input's first bytes, of full length; magic and checksum as they should be when `fix`.
fn block(input: &mut Input<'_>, magic: &[u8], len: usize, seed: u64, fix: bool) -> Vec<u8> {
    let mut bytes = input.take(len).to_vec();
    bytes.resize(len, 0);
    if fix {
        bytes[..magic.len()].copy_from_slice(magic);
        put_right(&mut bytes, seed);
    }
    bytes
}

/// Writes the checksum that stands at the end of a structure.
pub fn put_right(bytes: &mut [u8], seed: u64) {
    let (covered, sum) = bytes.split_at_mut(bytes.len() - 8);
    sum.copy_from_slice(&checksum(covered, seed).to_le_bytes());
}

/// Whether two encodings are the same in these bytes: the others are reserved, and written as zeros.
fn same(one: &[u8], other: &[u8], fields: &[std::ops::Range<usize>]) {
    for field in fields {
        assert_eq!(one[field.clone()], other[field.clone()], "bytes {field:?}");
    }
}

fn superblock(mut input: Input<'_>, fix: bool) {
    let mut bytes = block(&mut input, b"HAYLSUPR\x01\0\0\0", 512, SUPERBLOCK_SEED, fix);
    if fix {
        // What this build takes at all: no features but its own, its unit, chunk and checksum. Of those that
        // a writer must know, the one of a cluster, which has fields of its own.
        bytes[16] &= 8;
        bytes[17..20].fill(0);
        bytes[21..24].fill(0);
        bytes[20] &= INCOMPAT_LOSSES as u8;
        bytes[28..40].copy_from_slice(&[0, 2, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0]);
        put_right(&mut bytes, SUPERBLOCK_SEED);
    }
    let Ok(superblock) = Superblock::decode(&bytes) else { return };
    let mut again = vec![0xee; BLOCK];
    superblock.encode(&mut again);
    assert_eq!(Superblock::decode(&again).as_ref(), Ok(&superblock));
    same(&bytes, &again, &[0..84, 88..128]);
    assert!(superblock.log_end() < superblock.size);
}

fn hint(mut input: Input<'_>, fix: bool) {
    let place = HINT_OFFSETS[usize::from(input.u8() & 1)];
    let mut bytes = block(&mut input, b"HAYLHINT", 512, seed(INCARNATION, place), fix);
    if fix {
        bytes[8] = bytes[8] & !1 | u8::from(place == HINT_OFFSETS[1]);
        put_right(&mut bytes, seed(INCARNATION, place));
    }
    let Some(hint) = TailHint::decode(&bytes, INCARNATION, place, LOG_END) else { return };
    let mut again = vec![0xee; BLOCK];
    hint.encode(INCARNATION, LOG_END, &mut again);
    assert_eq!(TailHint::decode(&again, INCARNATION, place, LOG_END), Some(hint));
    same(&bytes, &again, &[0..56]);
    let other = place ^ HINT_OFFSETS[0] ^ HINT_OFFSETS[1];
    assert_eq!(TailHint::decode(&bytes, INCARNATION, other, LOG_END), None, "misdirected");
}

fn commit(mut input: Input<'_>, fix: bool) {
    let seeds = [seed(INCARNATION, PLACE), seed(INCARNATION, PLACE + UNIT)];
    let mut bytes = block(&mut input, b"HAYLCMMT", COMMIT_RECORD_LEN, seeds[0], fix);
    bytes.extend(block(&mut input, b"HAYLCMMT", COMMIT_RECORD_LEN, seeds[1], fix));
    for len in [0, 100, COMMIT_RECORD_LEN, bytes.len()] {
        let found = CommitRecord::decode(&bytes[..len], INCARNATION, PLACE, LOG_END);
        let Some((record, sum)) = found else { continue };
        let mut again = vec![0xee; 2 * COMMIT_RECORD_LEN];
        let encoded = record.encode(INCARNATION, PLACE, LOG_END, &mut again);
        assert!(encoded == sum || again[..COMMIT_RECORD_LEN] != bytes[..COMMIT_RECORD_LEN]);
        let decoded = CommitRecord::decode(&again, INCARNATION, PLACE, LOG_END);
        assert_eq!(decoded.map(|(record, _)| record), Some(record));
        assert!(record.len >= 4096 && PLACE + record.len <= LOG_END && record.sequence > 0);
    }
}

fn header(mut input: Input<'_>, fix: bool) {
    let bytes = block(&mut input, b"HNDL", HEADER_LEN, seed(INCARNATION, PLACE), fix);
    let units = usize::from(input.u8()) % 4 + 1;
    let footer = block(&mut input, b"HEND", FOOTER_LEN, seed(INCARNATION, PLACE), fix);
    let end = PLACE + (units as u64) * UNIT;
    if let Some(footer) = footer_at(&footer, INCARNATION, end) {
        assert!((2..=2064).contains(&footer.units));
        possible_owner(footer.kind, footer.id, footer.owner());
        assert!(footer.start <= end && footer.start + u64::from(footer.units) * UNIT == end);
    }
    let Some((header, back)) = decode_header(&bytes, INCARNATION, PLACE) else { return };
    assert!(back == 0 || header.kind.is_header_only());
    possible_owner(header.kind, header.id, header.owner());
    let layout = header.layout();
    assert!(layout.len >= HEADER_LEN + FOOTER_LEN && layout.len.is_multiple_of(UNIT as usize));
    assert!(layout.data_range().end + FOOTER_LEN <= layout.len);
    assert!(decode_header(&bytes, INCARNATION, PLACE + UNIT).is_none(), "misdirected");
    // A footer has two bytes for the ordinal: no commit holds so many needles.
    if header.ordinal <= u32::from(u16::MAX) && back == 0 && layout.len <= 1 << 16 {
        let mut again = vec![0; layout.len];
        match header.kind {
            Kind::Tombstone => encode_tombstone(&header, INCARNATION, PLACE, &mut again),
            kind if kind.is_header_only() => {
                encode_loss(&header, INCARNATION, PLACE, &mut again);
            }
            _ => encode_data_needle(&header, INCARNATION, PLACE, &mut again),
        }
        // All but flags, checksum of the attributes, and own checksum.
        same(&bytes, &again, &[0..5, 6..104, 112..120]);
    }
}

/// Whoever has no id, or no known one, is taken for nobody's; and what is known of a hash is enough for an
/// index.
fn possible_owner(kind: Kind, id: NeedleId, owner: Option<NeedleId>) {
    let has_none = matches!(kind, Kind::UnidentifiedLoss | Kind::DamagedRange);
    assert_eq!(owner, (!has_none).then_some(id));
    if kind == Kind::UnidentifiedLoss {
        assert!(HASH_PREFIX_BITS.contains(&HashPrefix::of(id).bits));
    }
}

fn manifest(mut input: Input<'_>) {
    let (body_len, before) = (input.u64(), input.u64());
    let Some(manifest) = Manifest::decode(input.0) else { return };
    let parts: Vec<PartEntry> = (0..manifest.len()).map(|n| manifest.part(n)).collect();
    assert!(!manifest.is_empty() && !parts.is_empty());
    let chunks = (input.0.len() - manifest_len(parts.len(), 0)) / 8;
    let sums: Vec<u64> = (0..chunks).map(|n| manifest.sum(n)).collect();
    for body_len in [body_len, parts.iter().map(|part| u64::from(part.len)).sum()] {
        if manifest.is_sound(body_len, before) {
            assert_eq!(parts.iter().map(PartEntry::chunks).sum::<usize>(), chunks);
            assert!(parts.iter().all(|part| part.len > 0 && part.offset < before));
            let mut again = vec![0xee; input.0.len()];
            encode_manifest(&parts, &sums, body_len, before, &mut again);
            same(input.0, &again, &[0..8, 8 + parts.len() * 16..input.0.len()]);
            for part in 0..parts.len() {
                let at = 8 + part * 16;
                same(input.0, &again, std::slice::from_ref(&(at..at + 12)));
            }
        }
    }
}

fn properties(mut input: Input<'_>) {
    let count = u32::from(input.u8()) % 8;
    let Some(properties) = decode_properties(input.0, count) else { return };
    let mut again = vec![0xee; input.0.len()];
    let len = properties.iter().fold(0, |at, property| at + property.encode(&mut again[at..]));
    let known = u32::try_from(properties.len()).expect("at most seven");
    assert!(known <= count);
    assert_eq!(decode_properties(&again[..len], known), Some(properties));
}

fn attribute_list(bytes: &[u8]) {
    let list: Vec<Attribute<'_>> = attributes(bytes).collect();
    let len: usize = list.iter().map(Attribute::encoded_len).sum();
    let mut again = vec![0xee; len];
    assert_eq!(attribute_bytes(&list, &mut again), len);
    assert_eq!(again, bytes[..len]);
    // The attributes that have a meaning can be written as they were understood.
    let set = AttributeSet::decode(bytes);
    let mut known = vec![0xee; set.encoded_len()];
    assert_eq!(set.encode(&mut known), known.len());
    assert_eq!(AttributeSet::decode(&known), set);
    assert!(set.cluster.check().is_ok());
}

/// A needle of given content, whole and with a byte changed: the change is noticed, or it is in what
/// nobody reads.
fn needle(mut input: Input<'_>) {
    let kind = [Kind::Data, Kind::Part, Kind::Manifest][usize::from(input.u8()) % 3];
    let (attributes_len, data_len) = (input.below(ATTRIBUTES_MAX + 1), input.below(40_000) * 4);
    let (at, change) = (input.u32() as usize, input.u8());
    let layout = match kind {
        Kind::Manifest => NeedleLayout::manifest(attributes_len, data_len),
        _ => NeedleLayout::data(attributes_len, data_len),
    };
    assert!(data_len as u64 <= NEEDLE_DATA_MAX && layout.data_range().len() == data_len);
    let mut written = header_of(&mut input, kind, &layout);
    let mut bytes = vec![0xee; layout.len];
    for (n, byte) in bytes[HEADER_LEN..].iter_mut().enumerate() {
        *byte = input.0.get(n % input.0.len().max(1)).copied().unwrap_or(7);
    }
    written.data_checksum = encode_chunk_table(&mut bytes, &layout);
    encode_data_needle(&written, INCARNATION, PLACE, &mut bytes);
    let intact = bytes.clone();
    assert!(accepted(&bytes, &intact));
    let at = at % bytes.len();
    bytes[at] ^= change;
    let is_padding = (layout.data_range().end..layout.len - FOOTER_LEN).contains(&at);
    if change != 0 && !is_padding {
        let end = PLACE + bytes.len() as u64;
        let by_footer = footer_at(&bytes, INCARNATION, end).is_none();
        assert!(by_footer || !accepted(&bytes, &intact), "byte {at} ^ {change:#x} went unnoticed");
    }
    if at >= HEADER_LEN {
        sealed_anew(&written, &bytes);
    }
}

/// A copy in another place verifies as the needle did.
fn sealed_anew(header: &NeedleHeader, bytes: &[u8]) {
    let new = NeedleHeader { previous: 0, sequence: 1, epoch: 2, ordinal: 3, batch: 0, ..*header };
    let mut copy = bytes.to_vec();
    let places = [(INCARNATION, PLACE), (OTHER_INCARNATION, OTHER_PLACE)];
    let [(old_file, _), (new_file, offset)] = places;
    reseal(&mut copy, header, old_file, &new, new_file, offset);
    let read = decode_header(&copy, new_file, offset).expect("it was just encoded").0;
    assert_eq!(verify_meta(&copy, &read, new_file), verify_meta(bytes, header, old_file));
    assert_eq!(verify_data(&copy, &read), verify_data(bytes, header));
    assert!(footer_at(&copy, new_file, offset + copy.len() as u64).is_some());
}

/// Whether a reader would take it; then its content must be that of `intact`.
fn accepted(bytes: &[u8], intact: &[u8]) -> bool {
    let Some((header, 0)) = decode_header(bytes, INCARNATION, PLACE) else { return false };
    let layout = header.layout();
    assert_eq!(layout.len, bytes.len());
    let whole =
        verify_meta(bytes, &header, INCARNATION).is_ok() && verify_data(bytes, &header).is_ok();
    if whole {
        assert!(bytes[layout.attributes()] == intact[layout.attributes()]);
        assert!(bytes[layout.data_range()] == intact[layout.data_range()]);
        let middle = layout.data_len / 2;
        assert!(verify_range(bytes, &header, middle..layout.data_len).is_ok());
    }
    whole
}

/// A header with any numbers; those that rise are below 2^63.
fn header_of(input: &mut Input<'_>, kind: Kind, layout: &NeedleLayout) -> NeedleHeader {
    NeedleHeader {
        kind,
        id: NeedleId::new(input.u64(), input.u32()),
        cookie: Cookie(input.u64()),
        version: input.u64() >> 1,
        modified_ns: input.u64(),
        attributes_len: u16::try_from(layout.attributes_len).expect("4 KiB"),
        data_len: u32::try_from(layout.data_len).expect("1 MiB"),
        body_len: input.u64(),
        previous: input.u64(),
        epoch: input.u64(),
        sequence: input.u64() >> 1,
        ordinal: u32::from(input.u16()),
        batch: input.u64(),
        batch_ordinal: input.u16(),
        batch_count: input.u16(),
        parts_units: input.u32(),
        data_checksum: 0,
        expires_ns: None,
        keeps_parts: false,
    }
}
