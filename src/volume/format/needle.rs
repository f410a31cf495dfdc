//! Needles: header, attributes, chunk checksums, data, padding, footer.
//!
//! The footer ends the needle's last unit, so that a scan finds it without the header. It identifies a
//! needle whose header is damaged.

use std::ops::{Range, RangeInclusive};

use thiserror::Error;

use super::field::{Decoder, Encoder};
use super::{RISING_MAX, checksum, data_checksum, seed};
use crate::base::limits::{ATTRIBUTES_MAX, CHUNK, NEEDLE_DATA_MAX, NEEDLE_LEN_MAX, UNIT};
use crate::base::types::{Cookie, NeedleId};

const HEADER_MAGIC: [u8; 4] = *b"HNDL";
const FOOTER_MAGIC: [u8; 4] = *b"HEND";
/// Length of the fixed header (bytes).
pub const HEADER_LEN: usize = 128;
const HEADER_CHECKSUM_AT: usize = HEADER_LEN - 8;
/// Length of the footer (bytes).
pub const FOOTER_LEN: usize = 56;
const TOMBSTONE_UNITS: u32 = 2;
/// Minimum length of a needle (bytes). Header and footer never share a sector, so that the loss of one
/// sector never affects both.
const NEEDLE_LEN_MIN: usize = 2 * UNIT as usize;
/// Permitted lengths of a needle (units).
const UNITS: RangeInclusive<u32> = 2..=(NEEDLE_LEN_MAX / UNIT) as u32;
const FLAG_COPY: u8 = 1;

const _: () = assert!(NEEDLE_LEN_MIN as u64 == *UNITS.start() as u64 * UNIT);

/// Kind of a needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object that is stored in one needle.
    Data,
    /// Records that a needle is deleted. Its header is stored twice, in two units.
    Tombstone,
    /// A piece of a multipart object; not indexed.
    Part,
    /// Names the parts of a multipart object.
    Manifest,
}

impl Kind {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Data,
            2 => Self::Tombstone,
            3 => Self::Part,
            4 => Self::Manifest,
            _ => return None,
        })
    }

    fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Tombstone => 2,
            Self::Part => 3,
            Self::Manifest => 4,
        }
    }
}

/// The fixed header of a needle.
#[derive(Clone, Copy, Debug)]
pub struct NeedleHeader {
    /// Kind of the needle.
    pub kind: Kind,
    /// Id of the needle.
    pub id: NeedleId,
    /// Cookie that a reader must present.
    pub cookie: Cookie,
    /// Version; the highest version of an id counts.
    pub version: u64,
    /// Time for `Last-Modified` (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Length of the attributes (bytes).
    pub attributes_len: u16,
    /// Length of the data (bytes).
    pub data_len: u32,
    /// Length of the body (bytes): of a manifest the sum of its parts, else `data_len`.
    pub body_len: u64,
    /// Offset of the needle that this one supersedes or deletes (bytes); 0 for none.
    pub previous: u64,
    /// Epoch of its commit.
    pub epoch: u64,
    /// Sequence of its commit.
    pub sequence: u64,
    /// Position in its commit, from 0.
    pub ordinal: u32,
    /// Id of the batch put to which the needle belongs; 0 for none.
    pub batch: u64,
    /// Position in the batch put, from 0.
    pub batch_ordinal: u16,
    /// Number of needles in the batch put.
    pub batch_count: u16,
    /// In a manifest: length of its parts on disk (units); else 0.
    pub parts_units: u32,
    /// XXH3-64 of the body, without a seed: the entity tag.
    pub data_checksum: u64,
}

/// Offsets and lengths of the sections of a needle, relative to its start (bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Length of the attributes.
    pub attributes_len: usize,
    /// Offset of the data.
    pub data_start: usize,
    /// Length of the data.
    pub data_len: usize,
    /// Length of the chunk table, which is right before the data.
    table_len: usize,
    /// Length of the needle: a multiple of 512.
    pub len: usize,
}

