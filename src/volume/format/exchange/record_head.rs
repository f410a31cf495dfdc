//! The head of a record. The attributes and the data follow it.

use super::bad_exchange::BadExchange;
use super::record_kind::ExchangeKind;
use crate::base::limits::{ATTRIBUTES_MAX, NEEDLE_DATA_MAX};
use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::checksum::{checksum, data_checksum, seed};
use crate::volume::format::field::{Decoder, Encoder};
use crate::volume::format::rising::RISING_MAX;

const MAGIC: [u8; 4] = *b"XREC";
/// Length of the head of a record (bytes).
pub const RECORD_HEAD_LEN: usize = 104;
const CHECKSUM_AT: usize = RECORD_HEAD_LEN - 8;

/// The head of a record.
#[derive(Clone, Copy, Debug)]
pub struct RecordHead {
    /// Kind of the record.
    pub kind: ExchangeKind,
    /// Number of the record in the stream, from 0.
    pub number: u64,
    /// Id of the object.
    pub id: NeedleId,
    /// Cookie that a reader of the object must present.
    pub cookie: Cookie,
    /// Version of the object or of the deletion; 0 if it is not known. At the end of the stream the position
    /// at which it goes on.
    pub version: u64,
    /// Time of modification, or of the deletion (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Length of the body of the object (bytes).
    pub body_len: u64,
    /// XXH3-64 of the body of the object.
    pub body_checksum: u64,
    /// Of a piece: its offset in the body (bytes).
    pub offset: u64,
    /// Length of the attributes (bytes).
    pub attributes_len: u16,
    /// Length of the data (bytes).
    pub data_len: u32,
    /// Checksum of attributes and data.
    pub payload_checksum: u64,
}

impl RecordHead {
    /// Returns the head of the end of a stream, which is the record with this number.
    #[must_use]
    pub fn end(number: u64, position: u64) -> Self {
        Self {
            kind: ExchangeKind::End,
            number,
            id: NeedleId::new(0, 0),
            cookie: Cookie(0),
            version: position,
            modified_ns: 0,
            body_len: 0,
            body_checksum: 0,
            offset: 0,
            attributes_len: 0,
            data_len: 0,
            payload_checksum: data_checksum(&[]),
        }
    }

    /// Length of what follows the head (bytes).
    #[must_use]
    pub fn payload_len(&self) -> usize {
        usize::from(self.attributes_len) + self.data_len as usize
    }

    /// Encodes the head of a record of the stream `stream`.
    ///
    /// # Panics
    /// If [`Self::decode`] would refuse it.
    #[must_use]
    pub fn encode(&self, stream: u64) -> [u8; RECORD_HEAD_LEN] {
        assert!(self.fits(), "no reader accepts {self:?}");
        let mut bytes = [0; RECORD_HEAD_LEN];
        let sum = {
            let mut out = Encoder::new(&mut bytes[..CHECKSUM_AT]);
            out.bytes(&MAGIC).u8(self.kind.code()).u8(0).u16(self.attributes_len);
            out.u32(self.data_len).u32(self.id.alt.0).u64(self.id.key.0).u64(self.cookie.0);
            out.u64(self.version).u64(self.modified_ns).u64(self.body_len).u64(self.body_checksum);
            out.u64(self.offset).u64(self.payload_checksum).u64(self.number);
            out.zeros_to(CHECKSUM_AT);
            checksum(out.written(), seed(stream, self.number))
        };
        Encoder::new(&mut bytes[CHECKSUM_AT..]).u64(sum);
        bytes
    }

