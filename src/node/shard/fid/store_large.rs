//! Upload of a file that is larger than a needle, or whose length only its end shows. It is received part by
//! part: while one part is being written, the next one is received. Runs only in the shard that owns the
//! volume.
//!
//! Without a length, memory and room in the volume are taken part by part. What finds none ends the upload,
//! and its parts are dead bytes, which a compaction gives back.

use std::rc::Rc;

use super::attributes::{attributes, copied_file};
use super::file_check::FileCheck;
use super::file_head::FileHead;
use super::fill::fill;
use super::not_stored::NotStored;
use super::put::{dated, put};
use super::stored_file::StoredFile;
use super::upload_body::UploadBody;
use super::upload_request::UploadRequest;
use crate::base::limits::NEEDLE_DATA_MAX;
use crate::http::conditional::WriteConditions;
use crate::http::conn::Conn;
use crate::http::reject::Reject;
use crate::node::shard::admission::{Grant, TransferPermit};
use crate::node::shard::copies::FanOutOfParts;
use crate::node::shard::exchange::error_reply;
use crate::node::shard::plain_reply::{PlainReply, no_buffer};
use crate::node::shard::shard::Shard;
use crate::node::shard::upload::manifest;
use crate::runtime::buffer::Lent;
use crate::runtime::join;
use crate::volume::{Draft, Refusal, Slot, Upload};

const TOO_LARGE: Reject =
    Reject::bad("the file is larger than this store takes (limits.largest_body)");

/// Receives and stores a file.
pub async fn receive(
    shard: &Rc<Shard>,
    conn: &mut Conn,
    request: &UploadRequest,
    (mut body, file, mut check): (UploadBody, FileHead, FileCheck),
) -> Result<StoredFile, NotStored> {
    let volume = request.object.volume;
    let slot = shard.volumes.of_cluster(volume).map_err(|error| error_reply(shard, error))?;
    // Check now, so that no body is received only to be refused at the end.
    slot.may_put(request.object.id, request.object.cookie, None).await?;
    if !slot.volume().has_space_for(body.expected_len().unwrap_or(1)) {
        return Err(shard.volumes.refused_for_room(&slot).into());
    }
    let permit = shard.admission.admit_large_transfer().ok_or_else(no_buffer)?;
    let (upload, writing, copies) = (None, None, None);
    let mut parts = Parts {
        shard,
        slot: &slot,
        request,
        file: &file,
        permit: &permit,
        upload,
        writing,
        copies,
    };
    let rest = loop {
        let (part, grant, is_end) = parts.receive(conn, &mut body, &mut check).await?;
        if is_end && parts.upload.is_none() {
            break Some((part, grant));
        }
        parts.add(part, grant).await?;
        if is_end {
            break None;
        }
    };
    body.finish(conn).await?;
    let plain_len = check.finish().map_err(|reject| NotStored::from(reject).after_body())?;
    let stored = match (rest, parts.upload) {
        (None, Some(upload)) => {
            let upload = (upload, parts.copies);
            finish(shard, &slot, request, &file, upload, plain_len).await
        }
        (Some((part, _grant)), _) => small(shard, request, &file, part, plain_len).await,
        (None, None) => unreachable!("what has no parts ends with its first"),
    };
    stored.map_err(NotStored::after_body)
}

/// Stores a file that turned out to fit into one part.
async fn small(
    shard: &Rc<Shard>,
    request: &UploadRequest,
    file: &FileHead,
    mut part: Draft,
    plain_len: u64,
) -> Result<StoredFile, NotStored> {
    let attributes = attributes(request, file);
    let draft = Draft::with_attributes(shard.handle.pool(), attributes, part.data_len() as u64);
    let mut draft = draft.ok_or_else(no_buffer)?;
    draft.data_mut().copy_from_slice(part.data_mut());
    drop(part);
    put(shard, request, file, draft, plain_len).await
}

/// Stores the manifest of a file whose parts were all received.
async fn finish(
    shard: &Rc<Shard>,
    slot: &Rc<Slot>,
    request: &UploadRequest,
    file: &FileHead,
    (upload, copies): (Upload, Option<FanOutOfParts>),
    plain_len: u64,
) -> Result<StoredFile, NotStored> {
    let (id, cookie) = (request.object.id, request.object.cookie);
    let manifest = manifest(shard, &upload, attributes(request, file)).await?;
    let (len, crc32c) = (upload.body_len(), manifest.crc32c());
    let conditions = request.ttl.is_none().then(|| WriteConditions::unless_same(manifest.etag()));
    let manifest = dated(manifest, request);
    let local = shard.volumes.put_of_cluster(slot, (id, cookie), manifest, conditions);
    let (stored, copied) = match copies {
        Some(copies) => join(local, copies.finish(shard)).await,
        None => (local.await, Ok(())),
    };
    let is_unchanged = match shard.volumes.publish_after_write(slot, stored) {
        Ok(_) => false,
        Err(Refusal::Precondition) => true,
        Err(refusal) => return Err(refusal.into()),
    };
    copied.map_err(PlainReply::from)?;
    Ok(StoredFile { head: file.clone(), plain_len, len, crc32c, is_unchanged })
}

