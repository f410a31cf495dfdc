//! The bytes of a checkpoint: a copy of the index of a volume as it was when the log ended at some
//! position, in a file of its own. It is a sequence of pieces of whole blocks, each with a checksum; the
//! first is the header, the last the footer. `docs/FORMAT.md` specifies it.

use super::field::{Decoder, Encoder};
use super::{RISING_MAX, checksum, seed};
use crate::base::limits::{BLOCK, LOG_START, TRAILER, UNIT};

const MAGIC: [u8; 8] = *b"HAYLCKPT";
const VERSION: u32 = 1;
const CHECKSUM_LEN: usize = 8;
/// Offset of the payload in a piece (bytes).
pub const PAYLOAD_AT: usize = 64;
/// Maximum length of a piece (bytes).
pub const PIECE_MAX: usize = 256 << 10;
/// Maximum length of a payload (bytes).
pub const PAYLOAD_MAX: usize = PIECE_MAX - PAYLOAD_AT;
/// Number of entries of a bucket.
const BUCKET_LEN: usize = 8;
const SEGMENT_HEAD: usize = 16;
const PAIR_LEN: usize = 16;
const DAMAGE_LEN: usize = 32;
const ENTRY_LEN: usize = 8;

/// Kind of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Identity of the checkpoint; the first piece.
    Header = 1,
    /// Entries of the stash: pairs of hash and entry.
    Beside = 2,
    /// Segments of the table.
    Segments = 3,
    /// Pairs of the offset of a manifest and the length of its parts (bytes).
    Parts = 4,
    /// Damaged ranges.
    Damage = 5,
    /// Totals of all pieces; the last piece.
    Footer = 6,
}

impl PieceKind {
    fn of(number: u32) -> Option<Self> {
        let all =
            [Self::Header, Self::Beside, Self::Segments, Self::Parts, Self::Damage, Self::Footer];
        all.into_iter().find(|kind| *kind as u32 == number)
    }

    /// Condition of encoder and decoder for a piece: `payload` bytes hold exactly `count` entries of this
    /// kind. Segments differ in length; each contains its own.
    fn fits(self, count: u32, payload: usize) -> bool {
        let count = count as usize;
        let len = match self {
            Self::Header => count.checked_mul(HEADER_LEN).filter(|_| count == 1),
            Self::Footer => count.checked_mul(FOOTER_LEN).filter(|_| count == 1),
            Self::Beside | Self::Parts => count.checked_mul(PAIR_LEN),
            Self::Damage => count.checked_mul(DAMAGE_LEN),
            Self::Segments => Some(payload),
        };
        payload <= PAYLOAD_MAX && len == Some(payload)
    }
}

/// A valid piece.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    /// Kind of its entries.
    pub kind: PieceKind,
    /// Number of its entries.
    pub count: u32,
    /// The encoded entries.
    pub payload: &'a [u8],
    /// Checksum of the piece.
    pub sum: u64,
}

fn padded(payload: usize) -> usize {
    (PAYLOAD_AT + payload).next_multiple_of(BLOCK as usize)
}

/// Completes the piece whose payload is in `out` from [`PAYLOAD_AT`] on. Returns its length (bytes) and
/// its checksum.
///
/// # Panics
/// If [`open_piece`] would refuse it: `payload` is not the length of `count` entries of this kind, or is
/// too long. If `out` is shorter than the piece.
pub fn seal_piece(
    kind: PieceKind,
    number: u64,
    count: u32,
    payload: usize,
    incarnation: u64,
    out: &mut [u8],
) -> (usize, u64) {
    assert!(kind.fits(count, payload), "no reader accepts {count} in {payload} bytes of {kind:?}");
    put_piece(kind, number, count, payload, incarnation, out)
}

fn put_piece(
    kind: PieceKind,
    number: u64,
    count: u32,
    payload: usize,
    incarnation: u64,
    out: &mut [u8],
) -> (usize, u64) {
    let len = padded(payload);
    let payload_len = u32::try_from(payload).expect("at most 256 KiB");
    let mut head = Encoder::new(&mut out[CHECKSUM_LEN..PAYLOAD_AT]);
    head.bytes(&MAGIC).u64(number).u32(kind as u32).u32(count).u32(payload_len);
    head.zeros_to(PAYLOAD_AT - CHECKSUM_LEN);
    out[PAYLOAD_AT + payload..len].fill(0);
    let sum = checksum(&out[CHECKSUM_LEN..len], seed(incarnation, number));
    Encoder::new(out).u64(sum);
    (len, sum)
}

