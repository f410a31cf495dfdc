//! Sends a photo unpacked that is stored packed with gzip, to a client that does not take it so.
//!
//! The length of what was packed is in the last four bytes (RFC 1952 section 2.3.1), modulo 2^32. A response
//! is cut at that length; if less comes out, the connection ends short of it.

use std::ops::Range;
use std::rc::Rc;

use super::find::find;
use crate::http::conn::Conn;
use crate::http::fid::Unpacker;
use crate::node::shard::admission::TransferPermit;
use crate::node::shard::download::{NotAnswered, read_piece, send_head};
use crate::node::shard::exchange::{check_sent, count_reply, error_reply};
use crate::node::shard::object_name::ObjectName;
use crate::node::shard::object_reply::{ObjectHead, SelectedPart};
use crate::node::shard::plain_reply::no_buffer;
use crate::node::shard::request::ReadExtent;
use crate::node::shard::shard::Shard;
use crate::volume::{Body, Needle, Slot};

/// Length of the field with the length of what was packed (bytes).
const LENGTH_FIELD: u64 = 4;
/// Packed bytes that are unpacked at a time: what comes out is at most about a thousand times as long.
const STEP: usize = 512;

/// A packed photo.
pub struct Packed {
    /// Its name.
    pub object: ObjectName,
    /// Its needle.
    pub needle: Needle,
}

/// Returns the length of a packed photo when unpacked (bytes). May read the needle again.
pub async fn plain_len(
    shard: &Rc<Shard>,
    object: ObjectName,
    needle: &mut Needle,
) -> Result<u64, NotAnswered> {
    let at = needle.body_len.saturating_sub(LENGTH_FIELD)..needle.body_len;
    if !needle.is_large {
        return Ok(last_number(&needle.buf[needle.data.clone()]));
    }
    let again = find(shard, object, ReadExtent::Whole).await?;
    let manifest = std::mem::replace(needle, again);
    let slot = &local(shard, object)?;
    let mut body = slot.body((object.id, object.cookie), manifest, at).await?;
    let permit = shard.admission.admit_large_transfer().ok_or_else(no_buffer)?;
    let grant = permit.grant(body.remaining()).ok_or_else(no_buffer)?;
    let piece = read_piece(shard, slot, &mut body, grant).await?;
    Ok(last_number(&piece.buf[piece.range.clone()]))
}

/// The number in the last four bytes; 0 if there are fewer.
fn last_number(bytes: &[u8]) -> u64 {
    bytes.last_chunk::<4>().map_or(0, |last| u64::from(u32::from_le_bytes(*last)))
}

fn local(shard: &Rc<Shard>, object: ObjectName) -> Result<Rc<Slot>, NotAnswered> {
    let slot = shard.volumes.local(object.volume);
    slot.map_err(|error| error_reply(shard, error).into())
}

/// Sends the selected part of a photo unpacked. Returns whether all of it was sent.
pub async fn send(
    shard: &Rc<Shard>,
    conn: &Conn,
    packed: Packed,
    selected: &SelectedPart,
    head: &ObjectHead,
) -> Result<bool, NotAnswered> {
    let Packed { object, needle } = packed;
    let mut sender = Sender {
        shard,
        conn,
        // What is beyond the range is not sent.
        unpacker: Unpacker::new(u64::MAX),
        at: 0,
        range: selected.range(),
    };
    if !needle.is_large {
        count_reply(shard, selected.status);
        let sent = send_head(shard, conn, head).await
            && sender.send(&needle.buf[needle.data.clone()]).await;
        return Ok(sent && sender.is_done());
    }
    let slot = &local(shard, object)?;
    let body_len = needle.body_len;
    let mut body = slot.body((object.id, object.cookie), needle, 0..body_len).await?;
    let permit = shard.admission.admit_large_transfer().ok_or_else(no_buffer)?;
    let mut piece = next_piece(shard, slot, &mut body, &permit).await?;
    count_reply(shard, selected.status);
    if !send_head(shard, conn, head).await {
        return Ok(false);
    }
    loop {
        if !sender.send(&piece.0).await {
            return Ok(false);
        }
        if sender.is_done() || body.remaining() == 0 {
            return Ok(sender.is_done());
        }
        piece = match next_piece(shard, slot, &mut body, &permit).await {
            Ok(piece) => piece,
            Err(_) => return Ok(false),
        };
    }
}

/// A piece of a large body, outside of its buffer: what is unpacked from it is sent from others.
struct PackedPiece(Vec<u8>);

async fn next_piece(
    shard: &Rc<Shard>,
    slot: &Slot,
    body: &mut Body,
    permit: &Rc<TransferPermit>,
) -> Result<PackedPiece, NotAnswered> {
    let grant = permit.grant(crate::base::limits::CHUNK).ok_or_else(no_buffer)?;
    let piece = read_piece(shard, slot, body, grant).await?;
    Ok(PackedPiece(piece.buf[piece.range.clone()].to_vec()))
}

/// Sends what is unpacked.
struct Sender<'a> {
    shard: &'a Shard,
    conn: &'a Conn,
    unpacker: Unpacker,
    /// Number of bytes that were unpacked.
    at: u64,
    /// The bytes that are to be sent.
    range: Range<u64>,
}

impl Sender<'_> {
    /// Whether all bytes were sent.
    fn is_done(&self) -> bool {
        self.at >= self.range.end
    }

    /// Unpacks the next bytes and sends what is wanted of that. Returns whether that was done.
    async fn send(&mut self, packed: &[u8]) -> bool {
        for step in packed.chunks(STEP) {
            let mut out = Vec::new();
            let unpacked = self.unpacker.unpack(step, |bytes| out.extend_from_slice(bytes));
            let before = self.at;
            self.at += out.len() as u64;
            if !self.send_wanted(before, &out).await {
                return false;
            }
            if self.is_done() {
                return true;
            }
            if unpacked.is_err() {
                return false;
            }
        }
        true
    }

    /// Sends those of `bytes`, the first of which has number `before`, that are in the range.
    async fn send_wanted(&self, before: u64, bytes: &[u8]) -> bool {
        let within = |at: u64| {
            let at = at.saturating_sub(before).min(bytes.len() as u64);
            usize::try_from(at).expect("at most the length of the bytes")
        };
        let wanted = &bytes[within(self.range.start)..within(self.range.end)];
        for piece in wanted.chunks(crate::base::limits::BODY_PIECE) {
            let alloc = |_| self.shard.admission.buffer(piece.len());
            let buf = self.shard.admission.wait_for_buffer(0, alloc).await;
            let Some(mut buf) = buf else { return false };
            buf[..piece.len()].copy_from_slice(piece);
            let sent = self.conn.send(buf, 0, piece.len()).await;
            if !check_sent(self.shard, sent) {
                return false;
            }
            self.shard.metrics().payload_bytes_out.add(piece.len() as u64);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_in_the_last_four_bytes() {
        assert_eq!(last_number(&[9, 1, 2, 0, 0]), 0x201);
        assert_eq!(last_number(&[1, 2, 3]), 0);
    }
}