impl Layout {
    /// Returns the layout of a data needle or a part.
    ///
    /// # Panics
    /// If a length is beyond its limit.
    #[must_use]
    pub fn data(attributes_len: usize, data_len: usize) -> Self {
        // Data of a single chunk needs no table: the data checksum of the needle is that of the chunk.
        let chunks = data_len.div_ceil(CHUNK as usize);
        Self::with_table(attributes_len, data_len, if chunks > 1 { chunks } else { 0 })
    }

    /// Returns the layout of a manifest. Its data always has a chunk table, because its data checksum is
    /// that of the body.
    ///
    /// # Panics
    /// If a length is beyond its limit.
    #[must_use]
    pub fn manifest(attributes_len: usize, data_len: usize) -> Self {
        Self::with_table(attributes_len, data_len, data_len.div_ceil(CHUNK as usize))
    }

    fn with_table(attributes_len: usize, data_len: usize, chunks: usize) -> Self {
        assert!(attributes_len <= ATTRIBUTES_MAX && data_len as u64 <= NEEDLE_DATA_MAX);
        let table_len = chunks * 8;
        let data_start = HEADER_LEN + attributes_len.next_multiple_of(8) + table_len;
        let len = (data_start + data_len + FOOTER_LEN).next_multiple_of(UNIT as usize);
        let len = len.max(NEEDLE_LEN_MIN);
        Self { attributes_len, data_start, data_len, table_len, len }
    }

    fn tombstone() -> Self {
        let len = TOMBSTONE_UNITS as usize * UNIT as usize;
        Self { attributes_len: 0, data_start: HEADER_LEN, data_len: 0, table_len: 0, len }
    }

    /// Length of the needle (units).
    #[must_use]
    pub fn units(&self) -> u32 {
        u32::try_from(self.len / UNIT as usize).expect("a needle is little more than 1 MiB long")
    }

    /// Range of the attributes.
    #[must_use]
    pub fn attributes(&self) -> Range<usize> {
        HEADER_LEN..HEADER_LEN + self.attributes_len
    }

    /// Range of the data.
    #[must_use]
    pub fn data_range(&self) -> Range<usize> {
        self.data_start..self.data_start + self.data_len
    }

    fn chunk_table(&self) -> Range<usize> {
        self.data_start - self.table_len..self.data_start
    }
}

impl NeedleHeader {
    /// Returns the layout of this needle.
    #[must_use]
    pub fn layout(&self) -> Layout {
        match self.kind {
            Kind::Tombstone => Layout::tombstone(),
            Kind::Data | Kind::Part => {
                Layout::data(usize::from(self.attributes_len), self.data_len as usize)
            }
            Kind::Manifest => {
                Layout::manifest(usize::from(self.attributes_len), self.data_len as usize)
            }
        }
    }

    /// In a manifest: length of its parts on disk (bytes); else 0.
    #[must_use]
    pub fn parts_len(&self) -> u64 {
        u64::from(self.parts_units) * UNIT
    }

    fn encode(&self, flags: u8, meta_checksum: u64, seed: u64, out: &mut [u8]) {
        assert!(self.fits(self.layout().units()), "no reader accepts {self:?}");
        self.put(flags, meta_checksum, seed, self.layout().units(), out);
    }

    fn put(&self, flags: u8, meta_checksum: u64, seed: u64, units: u32, out: &mut [u8]) {
        let sum = {
            let mut fields = Encoder::new(&mut out[..HEADER_CHECKSUM_AT]);
            fields.bytes(&HEADER_MAGIC).u8(self.kind.code()).u8(flags).u16(self.attributes_len);
            fields.u64(self.id.key.0).u32(self.id.alt.0).u32(units);
            fields.u64(self.cookie.0).u64(self.version).u64(self.modified_ns);
            fields.u32(self.data_len).u16(self.batch_ordinal).u16(self.batch_count);
            fields.u64(self.previous).u64(self.epoch).u64(self.sequence);
            fields.u32(self.ordinal).u32(self.parts_units).u64(self.batch);
            fields.u64(self.data_checksum).u64(meta_checksum).u64(self.body_len);
            debug_assert_eq!(fields.len(), HEADER_CHECKSUM_AT);
            checksum(fields.written(), seed)
        };
        Encoder::new(&mut out[HEADER_CHECKSUM_AT..]).u64(sum);
    }

