//! Picks the volume for an upload that names none.

use super::plain_reply::PlainReply;
use super::shard::Shard;
use crate::http::status::Status;
use crate::node::board::VolumeState;
use crate::node::metrics;

impl Shard {
    /// Picks a volume for a body of `len` bytes, preferably one of this shard.
    ///
    /// # Errors
    /// 507 when no writable volume has room, 503 when no volume is writable.
    pub fn pick_volume(&self, len: u64) -> Result<u32, PlainReply> {
        if let Some(own) = self.volumes.most_free(len) {
            self.routes.is_no_room_logged.set(false);
            return Ok(own);
        }
        let all = self.shared.board.volumes();
        let writable = || all.iter().filter(|v| v.state.get() == VolumeState::Writable);
        let most_free = writable().max_by_key(|v| v.room()).filter(|v| v.room() > len);
        match most_free {
            Some(volume) => {
                self.routes.is_no_room_logged.set(false);
                Ok(volume.info.id)
            }
            None if writable().next().is_some() => {
                self.log_no_room(len);
                Err(PlainReply::error(Status::INSUFFICIENT_STORAGE, "every volume is full"))
            }
            None => Err(PlainReply::unavailable(
                "no volume takes writes now",
                metrics::AdmissionRefusal::ReadOnly,
            )),
        }
    }

    /// Logs that an upload of `len` bytes fits into no volume; once, until there is room again.
    fn log_no_room(&self, len: u64) {
        if !self.routes.is_no_room_logged.replace(true) {
            tracing::warn!(
                "no volume has room for an upload of {len} bytes: such uploads are answered with 507. Make \
                 another volume (hayloft volume create)"
            );
        }
    }
}