/// Returns the length of the piece that begins with these bytes (bytes); `None` when there is none.
#[must_use]
pub fn piece_len(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < PAYLOAD_AT || bytes[CHECKSUM_LEN..CHECKSUM_LEN + 8] != MAGIC {
        return None;
    }
    let payload = Decoder::new(&bytes[32..]).u32() as usize;
    (payload <= PAYLOAD_MAX).then(|| padded(payload))
}

/// Decodes piece `number`, which begins with these bytes. Returns `None` when there is no valid one.
/// Without `verified`, the checksum is not compared.
#[must_use]
pub fn open_piece(
    bytes: &[u8],
    number: u64,
    incarnation: u64,
    verified: bool,
) -> Option<Piece<'_>> {
    let bytes = bytes.get(..piece_len(bytes)?)?;
    let sum = Decoder::new(bytes).u64();
    if verified && checksum(&bytes[CHECKSUM_LEN..], seed(incarnation, number)) != sum {
        return None;
    }
    let mut head = Decoder::new(&bytes[CHECKSUM_LEN + 8..]);
    let (found, kind, count, len) = (head.u64(), head.u32(), head.u32(), head.u32() as usize);
    let payload = &bytes[PAYLOAD_AT..PAYLOAD_AT + len];
    let kind = PieceKind::of(kind).filter(|kind| found == number && kind.fits(count, len))?;
    Some(Piece { kind, count, payload, sum })
}

/// Adds a checksum to the checksum over all checksums so far.
#[must_use]
pub fn chain(so_far: u64, sum: u64) -> u64 {
    let mut both = [0; 16];
    Encoder::new(&mut both).u64(so_far).u64(sum);
    checksum(&both, 0)
}

/// A position in the log: the end of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// Offset of the record of that commit (bytes).
    pub record_at: u64,
    /// End of that commit (bytes).
    pub tail: u64,
    /// Sequence of that commit.
    pub sequence: u64,
    /// Checksum of that record.
    pub record_checksum: u64,
    /// Highest version up to the position.
    pub version: u64,
}

impl LogPlace {
    fn encode(&self, out: &mut Encoder<'_>) {
        out.u64(self.record_at).u64(self.tail).u64(self.sequence);
        out.u64(self.record_checksum).u64(self.version);
    }

    fn decode(input: &mut Decoder<'_>) -> Self {
        let (record_at, tail, sequence) = (input.u64(), input.u64(), input.u64());
        let (record_checksum, version) = (input.u64(), input.u64());
        Self { record_at, tail, sequence, record_checksum, version }
    }

    /// Returns whether such a position is possible in a log that ends at `log_end` at the latest.
    #[must_use]
    pub fn fits(&self, log_end: u64) -> bool {
        (LOG_START..self.tail).contains(&self.record_at)
            && self.tail <= log_end
            && self.record_at.is_multiple_of(BLOCK)
            && self.tail.is_multiple_of(BLOCK)
            && (1..RISING_MAX).contains(&self.sequence)
            && self.version < RISING_MAX
    }
}

/// Number of the values that describe the layout of the index. Only the index interprets them.
pub const LAYOUT_NUMBERS: usize = 8;

/// The first piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// Id of the store.
    pub store: [u8; 16],
    /// Number of the volume.
    pub volume: u32,
    /// Generation of the volume file.
    pub generation: u64,
    /// Incarnation of the volume file.
    pub incarnation: u64,
    /// Length of the volume file (bytes).
    pub size: u64,
    /// Seed of the hash of ids.
    pub hash_seed: u64,
    /// Layout of the index.
    pub layout: [u32; LAYOUT_NUMBERS],
    /// Covered position: the checkpoint contains everything that the log says before it.
    pub covers: LogPlace,
    /// Time at which it was begun (nanoseconds since 1970).
    pub written_ns: u64,
}

const HEADER_LEN: usize = 16 + 4 + 4 + 4 * 8 + LAYOUT_NUMBERS * 4 + 5 * 8 + 8;
/// Offset of the incarnation in the payload of a header (bytes).
const INCARNATION_AT: usize = 32;

