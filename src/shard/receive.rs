//! Bodies that a request says digests of: verified as they are received.

use super::answer::Plain;
use crate::buffer::Buf;
use crate::http::conn::{Conn, PeerError};
use crate::http::digest::Verifier;
use crate::limits::BODY_PIECE;

/// Receives the next `len` bytes of a body to `buf[start..]`. With a `verifier` it does so 64 KiB at a
/// time, so that they are hashed while they are in the cache and other requests get their turn.
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

/// Whether a body that was received whole is the one that its request spoke of.
///
/// # Errors
/// 400.
pub fn verify(verifier: Option<Box<Verifier>>) -> Result<(), Plain> {
    verifier.map_or(Ok(()), |verifier| verifier.finish().map_err(Plain::from))
}
