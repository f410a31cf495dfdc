//! Chunked bodies: their content is what a second parser takes for it, in whatever pieces they arrive, and
//! what follows them begins at the same byte.
//!
//! Input: a count of cuts, the cuts (one byte each), then the bytes of the body and what follows.

use hayloft::http::fid::{ChunkEvent, ChunkedDecoder};

use crate::http_oracle::chunked;
use crate::input::Input;

const STREAM_MAX: usize = 4096;

/// The content of a body and its length, `None` if it is not complete, or an error if it is malformed.
pub type Decoded = Result<Option<(Vec<u8>, usize)>, ()>;

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let count = input.u8() % 16;
    let cuts: Vec<u8> = (0..count).map(|_| input.u8()).collect();
    let stream = input.take(STREAM_MAX);
    let _ = compare(stream, &cuts);
}

/// Compares both decoders on a stream, which arrives whole, byte by byte, and in pieces that end at `cuts`
/// modulo its length.
///
/// # Panics
/// If they do not agree.
pub fn compare(stream: &[u8], cuts: &[u8]) -> Decoded {
    let expected = chunked::decode(stream);
    let bytes: Vec<usize> = (0..=stream.len()).collect();
    let mut cuts: Vec<usize> =
        cuts.iter().map(|&cut| usize::from(cut) % (stream.len() + 1)).collect();
    cuts.sort_unstable();
    for ends in [&[], &bytes[..], &cuts] {
        assert_eq!(decode(stream, ends), expected, "{} in {ends:?}", stream.escape_ascii());
    }
    expected
}

/// Decodes a stream that arrives in pieces that end at `ends`.
fn decode(stream: &[u8], ends: &[usize]) -> Decoded {
    let (mut decoder, mut content, mut at) = (ChunkedDecoder::new(), Vec::new(), 0);
    for &end in ends.iter().chain([&stream.len()]) {
        loop {
            let (consumed, event) = decoder.step(&stream[at..end]).map_err(drop)?;
            at += consumed;
            match event {
                ChunkEvent::More => {
                    assert_eq!(at, end, "not everything was consumed");
                    break;
                }
                ChunkEvent::End => return Ok(Some((content, at))),
                ChunkEvent::Data(left) => {
                    assert!(left > 0, "an empty chunk has no data");
                    let len = (end - at).min(usize::try_from(left).unwrap_or(usize::MAX));
                    if len == 0 {
                        break;
                    }
                    content.extend_from_slice(&stream[at..at + len]);
                    decoder.consume(len as u64);
                    at += len;
                }
            }
        }
    }
    Ok(None)
}