    /// Decodes the head of the record with the number `number` of the stream `stream`.
    ///
    /// # Errors
    /// See [`BadExchange`].
    pub fn decode(
        bytes: &[u8; RECORD_HEAD_LEN],
        stream: u64,
        number: u64,
    ) -> Result<Self, BadExchange> {
        let sum = Decoder::new(&bytes[CHECKSUM_AT..]).u64();
        if bytes[..4] != MAGIC || checksum(&bytes[..CHECKSUM_AT], seed(stream, number)) != sum {
            return Err(BadExchange::Checksum);
        }
        let mut input = Decoder::new(&bytes[4..CHECKSUM_AT]);
        let (kind, flags, attributes_len) = (input.u8(), input.u8(), input.u16());
        let kind = ExchangeKind::from_code(kind).ok_or(BadExchange::Impossible)?;
        let (data_len, alt, key) = (input.u32(), input.u32(), input.u64());
        let (cookie, version, modified_ns) = (Cookie(input.u64()), input.u64(), input.u64());
        let (body_len, body_checksum, offset) = (input.u64(), input.u64(), input.u64());
        let (payload_checksum, stored_number) = (input.u64(), input.u64());
        let reserved = input.u64();
        let head = Self {
            kind,
            number: stored_number,
            id: NeedleId::new(key, alt),
            cookie,
            version,
            modified_ns,
            body_len,
            body_checksum,
            offset,
            attributes_len,
            data_len,
            payload_checksum,
        };
        if flags != 0 || reserved != 0 || stored_number != number || !head.fits() {
            return Err(BadExchange::Impossible);
        }
        Ok(head)
    }

    /// Verifies what follows the head.
    ///
    /// # Errors
    /// [`BadExchange::Checksum`].
    pub fn verify(&self, payload: &[u8]) -> Result<(), BadExchange> {
        let is_whole = payload.len() == self.payload_len();
        match is_whole && data_checksum(payload) == self.payload_checksum {
            true => Ok(()),
            false => Err(BadExchange::Checksum),
        }
    }

