//! Decoder of the chunked transfer coding (RFC 9112 section 7.1).
//!
//! It accepts less than the RFC allows, since differences between parsers are what request smuggling
//! exploits: no chunk extensions, no trailer fields, no white space, and lines that end in CRLF. Those who
//! use the coding to upload to a volume server send none of these.

use crate::http::reject::Reject;

/// Largest number of hexadecimal digits of the length of a chunk.
const SIZE_DIGITS_MAX: u8 = 16;

const SIZE: Reject = Reject::bad("the length of a chunk is not a hexadecimal number and CRLF");
const EXTENSION: Reject = Reject::bad("chunk extensions are not supported");
const TRAILER: Reject = Reject::bad("trailer fields are not supported");
const END: Reject = Reject::bad("a chunk is not followed by CRLF");

/// Result of a step of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkEvent {
    /// All bytes were consumed, and the next data or the end has not begun.
    More,
    /// Data follows: so many bytes until the end of the chunk, above 0.
    Data(u64),
    /// The body has ended.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the number of a chunk's length, of which this many digits were consumed.
    Size(u8),
    SizeLf,
    /// Within the data of a chunk.
    Data,
    DataCr,
    DataLf,
    /// After the last chunk: the empty line that ends the body.
    LastCr,
    LastLf,
    Done,
}

/// State of the decoder of one body.
#[derive(Clone, Copy, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Length of the current chunk that is not consumed (bytes).
    left: u64,
}

impl ChunkedDecoder {
    /// A decoder at the begin of a body.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Size(0), left: 0 }
    }

    /// Consumes framing at the front of `bytes`, up to the next data or the end of the body. Returns the
    /// number of bytes consumed.
    ///
    /// # Errors
    /// 400 if the framing is malformed.
    pub fn step(&mut self, bytes: &[u8]) -> Result<(usize, ChunkEvent), Reject> {
        for (consumed, &byte) in bytes.iter().enumerate() {
            match self.state {
                State::Data => return Ok((consumed, ChunkEvent::Data(self.left))),
                State::Done => return Ok((consumed, ChunkEvent::End)),
                _ => self.framing(byte)?,
            }
        }
        let event = match self.state {
            State::Data => ChunkEvent::Data(self.left),
            State::Done => ChunkEvent::End,
            _ => ChunkEvent::More,
        };
        Ok((bytes.len(), event))
    }

    /// Notes that `len` bytes of the data of the current chunk were consumed.
    ///
    /// # Panics
    /// If that is more than the chunk has left.
    pub fn consume(&mut self, len: u64) {
        self.left = self.left.checked_sub(len).expect("data of one chunk is consumed at a time");
        if self.left == 0 {
            self.state = State::DataCr;
        }
    }

    fn framing(&mut self, byte: u8) -> Result<(), Reject> {
        self.state = match (self.state, byte) {
            (State::Size(digits), _) => self.size(digits, byte)?,
            (State::SizeLf, b'\n') if self.left == 0 => State::LastCr,
            (State::SizeLf, b'\n') => State::Data,
            (State::SizeLf, _) => return Err(SIZE),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.left = 0;
                State::Size(0)
            }
            (State::DataCr | State::DataLf, _) => return Err(END),
            (State::LastCr, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::Done,
            (State::LastCr | State::LastLf, _) => return Err(TRAILER),
            (State::Data | State::Done, _) => unreachable!("the caller stops there"),
        };
        Ok(())
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<State, Reject> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(digit), _) if digits < SIZE_DIGITS_MAX => {
                self.left = self.left << 4 | u64::from(digit);
                Ok(State::Size(digits + 1))
            }
            (None, b'\r') if digits > 0 => Ok(State::SizeLf),
            (None, b';') if digits > 0 => Err(EXTENSION),
            _ => Err(SIZE),
        }
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes a stream that arrives in pieces that end at `ends`. Returns the data, and the bytes after the
    /// body; `None` if it is not complete.
    fn decode(stream: &[u8], ends: &[usize]) -> Result<Option<(Vec<u8>, usize)>, Reject> {
        let (mut decoder, mut data, mut at) = (ChunkedDecoder::new(), Vec::new(), 0);
        for &end in ends.iter().chain([&stream.len()]) {
            while at <= end {
                let (consumed, event) = decoder.step(&stream[at..end])?;
                at += consumed;
                match event {
                    ChunkEvent::More => break,
                    ChunkEvent::End => return Ok(Some((data, at))),
                    ChunkEvent::Data(left) => {
                        let len = (end - at).min(usize::try_from(left).unwrap_or(usize::MAX));
                        data.extend_from_slice(&stream[at..at + len]);
                        decoder.consume(len as u64);
                        at += len;
                        if len == 0 {
                            break;
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_joined() {
        let stream = b"4\r\nWiki\r\n00A\r\npedia in \n\r\n0\r\n\r\nGET /";
        let (data, end) = decode(stream, &[]).unwrap().unwrap();
        assert_eq!(data, b"Wikipedia in \n");
        assert_eq!(&stream[end..], b"GET /");
        assert_eq!(decode(b"000\r\n\r\n", &[]), Ok(Some((Vec::new(), 7))));
    }

    #[test]
    fn an_incomplete_body_needs_more() {
        let stream = b"4\r\nWiki\r\n0\r\n\r\n";
        for end in 0..stream.len() {
            assert_eq!(decode(&stream[..end], &[]), Ok(None), "{end}");
        }
    }

    #[test]
    fn whatever_the_rfc_allows_beyond_plain_chunks_is_refused() {
        for (stream, expected) in [
            ("\r\n", SIZE),
            ("g\r\n", SIZE),
            ("+4\r\nWiki\r\n", SIZE),
            ("0x4\r\nWiki\r\n", SIZE),
            (" 4\r\nWiki\r\n", SIZE),
            ("4 \r\nWiki\r\n", SIZE),
            ("4\nWiki\r\n", SIZE),
            ("4\r\rWiki\r\n", SIZE),
            ("00000000000000004\r\nWiki\r\n", SIZE),
            ("4;a=b\r\nWiki\r\n", EXTENSION),
            (";\r\n", SIZE),
            ("4\r\nWikis\r\n", END),
            ("4\r\nWiki\n", END),
            ("4\r\nWiki\r\r", END),
            ("0\r\nTrailer: x\r\n\r\n", TRAILER),
            ("0\r\n\n", TRAILER),
            ("0\r\n\r\r", TRAILER),
        ] {
            assert_eq!(decode(stream.as_bytes(), &[]), Err(expected), "{stream:?}");
        }
    }

    #[test]
    fn the_largest_length_is_accepted() {
        let (consumed, event) = ChunkedDecoder::new().step(b"ffffffffffffffff\r\nx").unwrap();
        assert_eq!((consumed, event), (18, ChunkEvent::Data(u64::MAX)));
    }

    proptest! {
        #[test]
        fn any_splitting_gives_the_same_result(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            ends in prop::collection::btree_set(0usize..300, 0..8),
        ) {
            let mut stream = Vec::new();
            for chunk in &chunks {
                stream.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                stream.extend_from_slice(chunk);
                stream.extend_from_slice(b"\r\n");
            }
            stream.extend_from_slice(b"0\r\n\r\n");
            let ends: Vec<usize> = ends.into_iter().filter(|end| *end < stream.len()).collect();
            let len = stream.len();
            stream.extend_from_slice(b"next");
            let decoded = decode(&stream, &ends).unwrap().unwrap();
            prop_assert_eq!(decoded, (chunks.concat(), len));
        }
    }
}