impl CheckpointHeader {
    /// Encodes the payload into `out` and completes the piece. Returns its length (bytes) and its
    /// checksum.
    ///
    /// # Panics
    /// If [`Self::decode`] would refuse it. If `out` is shorter than a block.
    pub fn encode(&self, out: &mut [u8]) -> (usize, u64) {
        assert!(self.fits(), "no reader accepts {self:?}");
        self.put(out)
    }

    fn put(&self, out: &mut [u8]) -> (usize, u64) {
        let mut fields = Encoder::new(&mut out[PAYLOAD_AT..]);
        fields.u32(VERSION).u32(self.volume).bytes(&self.store).u64(self.generation);
        fields.u64(self.incarnation).u64(self.size).u64(self.hash_seed);
        for number in self.layout {
            fields.u32(number);
        }
        self.covers.encode(&mut fields);
        fields.u64(self.written_ns);
        let len = fields.len();
        debug_assert_eq!(len, HEADER_LEN);
        seal_piece(PieceKind::Header, 0, 1, len, self.incarnation, out)
    }

    /// Decodes the first piece, of whichever volume file it is. Also returns its checksum. Returns `None`
    /// when it is not valid or of another version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        let bytes = bytes.get(..BLOCK as usize)?;
        let incarnation = Decoder::new(&bytes[PAYLOAD_AT + INCARNATION_AT..]).u64();
        let piece = open_piece(bytes, 0, incarnation, true)?;
        if piece.kind != PieceKind::Header || piece.payload.len() != HEADER_LEN {
            return None;
        }
        let mut input = Decoder::new(piece.payload);
        if input.u32() != VERSION {
            return None;
        }
        let (volume, store, generation) = (input.u32(), input.bytes(), input.u64());
        let (incarnation, size, hash_seed) = (input.u64(), input.u64(), input.u64());
        let layout = std::array::from_fn(|_| input.u32());
        let covers = LogPlace::decode(&mut input);
        let written_ns = input.u64();
        let header = Self {
            store,
            volume,
            generation,
            incarnation,
            size,
            hash_seed,
            layout,
            covers,
            written_ns,
        };
        header.fits().then_some((header, piece.sum))
    }

    /// Condition of encoder and decoder: the covered position is possible in a file of this size.
    fn fits(&self) -> bool {
        self.size.checked_sub(TRAILER).is_some_and(|log_end| self.covers.fits(log_end))
    }
}

/// The last piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointFooter {
    /// Reached position: the end of the log when the last segment and the parts had been written. Nothing
    /// in the pieces is from after it.
    pub reached: LogPlace,
    /// Number of entries in the stash.
    pub beside: u64,
    /// Number of segments.
    pub segments: u64,
    /// Number of entries in the segments.
    pub entries: u64,
    /// Number of manifests with parts.
    pub parts: u64,
    /// Number of damaged ranges.
    pub damage: u64,
    /// Length of all pieces, this one included (bytes).
    pub len: u64,
    /// Checksum over the checksums of all preceding pieces.
    pub sums: u64,
}

const FOOTER_LEN: usize = 5 * 8 + 7 * 8;

impl CheckpointFooter {
    /// Encodes the payload into `out` and completes it as piece `number`. Returns its length (bytes).
    ///
    /// # Panics
    /// If [`Self::decode`] would refuse it. If `out` is shorter than a block.
    pub fn encode(&self, number: u64, incarnation: u64, out: &mut [u8]) -> usize {
        assert!(self.fits(), "no reader accepts {self:?}");
        self.put(number, incarnation, out)
    }

    fn put(&self, number: u64, incarnation: u64, out: &mut [u8]) -> usize {
        let mut fields = Encoder::new(&mut out[PAYLOAD_AT..]);
        self.reached.encode(&mut fields);
        fields.u64(self.beside).u64(self.segments).u64(self.entries).u64(self.parts);
        fields.u64(self.damage).u64(self.len).u64(self.sums);
        let len = fields.len();
        seal_piece(PieceKind::Footer, number, 1, len, incarnation, out).0
    }

