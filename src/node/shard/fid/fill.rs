//! Receives the data of an uploaded file.

use super::file_check::FileCheck;
use super::not_stored::NotStored;
use super::upload_body::UploadBody;
use crate::base::limits::BODY_PIECE;
use crate::http::conn::Conn;
use crate::node::shard::shard::Shard;
use crate::runtime::buffer::Buf;

/// Receives into `buf[start..start + len]` until that is full or the file ends; whether it has ended is
/// returned, too.
pub async fn fill(
    shard: &Shard,
    conn: &mut Conn,
    body: &mut UploadBody,
    check: &mut FileCheck,
    mut buf: Buf,
    start: usize,
    len: usize,
) -> (Buf, Result<(usize, bool), NotStored>) {
    let step = if check.is_needed() { BODY_PIECE } else { len.max(1) };
    let mut done = 0;
    loop {
        let piece = step.min(len - done);
        let (back, filled) = body.fill(conn, buf, start + done, piece).await;
        buf = back;
        let filled = match filled {
            Ok(filled) => filled,
            Err(error) => return (buf, Err(error.into())),
        };
        let range = start + done..start + done + filled.len;
        if let Err(reject) = check.update(&shard.handle, &buf[range]).await {
            return (buf, Err(reject.into()));
        }
        done += filled.len;
        if filled.is_end || done == len {
            return (buf, Ok((done, filled.is_end)));
        }
    }
}