/// The parts of a file that is being received.
struct Parts<'a> {
    shard: &'a Rc<Shard>,
    slot: &'a Rc<Slot>,
    request: &'a UploadRequest,
    file: &'a FileHead,
    permit: &'a Rc<TransferPermit>,
    /// `None` as long as the file may fit into one part.
    upload: Option<Upload>,
    /// Permit for the buffer of the part that is being written.
    writing: Option<Grant>,
    /// The nodes with copies, to which the parts are sent; `None` before the first part.
    copies: Option<FanOutOfParts>,
}

impl Parts<'_> {
    /// Receives the next part. Returns it, the permit for its buffer, and whether the file has ended.
    async fn receive(
        &mut self,
        conn: &mut Conn,
        body: &mut UploadBody,
        check: &mut FileCheck,
    ) -> Result<(Draft, Grant, bool), NotStored> {
        // No buffer is held while a slow peer sends nothing.
        body.await_data(conn).await?;
        let expected = body.expected_len().unwrap_or(NEEDLE_DATA_MAX).clamp(1, NEEDLE_DATA_MAX);
        let grant = self.grant(expected).await?;
        let pool = self.shard.handle.pool();
        let wanted = grant.len.min(expected);
        let part = |len: u64| Draft::new(pool, None, len.min(wanted));
        let part = self.shard.admission.wait_for_buffer(wanted, part).await;
        let mut part = part.ok_or_else(no_buffer)?;
        let (buf, start) = part.take();
        let (buf, filled) = fill(self.shard, conn, body, check, buf, start, part.data_len()).await;
        part.restore(buf);
        let (len, mut is_end) = filled?;
        if !is_end {
            is_end = body.ends_here(conn).await?;
        }
        if len < part.data_len() {
            let mut shorter = Draft::new(pool, None, len as u64).ok_or_else(no_buffer)?;
            shorter.data_mut().copy_from_slice(&part.data_mut()[..len]);
            part = shorter;
        }
        self.shard.metrics().payload_bytes_in.add(len as u64);
        Ok((part, grant, is_end))
    }

    /// A permit for a part of `wanted` bytes. Waits until the last part is written if there is memory for one
    /// only.
    async fn grant(&mut self, wanted: u64) -> Result<Grant, NotStored> {
        if let Some(grant) = self.permit.grant(wanted) {
            return Ok(grant);
        }
        if let Some(upload) = &self.upload {
            upload.settle().await?;
        }
        drop(self.writing.take());
        let own = self.permit.grant(wanted);
        Ok(own.expect("one piece is reserved for each transfer"))
    }

    /// Has a part written, after the one before is durable.
    async fn add(&mut self, mut part: Draft, grant: Grant) -> Result<(), NotStored> {
        let len = part.data_len() as u64;
        let sum = self.upload.as_ref().map_or(0, Upload::body_len) + len;
        if sum > self.shard.config.body_max {
            return Err(TOO_LARGE.into());
        }
        if len == 0 {
            return Ok(());
        }
        self.slot.await_blocks_for(len).await;
        let upload = match &mut self.upload {
            Some(upload) => {
                let grown = upload.grow(len);
                self.shard.volumes.publish_after_write(self.slot, grown)?;
                upload
            }
            none => {
                let (id, cookie) = (self.request.object.id, self.request.object.cookie);
                let begun = self.slot.upload(id, cookie, len);
                none.insert(self.shard.volumes.publish_after_write(self.slot, begun)?)
            }
        };
        // Wait for the previous part, so that at most two parts are in memory.
        upload.settle().await?;
        let lent = self.request.fan_out.is_some().then(|| part.lend());
        upload.add(part).await?;
        self.writing = Some(grant);
        match lent {
            Some(lent) => self.copy(&lent).await,
            None => Ok(()),
        }
    }

    /// Sends a part to the nodes with copies while it is written here.
    async fn copy(&mut self, part: &Lent) -> Result<(), NotStored> {
        let (Some(fan_out), shard) = (&self.request.fan_out, self.shard) else { return Ok(()) };
        let copies = match self.copies.take() {
            Some(copies) => copies,
            None => {
                let begun = fan_out.begin_parts(shard, &copied_file(self.request, self.file)).await;
                begun.map_err(PlainReply::from)?
            }
        };
        let sent = self.copies.insert(copies).add(shard, part).await;
        Ok(sent.map_err(PlainReply::from)?)
    }
}