    /// Conditions of encoder and decoder for the header of a needle of `units` units.
    fn fits(&self, units: u32) -> bool {
        let lengths_fit = match self.kind {
            Kind::Tombstone => {
                self.attributes_len == 0 && self.data_len == 0 && units == TOMBSTONE_UNITS
            }
            _ => {
                usize::from(self.attributes_len) <= ATTRIBUTES_MAX
                    && u64::from(self.data_len) <= NEEDLE_DATA_MAX
                    && self.layout().units() == units
            }
        };
        lengths_fit && self.version.max(self.sequence) < RISING_MAX
    }
}

/// Fills in the chunk checksums of the data in `needle`. Returns the checksum of the data, which is the
/// entity tag of a data needle.
pub fn encode_chunk_table(needle: &mut [u8], layout: &Layout) -> u64 {
    let (front, data) = needle.split_at_mut(layout.data_start);
    let data = &data[..layout.data_len];
    let table = &mut front[layout.chunk_table()];
    if !table.is_empty() {
        let mut out = Encoder::new(table);
        for chunk in data.chunks(CHUNK as usize) {
            out.u64(data_checksum(chunk));
        }
    }
    data_checksum(data)
}

/// Fills in chunk checksums that are already known. A part of a single chunk has no table.
///
/// # Panics
/// If there is not exactly one for each chunk.
pub fn put_chunk_table(needle: &mut [u8], layout: &Layout, sums: &[u64]) {
    let table = &mut needle[layout.chunk_table()];
    if !table.is_empty() {
        assert_eq!(table.len(), sums.len() * 8, "a checksum for each chunk");
        let mut out = Encoder::new(table);
        for sum in sums {
            out.u64(*sum);
        }
    }
}

/// Completes a needle whose attributes, chunk table and data are already in `needle`, for `offset` of the
/// file `incarnation`: writes header, padding and footer.
///
/// # Panics
/// If [`decode_header`] would refuse the header. If the length of `needle` is not the one that follows
/// from the header.
pub fn encode_data_needle(header: &NeedleHeader, incarnation: u64, offset: u64, needle: &mut [u8]) {
    let layout = header.layout();
    assert_eq!(needle.len(), layout.len);
    let table = layout.chunk_table();
    needle[layout.attributes().end..table.start].fill(0);
    let meta = checksum(&needle[HEADER_LEN..table.end], seed(incarnation, 0));
    header.encode(0, meta, seed(incarnation, offset), needle);
    needle[layout.data_range().end..layout.len - FOOTER_LEN].fill(0);
    encode_footer(header, incarnation, offset, &mut needle[layout.len - FOOTER_LEN..]);
}

/// Encodes a tombstone for `offset` of the file `incarnation`, with its header in both units.
///
/// # Panics
/// If [`decode_header`] would refuse the header. If `needle` is not exactly 1024 bytes long.
pub fn encode_tombstone(header: &NeedleHeader, incarnation: u64, offset: u64, needle: &mut [u8]) {
    let layout = Layout::tombstone();
    assert!(header.kind == Kind::Tombstone && needle.len() == layout.len);
    needle.fill(0);
    let (first, second) = needle.split_at_mut(UNIT as usize);
    header.encode(0, 0, seed(incarnation, offset), first);
    header.encode(FLAG_COPY, 0, seed(incarnation, offset + UNIT), second);
    encode_footer(header, incarnation, offset, &mut needle[layout.len - FOOTER_LEN..]);
}

