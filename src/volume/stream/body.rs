//! The bodies of large objects, part by part. Nothing is kept between two pieces: the manifest is read again
//! for each, so that a body goes on in another generation.

use super::exchange_writer::ExchangeWriter;
use super::not_read::NotStreamed;
use crate::base::limits::NEEDLE_DATA_MAX;
use crate::base::pool_shares::IN_USE_FOR_BACKGROUND;
use crate::runtime::background::{BackgroundRun, Pace};
use crate::runtime::buffer::Buf;
use crate::volume::error::{BodyError, GetError};
use crate::volume::object::body::Body;
use crate::volume::{Needle, Slot};

impl Slot {
    /// Appends the next piece of the body that the writer is sending, or withdraws the object: it may be
    /// replaced, deleted or damaged.
    ///
    /// # Errors
    /// [`NotStreamed::NoBuffer`].
    pub(super) async fn collect_body(
        &self,
        writer: &mut ExchangeWriter,
    ) -> Result<(), NotStreamed> {
        let Some(position) = writer.body().copied() else { return Ok(()) };
        let pace = Pace::UNLIMITED.sharing(&self.volume().pace);
        let mut run = BackgroundRun::new(&self.handle, None, pace);
        let name = (position.id, position.cookie);
        let manifest = match self.get(name.0, name.1, |len| self.spare_buffer(len)).await {
            Ok(manifest) => manifest,
            Err(error) => return withdraw(writer, &error),
        };
        let Needle { is_large, body_len, etag, modified_ns, .. } = manifest;
        let is_same = (body_len, etag) == (position.body_len, position.body_checksum)
            && modified_ns == position.modified_ns;
        if !is_large || !is_same {
            writer.withdraw(false);
            return Ok(());
        }
        let end = body_len.min(position.offset.saturating_add(NEEDLE_DATA_MAX));
        let mut body = match self.body(name, manifest, position.offset..end).await {
            Ok(body) => body,
            Err(error) => return withdraw_body(writer, &error),
        };
        while body.remaining() > 0 {
            let buf = self.spare_buffer(Body::buffer_len(NEEDLE_DATA_MAX));
            let read = self.read_body(&mut body, buf.ok_or(NotStreamed::NoBuffer)?).await;
            match read {
                Ok((buf, data)) => writer.push_piece(&buf[data]),
                Err(error) => return withdraw_body(writer, &error),
            }
        }
        // Nobody can stop this run.
        let _ = run.end_step(end - position.offset).await;
        Ok(())
    }

    /// Returns a buffer if at least half of the pool stays free: requests have priority.
    fn spare_buffer(&self, len: usize) -> Option<Buf> {
        let pool = self.handle.pool();
        let is_spare = pool.used() + len <= IN_USE_FOR_BACKGROUND.of(pool.capacity());
        is_spare.then(|| pool.alloc(len)).flatten()
    }
}

fn withdraw(writer: &mut ExchangeWriter, error: &GetError) -> Result<(), NotStreamed> {
    match error {
        GetError::NeedBuffer(_) => return Err(NotStreamed::NoBuffer),
        GetError::NotFound => writer.withdraw(false),
        GetError::Unreadable(..) => writer.withdraw(true),
    }
    Ok(())
}

fn withdraw_body(writer: &mut ExchangeWriter, error: &BodyError) -> Result<(), NotStreamed> {
    match error {
        BodyError::NotRead(error) => withdraw(writer, error),
        BodyError::Changed => {
            writer.withdraw(false);
            Ok(())
        }
    }
}
