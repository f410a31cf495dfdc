//! Has requests to volumes performed, in this shard or in the one that owns the volume.

use super::remote::{ReadInto, RemoteKind, ToVolume};
use super::request::{
    CheckPut, DeleteFid, DeleteNeedle, DeletedFid, FindOrigin, FoundNeedle, PostNeedle, PutNeedle,
    ReadExtent, ReadNeedle, RequestError, SetExpiry, StoredNeedle,
};
use super::shard::Shard;
use crate::base::limits::{MESSAGES_IN_FLIGHT, REPLY_HEADROOM};
use crate::base::types::{ShardId, VolumeId};
use crate::http::conditional::WriteConditions;
use crate::volume::GetError;

/// A request to a volume.
pub trait VolumeRequest: Sized {
    /// Result of a request that was performed.
    type Outcome;

    /// Performs the request on a volume of this shard.
    ///
    /// # Errors
    /// See [`RequestError`].
    async fn perform_here(
        self,
        shard: &Shard,
        volume: VolumeId,
    ) -> Result<Self::Outcome, RequestError>;

    /// Has the request performed by the shard that owns the volume.
    ///
    /// # Errors
    /// See [`RequestError`].
    async fn perform_elsewhere(
        self,
        shard: &Shard,
        owner: ShardId,
        volume: VolumeId,
    ) -> Result<Self::Outcome, RequestError>;
}

impl VolumeRequest for ReadNeedle {
    type Outcome = FoundNeedle;

    async fn perform_here(
        self,
        shard: &Shard,
        volume: VolumeId,
    ) -> Result<FoundNeedle, RequestError> {
        shard.volumes.read(volume, self, |len| shard.admission.read_buffer(len)).await
    }

    /// Sends a buffer along, whose length is a size hint from earlier reads, and a longer one if that was
    /// too short.
    async fn perform_elsewhere(
        self,
        shard: &Shard,
        owner: ShardId,
        volume: VolumeId,
    ) -> Result<FoundNeedle, RequestError> {
        let mut len = shard.routes.size_hint(volume);
        loop {
            let buf = shard.admission.read_buffer(len).ok_or(RequestError::NoBuffer)?;
            let request = ToVolume { volume, request: ReadInto { read: self, buf } };
            let outcome = shard.ask(owner, request).await;
            match &outcome {
                Err(RequestError::NotRead(GetError::NeedBuffer(needed))) => {
                    len = *needed;
                    shard.routes.update_size_hint(volume, len);
                }
                Ok(found) if self.extent == ReadExtent::Whole => {
                    let needed = found.needle.data.end + REPLY_HEADROOM;
                    shard.routes.update_size_hint(volume, needed);
                    return outcome;
                }
                _ => return outcome,
            }
        }
    }
}

impl VolumeRequest for PutNeedle {
    type Outcome = StoredNeedle;

    async fn perform_here(
        self,
        shard: &Shard,
        volume: VolumeId,
    ) -> Result<StoredNeedle, RequestError> {
        shard.volumes.put(volume, self).await
    }

    async fn perform_elsewhere(
        self,
        shard: &Shard,
        owner: ShardId,
        volume: VolumeId,
    ) -> Result<StoredNeedle, RequestError> {
        shard.ask(owner, ToVolume { volume, request: self }).await
    }
}

impl VolumeRequest for PostNeedle {
    type Outcome = StoredNeedle;

    async fn perform_here(
        self,
        shard: &Shard,
        volume: VolumeId,
    ) -> Result<StoredNeedle, RequestError> {
        shard.volumes.post(volume, self).await
    }

    async fn perform_elsewhere(
        self,
        shard: &Shard,
        owner: ShardId,
        volume: VolumeId,
    ) -> Result<StoredNeedle, RequestError> {
        shard.ask(owner, ToVolume { volume, request: self }).await
    }
}

impl VolumeRequest for CheckPut {
    type Outcome = Option<WriteConditions>;

    async fn perform_here(
        self,
        shard: &Shard,
        volume: VolumeId,
    ) -> Result<Option<WriteConditions>, RequestError> {
        shard.volumes.check_put(volume, self).await
    }

    async fn perform_elsewhere(
        self,
        shard: &Shard,
        owner: ShardId,
        volume: VolumeId,
    ) -> Result<Option<WriteConditions>, RequestError> {
        shard.ask(owner, ToVolume { volume, request: self }).await
    }
}

impl VolumeRequest for DeleteNeedle {
    type Outcome = ();

    async fn perform_here(self, shard: &Shard, volume: VolumeId) -> Result<(), RequestError> {
        shard.volumes.delete_needle(volume, self).await
    }

    async fn perform_elsewhere(
        self,
        shard: &Shard,
        owner: ShardId,
        volume: VolumeId,
    ) -> Result<(), RequestError> {
        shard.ask(owner, ToVolume { volume, request: self }).await
    }
}

impl VolumeRequest for DeleteFid {
    type Outcome = DeletedFid;

    async fn perform_here(
        self,
        shard: &Shard,
        volume: VolumeId,
    ) -> Result<DeletedFid, RequestError> {
        shard.volumes.delete_fid(volume, self).await
    }

    async fn perform_elsewhere(
        self,
        shard: &Shard,
        owner: ShardId,
        volume: VolumeId,
    ) -> Result<DeletedFid, RequestError> {
        shard.ask(owner, ToVolume { volume, request: self }).await
    }
}

impl VolumeRequest for FindOrigin {
    type Outcome = u64;

    async fn perform_here(self, shard: &Shard, volume: VolumeId) -> Result<u64, RequestError> {
        shard.volumes.find_origin(volume, self).await
    }

    async fn perform_elsewhere(
        self,
        shard: &Shard,
        owner: ShardId,
        volume: VolumeId,
    ) -> Result<u64, RequestError> {
        shard.ask(owner, ToVolume { volume, request: self }).await
    }
}

impl VolumeRequest for SetExpiry {
    type Outcome = ();

    async fn perform_here(self, shard: &Shard, volume: VolumeId) -> Result<(), RequestError> {
        shard.volumes.set_expiry(volume, self).await
    }

    async fn perform_elsewhere(
        self,
        shard: &Shard,
        owner: ShardId,
        volume: VolumeId,
    ) -> Result<(), RequestError> {
        shard.ask(owner, ToVolume { volume, request: self }).await
    }
}

impl Shard {
    /// Performs a request to a volume, in this shard or in the one that owns the volume.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn perform<R: VolumeRequest>(
        &self,
        volume: VolumeId,
        request: R,
    ) -> Result<R::Outcome, RequestError> {
        match self.owner_of(volume) {
            None => Err(RequestError::NoVolume),
            Some(owner) if owner == self.id => request.perform_here(self, volume).await,
            Some(owner) => request.perform_elsewhere(self, owner, volume).await,
        }
    }

    /// Sends a request to another shard and waits for its outcome.
    async fn ask<T, R>(&self, owner: ShardId, request: R) -> Result<T, RequestError>
    where
        R: RemoteKind<Outcome = Result<T, RequestError>>,
    {
        if self.requester.in_flight() >= MESSAGES_IN_FLIGHT {
            return Err(RequestError::Busy);
        }
        self.metrics().messages_sent.inc();
        self.requester.ask(owner, request).await
    }
}
