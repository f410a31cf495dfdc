//! Picks the volume for an upload that names none.

use super::plain_reply::PlainReply;
use super::shard::Shard;
use crate::base::types::VolumeId;
use crate::http::status::Status;
use crate::node::board::{VolumeBoard, VolumeState};
use crate::node::metrics;

impl Shard {
    /// Picks a volume for a body of `len` bytes, preferably one of this shard.
    ///
    /// # Errors
    /// 507 when no writable volume has room, 503 when no volume is writable.
    pub fn pick_volume(&self, len: u64) -> Result<VolumeId, PlainReply> {
        if let Some(own) = self.volumes.most_free(len) {
            self.routes.is_no_room_logged.set(false);
            return Ok(own);
        }
        let all = self.shared.board.volumes();
        let is_own = |v: &VolumeBoard| v.cluster.is_of_cluster.get() == 0;
        let writable =
            || all.iter().filter(|v| v.state.get() == VolumeState::Writable && is_own(v));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::start::Start;
    use super::*;
    use crate::base::types::ShardId;
    use crate::node::board::VolumeInfo;
    use crate::runtime::Runtime;
    use crate::runtime::buffer::{Pool, Region};
    use crate::runtime::sim::World;
    use crate::runtime::sim::disk::Image;

    /// Picks among the volumes of other shards, given as state, size and used bytes, from id 1 on. Returns
    /// the id, or the status of the refusal.
    fn pick(volumes: &[(VolumeState, u64, u64)], len: u64) -> Result<VolumeId, Status> {
        pick_beside_cluster(volumes, len, &[])
    }

    /// As [`pick`], with some of the volumes belonging to a cluster.
    fn pick_beside_cluster(
        volumes: &[(VolumeState, u64, u64)],
        len: u64,
        of_cluster: &[u32],
    ) -> Result<VolumeId, Status> {
        let driver = World::new(1, &Image::default()).driver();
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let runtime = Runtime::new(&driver, pool, || 7);
        let start = Start::empty(ShardId::from_index(1), 2);
        let shared = Arc::clone(&start.shared);
        let (shard, _) = Shard::new(runtime.handle(), start);
        for (id, (state, size, used)) in (1..).zip(volumes) {
            let (id, shard) = (VolumeId(id), ShardId::from_index(0));
            let info = VolumeInfo { id, shard, disk: 0, durable: true };
            let board = Arc::clone(&shared.metrics.register_volume(info, *state).board);
            board.size_bytes.set(*size);
            board.used_bytes.set(*used);
            board.cluster.is_of_cluster.set(of_cluster.contains(&id.0).into());
        }
        shard.pick_volume(len).map_err(|reply| reply.status)
    }

    #[test]
    fn upload_goes_to_the_writable_volume_with_most_space() {
        let (writable, read_only) = (VolumeState::Writable, VolumeState::ReadOnly);
        let volumes = [(writable, 500, 300), (writable, 400, 100), (read_only, 900, 0)];
        assert_eq!(pick(&volumes, 100), Ok(VolumeId(2)));
        assert_eq!(pick(&volumes, 299), Ok(VolumeId(2)));
        assert_eq!(pick(&volumes, 300), Err(Status::INSUFFICIENT_STORAGE));
    }

    #[test]
    fn upload_without_a_volume_never_goes_to_one_of_a_cluster() {
        let volumes = [(VolumeState::Writable, 500, 0), (VolumeState::Writable, 400, 0)];
        assert_eq!(pick_beside_cluster(&volumes, 100, &[1]), Ok(VolumeId(2)));
        let refused = Err(Status::SERVICE_UNAVAILABLE);
        assert_eq!(pick_beside_cluster(&volumes, 100, &[1, 2]), refused);
    }

    #[test]
    fn no_writable_volume_is_a_temporary_refusal() {
        let states = [VolumeState::ReadOnly, VolumeState::Recovering, VolumeState::Lost];
        let volumes = states.map(|state| (state, 900, 0));
        assert_eq!(pick(&volumes, 1), Err(Status::SERVICE_UNAVAILABLE));
        assert_eq!(pick(&[], 1), Err(Status::SERVICE_UNAVAILABLE));
    }
}