    /// Decodes the payload of a footer. Returns `None` when it is not valid.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        if payload.len() != FOOTER_LEN {
            return None;
        }
        let mut input = Decoder::new(payload);
        let footer = Self {
            reached: LogPlace::decode(&mut input),
            beside: input.u64(),
            segments: input.u64(),
            entries: input.u64(),
            parts: input.u64(),
            damage: input.u64(),
            len: input.u64(),
            sums: input.u64(),
        };
        footer.fits().then_some(footer)
    }

    /// Conditions of encoder and decoder, independent of the volume file: a possible position, and a
    /// length of whole blocks, at least two (header and footer).
    fn fits(&self) -> bool {
        self.reached.fits(u64::MAX) && self.len >= 2 * BLOCK && self.len.is_multiple_of(BLOCK)
    }
}

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

/// Maximum number of pairs in a piece.
pub const PAIRS_MAX: usize = PAYLOAD_MAX / PAIR_LEN;

/// Encodes pairs of numbers. Returns their length (bytes).
///
/// # Panics
/// If `out` is too short.
pub fn encode_pairs(pairs: &[(u64, u64)], out: &mut [u8]) -> usize {
    let mut fields = Encoder::new(out);
    for (one, other) in pairs {
        fields.u64(*one).u64(*other);
    }
    fields.len()
}

/// Decodes pairs of numbers. Returns `None` when `payload` does not hold exactly `count` of them.
pub fn decode_pairs(payload: &[u8], count: u32) -> Option<impl Iterator<Item = (u64, u64)>> {
    let whole = payload.len() == (count as usize).checked_mul(PAIR_LEN)?;
    let mut input = Decoder::new(payload);
    whole.then(|| (0..count).map(move |_| (input.u64(), input.u64())))
}

/// A damaged range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamageRecord {
    /// Start of the range (bytes).
    pub offset: u64,
    /// Length of the range (bytes).
    pub len: u64,
    /// Key and alternate key of the needle in it, where they are known.
    pub id: Option<(u64, u32)>,
}

/// Maximum number of damaged ranges in a piece.
pub const DAMAGE_MAX: usize = PAYLOAD_MAX / DAMAGE_LEN;

/// Encodes damaged ranges. Returns their length (bytes).
///
/// # Panics
/// If `out` is too short.
pub fn encode_damage(places: &[DamageRecord], out: &mut [u8]) -> usize {
    let mut fields = Encoder::new(out);
    for place in places {
        let (key, alt) = place.id.unwrap_or_default();
        fields.u64(place.offset).u64(place.len);
        fields.u64(key).u32(alt).u32(u32::from(place.id.is_some()));
    }
    fields.len()
}

/// Decodes damaged ranges. Returns `None` when `payload` does not hold exactly `count` of them.
pub fn decode_damage(payload: &[u8], count: u32) -> Option<impl Iterator<Item = DamageRecord>> {
    let whole = payload.len() == (count as usize).checked_mul(DAMAGE_LEN)?;
    let mut input = Decoder::new(payload);
    let place = move |_| {
        let (offset, len, key, alt) = (input.u64(), input.u64(), input.u64(), input.u32());
        DamageRecord { offset, len, id: (input.u32() != 0).then_some((key, alt)) }
    };
    whole.then(|| (0..count).map(place))
}

