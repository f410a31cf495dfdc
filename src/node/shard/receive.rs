//! Receives bodies, and verifies the digests that their requests state.

use super::plain_reply::PlainReply;
use crate::base::limits::BODY_PIECE;
use crate::http::conn::{Conn, PeerError};
use crate::http::digest::Verifier;
use crate::runtime::buffer::Buf;

/// Receives the next `len` bytes of a body into `buf[start..]`. With a `verifier` it receives 64 KiB at a
/// time, so that the bytes are hashed while they are in the CPU cache and other requests run in between.
///
/// # Errors
/// That of [`Conn::read_body`]. The buffer is returned in either case.
pub async fn read_body(
    conn: &mut Conn,
    mut buf: Buf,
    start: usize,
    len: usize,
    mut verifier: Option<&mut Verifier>,
) -> (Buf, Result<(), PeerError>) {
    let step = if verifier.is_some() { BODY_PIECE } else { len };
    let (mut at, end) = (start, start + len);
    while at < end {
        let piece = step.min(end - at);
        let (back, result) = conn.read_body(buf, at, piece).await;
        buf = back;
        if result.is_err() {
            return (buf, result);
        }
        if let Some(verifier) = &mut verifier {
            verifier.update(&buf[at..at + piece]);
        }
        at += piece;
    }
    (buf, Ok(()))
}

/// Verifies the digests of a completely received body.
///
/// # Errors
/// 400 when a digest does not match.
pub fn verify(verifier: Option<Box<Verifier>>) -> Result<(), PlainReply> {
    verifier.map_or(Ok(()), |verifier| verifier.finish().map_err(PlainReply::from))
}