    /// Whether a record can be like this: conditions of encoder and decoder.
    #[must_use]
    pub fn fits(&self) -> bool {
        let data_len = u64::from(self.data_len);
        let lengths_fit = usize::from(self.attributes_len) <= ATTRIBUTES_MAX
            && data_len <= NEEDLE_DATA_MAX
            && self.version < RISING_MAX;
        let has_attributes = self.attributes_len > 0;
        let is_possible = match self.kind {
            ExchangeKind::Object => data_len == self.body_len && self.offset == 0,
            ExchangeKind::LargeObject => data_len == 0 && self.body_len > 0 && self.offset == 0,
            ExchangeKind::Piece => {
                let end = self.offset.checked_add(data_len);
                !has_attributes && data_len > 0 && end.is_some_and(|end| end <= self.body_len)
            }
            ExchangeKind::Withdrawn | ExchangeKind::Damaged => {
                !has_attributes && data_len == 0 && self.offset == 0
            }
            ExchangeKind::Deletion | ExchangeKind::End => {
                let has_data = data_len > 0 || self.body_len > 0 || self.body_checksum > 0;
                !has_attributes && !has_data && self.offset == 0
            }
        };
        lengths_fit && is_possible
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::volume::format::agreement::{accepts, number};

    const STREAM: u64 = 0x1bad_b002;

    fn piece() -> RecordHead {
        RecordHead {
            kind: ExchangeKind::Piece,
            number: 9,
            id: NeedleId::new(7, 2),
            cookie: Cookie(5),
            version: 41,
            modified_ns: 1,
            body_len: 3 << 20,
            body_checksum: 77,
            offset: 1 << 20,
            attributes_len: 0,
            data_len: 4,
            payload_checksum: data_checksum(b"data"),
        }
    }

    #[test]
    fn head_is_bound_to_its_place_and_every_flipped_bit_is_noticed() {
        let (head, bytes) = (piece(), piece().encode(STREAM));
        let decoded = RecordHead::decode(&bytes, STREAM, 9).map(|head| head.encode(STREAM));
        assert_eq!(decoded, Ok(bytes));
        assert!(RecordHead::decode(&bytes, STREAM, 8).is_err(), "another place");
        assert!(RecordHead::decode(&bytes, STREAM + 1, 9).is_err(), "another stream");
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordHead::decode(&other, STREAM, 9).is_err(), "bit {bit}");
        }
        assert_eq!(head.verify(b"data"), Ok(()));
        for payload in [&b"datb"[..], b"dat", b"data0", b""] {
            assert_eq!(head.verify(payload), Err(BadExchange::Checksum));
        }
    }

    /// Makes the checksum right again.
    fn sealed(mut bytes: [u8; RECORD_HEAD_LEN]) -> [u8; RECORD_HEAD_LEN] {
        let sum = checksum(&bytes[..CHECKSUM_AT], seed(STREAM, 9));
        Encoder::new(&mut bytes[CHECKSUM_AT..]).u64(sum);
        bytes
    }

    #[test]
    fn head_that_is_not_possible_is_refused_although_its_checksum_is_right() {
        let changed = |at: usize| {
            let mut bytes = piece().encode(STREAM);
            bytes[at] ^= 0x40;
            RecordHead::decode(&sealed(bytes), STREAM, 9).map(|head| head.id)
        };
        assert_eq!(changed(20), Ok(NeedleId::new(7 ^ 0x40 << 32, 2)));
        assert_eq!(changed(0), Err(BadExchange::Checksum), "no record");
        let [kind, flags, attributes_len, number, reserved] = [4, 5, 6, 80, 88];
        for at in [kind, flags, attributes_len, number, reserved] {
            assert_eq!(changed(at), Err(BadExchange::Impossible), "byte {at}");
        }
    }

    #[test]
    fn each_kind_of_record_has_what_belongs_to_it() {
        let end = RecordHead::end(9, 41);
        let with = |kind, (attributes_len, data_len), body_len, offset| {
            RecordHead { kind, attributes_len, data_len, body_len, offset, ..end }.fits()
        };
        let object = |lens, body_len, offset| with(ExchangeKind::Object, lens, body_len, offset);
        assert!(object((3, 5), 5, 0) && object((0, 0), 0, 0));
        assert!(!object((3, 5), 6, 0) && !object((3, 5), 5, 1));
        let large =
            |lens, body_len, offset| with(ExchangeKind::LargeObject, lens, body_len, offset);
        assert!(large((3, 0), 5, 0));
        assert!(!large((3, 5), 5, 0) && !large((3, 0), 0, 0) && !large((3, 0), 5, 1));
        let piece = |lens, body_len, offset| with(ExchangeKind::Piece, lens, body_len, offset);
        assert!(piece((0, 5), 5, 0) && piece((0, 5), 9, 4));
        assert!(!piece((1, 5), 9, 4) && !piece((0, 0), 9, 4) && !piece((0, 5), 9, 5));
        assert!(!piece((0, 5), u64::MAX, u64::MAX - 2), "it would end nowhere");
        for kind in [ExchangeKind::Withdrawn, ExchangeKind::Damaged] {
            assert!(with(kind, (0, 0), 5, 0));
            assert!(!with(kind, (1, 0), 5, 0) && !with(kind, (0, 5), 5, 0));
            assert!(!with(kind, (0, 0), 5, 1));
        }
        for kind in [ExchangeKind::Deletion, ExchangeKind::End] {
            assert!(with(kind, (0, 0), 0, 0));
            assert!(!with(kind, (1, 0), 0, 0) && !with(kind, (0, 5), 0, 0));
            assert!(!with(kind, (0, 0), 5, 0) && !with(kind, (0, 0), 0, 1));
            assert!(!RecordHead { kind, body_checksum: 1, ..end }.fits());
        }
        let most = u16::try_from(ATTRIBUTES_MAX).unwrap();
        assert!(object((most, 5), 5, 0) && !object((most + 1, 5), 5, 0));
        let whole = NEEDLE_DATA_MAX as u32;
        assert!(object((0, whole), whole.into(), 0));
        assert!(!object((0, whole + 1), u64::from(whole) + 1, 0));
        assert!(!RecordHead { version: RISING_MAX, ..end }.fits());
    }

    proptest! {
        #[test]
        fn encoder_accepts_what_the_decoder_accepts(
            code in 1u8..8,
            (version, body_len, body_checksum, offset) in (number(), number(), number(), number()),
            (attributes_len, data_len) in (any::<u16>(), any::<u32>()),
            small in any::<bool>(),
        ) {
            let kind = ExchangeKind::from_code(code).unwrap();
            prop_assert_eq!(kind.code(), code);
            let (attributes_len, data_len) = match small {
                true => (attributes_len % 3, data_len % 3),
                false => (attributes_len, data_len),
            };
            let head = RecordHead {
                kind,
                version,
                body_len,
                body_checksum,
                offset,
                attributes_len,
                data_len,
                ..piece()
            };
            let mut bytes = [0; RECORD_HEAD_LEN];
            let accepted = accepts(|| bytes = head.encode(STREAM));
            prop_assert_eq!(accepted, head.fits());
            if accepted {
                let decoded = RecordHead::decode(&bytes, STREAM, head.number);
                prop_assert_eq!(decoded.map(|head| head.encode(STREAM)), Ok(bytes));
            }
        }
    }
}
