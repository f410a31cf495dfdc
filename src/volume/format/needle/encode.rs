//! Encoding a needle around its data.

use super::footer::encode_footer;
use super::header::{FLAG_COPY, NeedleHeader};
use super::kind::Kind;
use super::layout::{FOOTER_LEN, HEADER_LEN, NeedleLayout};
use crate::base::limits::{CHUNK, UNIT};
use crate::volume::format::checksum::{checksum, data_checksum, seed};
use crate::volume::format::field::Encoder;

/// Fills in the chunk checksums of the data in `needle`. Returns the checksum of the data, which is the
/// entity tag of a data needle.
pub fn encode_chunk_table(needle: &mut [u8], layout: &NeedleLayout) -> u64 {
    let (front, rest) = needle.split_at_mut(layout.data_start);
    encode_chunk_table_before(front, rest, layout)
}

/// Fills in the chunk checksums of the data as [`encode_chunk_table`] does, in a needle whose data cannot be
/// written: `front` is what is before the data, `rest` begins with the data.
pub fn encode_chunk_table_before(front: &mut [u8], rest: &[u8], layout: &NeedleLayout) -> u64 {
    let data = &rest[..layout.data_len];
    let table = &mut front[layout.chunk_table()];
    if !table.is_empty() {
        let mut out = Encoder::new(table);
        for chunk in data.chunks(CHUNK as usize) {
            out.u64(data_checksum(chunk));
        }
    }
    data_checksum(data)
}

/// Fills in chunk checksums that are already known. A part of a single chunk has no table. Of the needle,
/// what is before the data suffices.
///
/// # Panics
/// If there is not exactly one for each chunk.
pub fn put_chunk_table(needle: &mut [u8], layout: &NeedleLayout, sums: &[u64]) {
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
///
/// [`decode_header`]: super::decode_header
pub fn encode_data_needle(header: &NeedleHeader, incarnation: u64, offset: u64, needle: &mut [u8]) {
    let layout = header.layout();
    assert_eq!(needle.len(), layout.len);
    let (front, rest) = needle.split_at_mut(layout.data_start);
    encode_before_data(header, incarnation, offset, front);
    encode_behind_data(header, incarnation, offset, &mut rest[layout.data_len..]);
}

/// Completes what is before the data of a needle, as [`encode_data_needle`] does: attributes and chunk table
/// are already in `front`, which ends where the data begins.
///
/// # Panics
/// As [`encode_data_needle`].
pub fn encode_before_data(header: &NeedleHeader, incarnation: u64, offset: u64, front: &mut [u8]) {
    let layout = header.layout();
    assert_eq!(front.len(), layout.data_start);
    let table = layout.chunk_table();
    front[layout.attributes().end..table.start].fill(0);
    let meta = checksum(&front[HEADER_LEN..table.end], seed(incarnation, 0));
    header.encode(0, meta, seed(incarnation, offset), front);
}

/// Completes what is behind the data of a needle, as [`encode_data_needle`] does: `back` begins where the
/// data ends.
///
/// # Panics
/// As [`encode_data_needle`].
pub fn encode_behind_data(header: &NeedleHeader, incarnation: u64, offset: u64, back: &mut [u8]) {
    let layout = header.layout();
    assert_eq!(back.len(), layout.len - layout.data_range().end);
    let (padding, footer) = back.split_at_mut(back.len() - FOOTER_LEN);
    padding.fill(0);
    encode_footer(header, incarnation, offset, footer);
}

/// Encodes a tombstone for `offset` of the file `incarnation`, with its header in both units.
///
/// # Panics
/// If [`decode_header`] would refuse the header. If `needle` is not exactly 1024 bytes long.
///
/// [`decode_header`]: super::decode_header
pub fn encode_tombstone(header: &NeedleHeader, incarnation: u64, offset: u64, needle: &mut [u8]) {
    assert_eq!(header.kind, Kind::Tombstone);
    encode_header_only(header, incarnation, offset, needle);
}

/// Encodes a record of a loss, or of a damaged range, for `offset` of the file `incarnation`.
///
/// # Panics
/// As [`encode_tombstone`].
pub fn encode_loss(header: &NeedleHeader, incarnation: u64, offset: u64, needle: &mut [u8]) {
    assert!(header.kind.is_loss() || header.kind == Kind::DamagedRange);
    encode_header_only(header, incarnation, offset, needle);
}

fn encode_header_only(header: &NeedleHeader, incarnation: u64, offset: u64, needle: &mut [u8]) {
    let layout = NeedleLayout::header_only();
    assert_eq!(needle.len(), layout.len);
    needle.fill(0);
    let (first, second) = needle.split_at_mut(UNIT as usize);
    header.encode(0, 0, seed(incarnation, offset), first);
    header.encode(FLAG_COPY, 0, seed(incarnation, offset + UNIT), second);
    encode_footer(header, incarnation, offset, &mut needle[layout.len - FOOTER_LEN..]);
}
