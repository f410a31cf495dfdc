//! Offsets and lengths of the sections of a needle.

use std::ops::{Range, RangeInclusive};

use crate::base::limits::{ATTRIBUTES_MAX, CHUNK, NEEDLE_DATA_MAX, NEEDLE_LEN_MAX, UNIT};

/// Length of the fixed header (bytes).
pub const HEADER_LEN: usize = 128;
/// Length of the footer (bytes).
pub const FOOTER_LEN: usize = 56;
/// Length of a needle that consists of its header, stored twice, and a footer (units).
pub(super) const HEADER_ONLY_UNITS: u32 = 2;
/// Minimum length of a needle (bytes). Header and footer never share a sector, so that the loss of one
/// sector never affects both.
const NEEDLE_LEN_MIN: usize = 2 * UNIT as usize;
/// Permitted lengths of a needle (units).
pub(super) const UNITS: RangeInclusive<u32> = 2..=(NEEDLE_LEN_MAX / UNIT) as u32;

const _: () = assert!(NEEDLE_LEN_MIN as u64 == *UNITS.start() as u64 * UNIT);

/// Offsets and lengths of the sections of a needle, relative to its start (bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedleLayout {
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

impl NeedleLayout {
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

    /// Returns the layout of a needle that consists of its header, stored twice, and a footer.
    #[must_use]
    pub fn header_only() -> Self {
        let len = HEADER_ONLY_UNITS as usize * UNIT as usize;
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

    pub(super) fn chunk_table(&self) -> Range<usize> {
        self.data_start - self.table_len..self.data_start
    }
}
