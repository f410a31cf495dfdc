//! Verifying the sections of a needle by their checksums.

use std::ops::Range;

use thiserror::Error;

use super::header::NeedleHeader;
use super::layout::HEADER_LEN;
use crate::base::limits::CHUNK;
use crate::volume::format::checksum::{checksum, data_checksum, seed};
use crate::volume::format::field::Decoder;

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
    if header.kind.is_header_only() {
        return Ok(());
    }
    let Meta { stored, computed } = Meta::of(needle, header, incarnation);
    if computed == stored { Ok(()) } else { Err(Unreadable::Meta) }
}

const META_CHECKSUM_AT: usize = 104;

/// Checksums of the attributes and the chunk table of a needle.
pub(super) struct Meta {
    /// The one in the header.
    pub(super) stored: u64,
    /// That of the bytes.
    pub(super) computed: u64,
}

impl Meta {
    pub(super) fn of(needle: &[u8], header: &NeedleHeader, incarnation: u64) -> Self {
        let end = header.layout().data_start;
        Self {
            stored: Decoder::new(&needle[META_CHECKSUM_AT..]).u64(),
            computed: checksum(&needle[HEADER_LEN..end], seed(incarnation, 0)),
        }
    }
}

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