fn encode_footer(header: &NeedleHeader, incarnation: u64, offset: u64, out: &mut [u8]) {
    let sum = {
        let mut fields = Encoder::new(&mut out[..FOOTER_LEN - 8]);
        fields.bytes(&FOOTER_MAGIC).u32(header.id.alt.0).u64(header.id.key.0);
        let ordinal =
            u16::try_from(header.ordinal).expect("a commit holds fewer than 65,536 needles");
        fields.u32(header.layout().units()).u8(header.kind.code()).u8(0).u16(ordinal);
        fields.u64(header.sequence).u64(header.epoch).u64(header.cookie.0);
        debug_assert_eq!(fields.len(), FOOTER_LEN - 8);
        checksum(fields.written(), seed(incarnation, offset))
    };
    Encoder::new(&mut out[FOOTER_LEN - 8..]).u64(sum);
}

/// Decodes the header at `offset` of the file `incarnation`. Returns `None` when it is not valid there.
/// The second header of a tombstone is in the second unit of the tombstone: the number returned is the
/// distance back to the start of the needle (bytes).
#[must_use]
pub fn decode_header(bytes: &[u8], incarnation: u64, offset: u64) -> Option<(NeedleHeader, u64)> {
    if bytes.len() < HEADER_LEN || bytes[..4] != HEADER_MAGIC {
        return None;
    }
    let sum = Decoder::new(&bytes[HEADER_CHECKSUM_AT..]).u64();
    if checksum(&bytes[..HEADER_CHECKSUM_AT], seed(incarnation, offset)) != sum {
        return None;
    }
    let mut input = Decoder::new(&bytes[4..HEADER_LEN]);
    let (kind, flags, attributes_len) = (input.u8(), input.u8(), input.u16());
    let kind = Kind::from_code(kind)?;
    let (key, alt, units) = (input.u64(), input.u32(), input.u32());
    let (cookie, version, modified_ns) = (Cookie(input.u64()), input.u64(), input.u64());
    let (data_len, batch_ordinal, batch_count) = (input.u32(), input.u16(), input.u16());
    let (previous, epoch, sequence) = (input.u64(), input.u64(), input.u64());
    let (ordinal, parts_units) = (input.u32(), input.u32());
    let (batch, data_checksum, _meta) = (input.u64(), input.u64(), input.u64());
    let header = NeedleHeader {
        kind,
        id: NeedleId::new(key, alt),
        cookie,
        version,
        modified_ns,
        attributes_len,
        data_len,
        body_len: input.u64(),
        previous,
        epoch,
        sequence,
        ordinal,
        batch,
        batch_ordinal,
        batch_count,
        parts_units,
        data_checksum,
    };
    if !header.fits(units) {
        return None;
    }
    let back = match (kind, flags & FLAG_COPY) {
        (_, 0) => 0,
        (Kind::Tombstone, _) => UNIT,
        _ => return None,
    };
    Some((header, back))
}

/// Footer of a needle. It identifies the needle when the header is damaged.
#[derive(Clone, Copy, Debug)]
pub struct Footer {
    /// Kind of the needle.
    pub kind: Kind,
    /// Id of the needle.
    pub id: NeedleId,
    /// Length of the needle (units).
    pub units: u32,
    /// Sequence of its commit.
    pub sequence: u64,
    /// Epoch of its commit.
    pub epoch: u64,
    /// Position in its commit.
    pub ordinal: u32,
    /// Cookie that a reader must present.
    pub cookie: Cookie,
    /// Offset of the needle (bytes).
    pub start: u64,
}

/// Decodes the footer in the last bytes of `unit`, which ends at `end` of the file `incarnation`. Returns
/// `None` when it is not valid there.
#[must_use]
pub fn footer_at(unit: &[u8], incarnation: u64, end: u64) -> Option<Footer> {
    let bytes = unit.last_chunk::<FOOTER_LEN>()?;
    if bytes[..4] != FOOTER_MAGIC {
        return None;
    }
    let mut input = Decoder::new(&bytes[4..]);
    let (alt, key, units) = (input.u32(), input.u64(), input.u32());
    let kind = input.u8();
    input.skip(1);
    let ordinal = u32::from(input.u16());
    let (sequence, epoch, cookie) = (input.u64(), input.u64(), Cookie(input.u64()));
    let sum = input.u64();
    let start = end.checked_sub(u64::from(units) * UNIT)?;
    if checksum(&bytes[..FOOTER_LEN - 8], seed(incarnation, start)) != sum {
        return None;
    }
    let kind = Kind::from_code(kind)?;
    if !UNITS.contains(&units) || sequence >= RISING_MAX {
        return None;
    }
    let id = NeedleId::new(key, alt);
    Some(Footer { kind, id, units, sequence, epoch, ordinal, cookie, start })
}