const _: () = assert!(PAYLOAD_AT + HEADER_LEN <= BLOCK as usize);
const _: () = assert!(PAYLOAD_AT + FOOTER_LEN <= BLOCK as usize);
const _: () = assert!((PIECE_MAX as u64).is_multiple_of(BLOCK) && BLOCK.is_multiple_of(UNIT));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::volume::format::agreement::{accepts, number};

    const INCARNATION: u64 = 0x1bad_b002_dead_beef;

    fn place(n: u64) -> LogPlace {
        let (record_at, tail) = (LOG_START + n * BLOCK, LOG_START + (n + 1) * BLOCK);
        LogPlace { record_at, tail, sequence: n + 1, record_checksum: n ^ 99, version: 7 + n }
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
            covers: place(4),
            written_ns: 1_700_000_000_000_000_000,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = vec![0xff; PIECE_MAX];
        let (len, sum) = header().encode(&mut out);
        assert_eq!(len, BLOCK as usize);
        assert_eq!(CheckpointHeader::decode(&out), Some((header(), sum)));

        let footer = CheckpointFooter {
            reached: place(9),
            beside: 1,
            segments: 2,
            entries: 3,
            parts: 4,
            damage: 5,
            len: 9 * BLOCK,
            sums: 7,
        };
        let len = footer.encode(8, INCARNATION, &mut out);
        let piece = open_piece(&out[..len], 8, INCARNATION, true).unwrap();
        assert_eq!(piece.kind, PieceKind::Footer);
        assert_eq!(CheckpointFooter::decode(piece.payload), Some(footer));

        let buckets: Vec<[u64; 8]> =
            (0..100).map(|n| std::array::from_fn(|m| (n * m as u64) % 3 * (n + 1))).collect();
        let first = encode_segment(5, 3, buckets.iter().copied(), &mut out[PAYLOAD_AT..]);
        let all = buckets.iter().flatten().filter(|entry| **entry != 0).count();
        assert_eq!(first, segment_len(100, all));
        let second = encode_segment(1, 1, [[0; 8]].into_iter(), &mut out[PAYLOAD_AT + first..]);
        let (len, _) = seal_piece(PieceKind::Segments, 1, 2, first + second, INCARNATION, &mut out);
        let piece = open_piece(&out[..len], 1, INCARNATION, true).unwrap();
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
            DamageRecord { offset: 512, len: 4096, id: Some((8, 9)) },
            DamageRecord { offset: 1024, len: 1, id: None },
        ];
        let len = encode_damage(&damage, &mut out);
        assert!(decode_damage(&out[..len], 2).unwrap().eq(damage));
    }

    fn any_place() -> impl Strategy<Value = LogPlace> {
        (number(), number(), number(), number()).prop_map(|(record_at, tail, sequence, version)| {
            LogPlace { record_at, tail, sequence, record_checksum: 5, version }
        })
    }

    proptest! {
        #[test]
        fn a_header_is_encoded_exactly_when_it_would_be_decoded(
            (covers, size, written_ns) in (any_place(), number(), number()),
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
        fn a_footer_is_encoded_exactly_when_it_would_be_decoded(
            (reached, len, entries) in (any_place(), number(), number()),
        ) {
            let footer = CheckpointFooter {
                reached, beside: 1, segments: 2, entries, parts: 3, damage: 4, len, sums: 5,
            };
            let mut out = vec![0xee; BLOCK as usize];
            footer.put(3, INCARNATION, &mut out);
            let piece = open_piece(&out, 3, INCARNATION, true).expect("its checksum is right");
            let read = CheckpointFooter::decode(piece.payload);
            prop_assert!(read.is_none_or(|read| read == footer));
            let mut again = vec![0; BLOCK as usize];
            let accepted = accepts(|| { footer.encode(3, INCARNATION, &mut again); });
            prop_assert_eq!(accepted, read.is_some());
        }

        #[test]
        fn a_piece_is_sealed_exactly_when_it_would_be_opened(
            kind in 1u32..7,
            (count, each) in (0u32..4, prop_oneof![Just(16usize), Just(32), Just(96), Just(HEADER_LEN)]),
            more in prop_oneof![Just(0usize), Just(1), Just(PAYLOAD_MAX - 10), Just(PAYLOAD_MAX + 1)],
        ) {
            let kind = PieceKind::of(kind).expect("1 to 6");
            let payload = count as usize * each + more;
            let mut out = vec![0; 2 * PIECE_MAX];
            put_piece(kind, 3, count, payload, INCARNATION, &mut out);
            let read = open_piece(&out, 3, INCARNATION, true).is_some();
            let mut again = vec![0; 2 * PIECE_MAX];
            let accepted = accepts(|| {
                seal_piece(kind, 3, count, payload, INCARNATION, &mut again);
            });
            prop_assert_eq!(accepted, read);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut out = vec![0; PIECE_MAX];
        let (len, _) = header().encode(&mut out);
        for bit in 0..len * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(CheckpointHeader::decode(&out), None, "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
        let payload = encode_pairs(&[(1, 2), (3, 4)], &mut out[PAYLOAD_AT..]);
        let (len, _) = seal_piece(PieceKind::Parts, 2, 2, payload, INCARNATION, &mut out);
        for bit in 0..len * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert!(open_piece(&out, 2, INCARNATION, true).is_none(), "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(open_piece(&out, 2, INCARNATION, true).is_some());
        assert!(open_piece(&out, 1, INCARNATION, true).is_none(), "a piece of another place");
        assert!(open_piece(&out, 2, INCARNATION + 1, true).is_none(), "a piece of another file");
        for len in 0..len {
            assert!(open_piece(&out[..len], 2, INCARNATION, true).is_none());
        }
    }
}
