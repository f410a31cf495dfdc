//! Segments of the table in a piece: occupied slots only.

use crate::volume::format::field::{Decoder, Encoder};

/// Number of entries of a bucket.
const BUCKET_LEN: usize = 8;
const SEGMENT_HEAD: usize = 16;
const ENTRY_LEN: usize = 8;

/// A segment of the table.
#[derive(Clone, Copy)]
pub struct SegmentRecord<'a> {
    /// Leading bits that all its hashes have in common.
    pub prefix: u32,
    /// Number of these leading bits.
    pub depth: u32,
    /// Number of entries.
    pub len: u32,
    occupied: &'a [u8],
    entries: &'a [u8],
}

/// Length of a segment with these numbers of buckets and entries (bytes).
#[must_use]
pub fn segment_len(buckets: usize, entries: usize) -> usize {
    SEGMENT_HEAD + buckets + entries * ENTRY_LEN
}

/// Encodes a segment. Returns its length (bytes).
///
/// # Panics
/// If `out` is too short for it.
pub fn encode_segment(
    prefix: u32,
    depth: u32,
    buckets: impl ExactSizeIterator<Item = [u64; BUCKET_LEN]>,
    out: &mut [u8],
) -> usize {
    let count = buckets.len();
    let (head, rest) = out.split_at_mut(SEGMENT_HEAD);
    let (occupied, rest) = rest.split_at_mut(count);
    let mut entries = Encoder::new(rest);
    for (set, bucket) in occupied.iter_mut().zip(buckets) {
        *set = 0;
        for (n, entry) in bucket.into_iter().enumerate() {
            if entry != 0 {
                *set |= 1 << n;
                entries.u64(entry);
            }
        }
    }
    let len = entries.len();
    let number = |count: usize| u32::try_from(count).expect("a segment has at most 16,384 entries");
    Encoder::new(head).u32(prefix).u32(depth).u32(number(count)).u32(number(len / ENTRY_LEN));
    SEGMENT_HEAD + count + len
}

impl<'a> SegmentRecord<'a> {
    /// Decodes the segment at the beginning of `bytes`. Also returns the bytes after it. Returns `None`
    /// when it is not complete.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_at_checked(SEGMENT_HEAD)?;
        let mut input = Decoder::new(head);
        let (prefix, depth, buckets, len) = (input.u32(), input.u32(), input.u32(), input.u32());
        let (occupied, rest) = rest.split_at_checked(buckets as usize)?;
        let (entries, rest) = rest.split_at_checked((len as usize).checked_mul(ENTRY_LEN)?)?;
        let count: u32 = occupied.iter().map(|set| set.count_ones()).sum();
        (count == len).then_some((Self { prefix, depth, len, occupied, entries }, rest))
    }

    /// Returns its buckets; a free slot is 0.
    #[must_use]
    pub fn buckets(self) -> impl ExactSizeIterator<Item = [u64; BUCKET_LEN]> {
        let mut entries = Decoder::new(self.entries);
        self.occupied.iter().map(move |set| {
            let entry = |n: usize| if set >> n & 1 == 1 { entries.u64() } else { 0 };
            std::array::from_fn(entry)
        })
    }
}