/// Section of a needle whose checksum does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// The fixed header.
    #[error("its header is damaged")]
    Header,
    /// The attributes or the chunk checksums.
    #[error("its attributes or chunk checksums are damaged")]
    Meta,
    /// A chunk of the data; the number counts from 0.
    #[error("chunk {0} of its data is damaged")]
    Chunk(usize),
}

/// Verifies attributes and chunk table.
///
/// # Errors
/// [`Unreadable::Meta`].
pub fn verify_meta(
    needle: &[u8],
    header: &NeedleHeader,
    incarnation: u64,
) -> Result<(), Unreadable> {
    if header.kind == Kind::Tombstone {
        return Ok(());
    }
    let stored = Decoder::new(&needle[META_CHECKSUM_AT..]).u64();
    let end = header.layout().data_start;
    if checksum(&needle[HEADER_LEN..end], seed(incarnation, 0)) == stored {
        Ok(())
    } else {
        Err(Unreadable::Meta)
    }
}

const META_CHECKSUM_AT: usize = 104;

/// Verifies the chunks that hold bytes `range` of the data (relative to the start of the data). The chunk
/// table must have been verified before.
///
/// # Errors
/// [`Unreadable::Chunk`] with the number of the first damaged chunk.
pub fn verify_range(
    needle: &[u8],
    header: &NeedleHeader,
    range: Range<usize>,
) -> Result<(), Unreadable> {
    let layout = header.layout();
    let data = &needle[layout.data_range()];
    let table = &needle[layout.chunk_table()];
    if table.is_empty() {
        let whole = data_checksum(data) == header.data_checksum;
        return if whole { Ok(()) } else { Err(Unreadable::Chunk(0)) };
    }
    let chunk_len = CHUNK as usize;
    let chunks = range.start / chunk_len..range.end.div_ceil(chunk_len);
    for (n, chunk) in data.chunks(chunk_len).enumerate().take(chunks.end).skip(chunks.start) {
        if data_checksum(chunk) != Decoder::new(&table[n * 8..]).u64() {
            return Err(Unreadable::Chunk(n));
        }
    }
    Ok(())
}

/// Verifies all of the data.
///
/// # Errors
/// See [`verify_range`].
pub fn verify_data(needle: &[u8], header: &NeedleHeader) -> Result<(), Unreadable> {
    verify_range(needle, header, 0..header.data_len as usize)
}

/// An attribute of a needle. Attributes with unknown codes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Code; see the constants.
    pub code: u16,
    /// Value as stored.
    pub value: &'a [u8],
}

impl Attribute<'_> {
    /// Content type, as in the HTTP header.
    pub const CONTENT_TYPE: u16 = 1;

    /// Length of the attribute on disk (bytes).
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        4 + self.value.len()
    }
}

/// Encodes attributes one after the other. Returns their length (bytes).
///
/// # Panics
/// If `out` is too short.
pub fn attribute_bytes(attributes: &[Attribute<'_>], out: &mut [u8]) -> usize {
    let mut fields = Encoder::new(out);
    for attribute in attributes {
        let len = u16::try_from(attribute.value.len()).expect("attributes are at most 4 KiB long");
        fields.u16(attribute.code).u16(len).bytes(attribute.value);
    }
    fields.len()
}

/// Iterates over the attributes in `bytes`. Ends at the first incomplete entry.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.len() < 4 {
            return None;
        }
        let mut input = Decoder::new(rest);
        let (code, len) = (input.u16(), usize::from(input.u16()));
        let value = rest.get(4..4 + len)?;
        rest = &rest[4 + len..];
        Some(Attribute { code, value })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::format::agreement::{accepts, number};
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
        }
    }

    fn needle(data: &[u8], content_type: &[u8], offset: u64) -> Vec<u8> {
        let attribute = Attribute { code: Attribute::CONTENT_TYPE, value: content_type };
        let layout = Layout::data(attribute.encoded_len(), data.len());
        let mut bytes = vec![0xee; layout.len];
        attribute_bytes(&[attribute], &mut bytes[HEADER_LEN..]);
        bytes[layout.data_range()].copy_from_slice(data);
        let tag = encode_chunk_table(&mut bytes, &layout);
        assert_eq!(tag, data_checksum(data));
        encode_data_needle(&header(data, attribute.encoded_len()), 42, offset, &mut bytes);
        bytes
    }

    #[test]
    fn a_needle_reads_back_at_its_place_only() {
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
    fn every_flipped_bit_outside_padding_is_noticed() {
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
    fn a_range_is_verified_without_the_rest() {
        let mut bytes = needle(&vec![1; 300_000], b"x/y", 512);
        let (read, _) = decode_header(&bytes, 42, 512).unwrap();
        bytes[read.layout().data_start + 70_000] ^= 1;
        assert_eq!(verify_range(&bytes, &read, 0..65_536), Ok(()));
        assert_eq!(verify_range(&bytes, &read, 131_072..300_000), Ok(()));
        assert_eq!(verify_range(&bytes, &read, 65_536..65_537), Err(Unreadable::Chunk(1)));
        assert_eq!(verify_range(&bytes, &read, 0..300_000), Err(Unreadable::Chunk(1)));
    }

    #[test]
    fn either_copy_of_a_tombstone_tells_it_whole() {
        let mut deleted = header(&[], 0);
        deleted.kind = Kind::Tombstone;
        let mut bytes = [0xee; 1024];
        encode_tombstone(&deleted, 42, 8192, &mut bytes);
        assert_eq!(decode_header(&bytes, 42, 8192).unwrap().1, 0);
        assert_eq!(decode_header(&bytes[512..], 42, 8704).unwrap().1, 512);
        assert_eq!(footer_at(&bytes, 42, 9216).unwrap().kind, Kind::Tombstone);
    }

    #[test]
    fn a_footer_of_an_impossible_length_is_none() {
        let whole = needle(&vec![7; 1 << 20], b"a/b", 65_536);
        let end = 65_536 + whole.len() as u64;
        let at = whole.len() - FOOTER_LEN;
        for (units, possible) in [(0u32, false), (1, false), (2, true), (2064, true), (2065, false)]
        {
            let mut footer = whole[at..].to_vec();
            footer[16..20].copy_from_slice(&units.to_le_bytes());
            let start = end - u64::from(units) * UNIT;
            let sum = checksum(&footer[..FOOTER_LEN - 8], seed(42, start));
            footer[FOOTER_LEN - 8..].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(footer_at(&footer, 42, end).is_some(), possible, "{units}");
        }
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Data), Just(Kind::Tombstone), Just(Kind::Part), Just(Kind::Manifest)]
    }

    proptest! {
        /// `units` is computed by the encoder. An impossible layout has none, so the limit is used.
        #[test]
        fn a_header_is_encoded_exactly_when_it_would_be_decoded(
            (kind, version, sequence) in (any_kind(), number(), number()),
            attributes_len in prop_oneof![Just(0u16), 0u16..5000],
            data_len in prop_oneof![Just(0u32), 0u32..3 << 19, (1u32 << 20) - 2..(1 << 20) + 3],
            (modified_ns, body_len, ordinal) in (number(), number(), 65_530u32..65_540),
        ) {
            let written = NeedleHeader {
                kind, version, sequence, attributes_len, data_len, modified_ns, body_len, ordinal,
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
}
