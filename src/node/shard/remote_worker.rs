//! Performs the requests of other shards and of the main thread, and answers them.

use std::rc::Rc;

use super::order::{
    BurstVolume, CancelCompaction, ClearVolume, CompactVolume, DeleteVolume, FenceVolume,
    LimitDevice, ListDamage, ListErrors, OpenVolume, PauseBackground, ScrubVolume, SetCluster,
    SetReadOnly, SetRoute, SuspectVolume,
};
use super::remote::{AnyOutcome, AnyRequest, ReadInto, RemoteAnswer, RemoteRequest, ToVolume};
use super::shard::Shard;

impl Shard {
    /// Performs requests of other threads, one after the other, and answers them.
    pub(super) async fn serve_remote_requests(self: Rc<Self>) {
        loop {
            let RemoteRequest { from, number, request } = self.remote_requests.next().await;
            let outcome = self.perform_remote(request).await;
            self.answer(from, RemoteAnswer { number, outcome });
        }
    }

    /// Performs a request. The futures of long orders are boxed, so that a worker needs no more memory than
    /// a request to a needle takes.
    async fn perform_remote(&self, request: AnyRequest) -> AnyOutcome {
        let (volumes, handle) = (&self.volumes, &self.handle);
        match request {
            AnyRequest::Read(ToVolume { volume, request: ReadInto { read, buf } }) => {
                let mut buf = Some(buf);
                let alloc = |len: usize| buf.take().filter(|buf| buf.len() >= len);
                AnyOutcome::Read(volumes.read(volume, read, alloc).await)
            }
            AnyRequest::Put(ToVolume { volume, request }) => {
                AnyOutcome::Put(volumes.put(volume, request).await)
            }
            AnyRequest::Post(ToVolume { volume, request }) => {
                AnyOutcome::Post(volumes.post(volume, request).await)
            }
            AnyRequest::CheckPut(ToVolume { volume, request }) => {
                AnyOutcome::CheckPut(volumes.check_put(volume, request).await)
            }
            AnyRequest::Delete(ToVolume { volume, request }) => {
                AnyOutcome::Delete(volumes.delete_needle(volume, request).await)
            }
            AnyRequest::DeleteFid(ToVolume { volume, request }) => {
                AnyOutcome::DeleteFid(Box::pin(volumes.delete_fid(volume, request)).await)
            }
            AnyRequest::FindOrigin(ToVolume { volume, request }) => {
                AnyOutcome::FindOrigin(Box::pin(volumes.find_origin(volume, request)).await)
            }
            AnyRequest::SetExpiry(ToVolume { volume, request }) => {
                AnyOutcome::SetExpiry(Box::pin(volumes.set_expiry(volume, request)).await)
            }
            AnyRequest::OpenVolume(OpenVolume(assignment)) => {
                AnyOutcome::OpenVolume(Box::pin(volumes.open_one(handle, assignment)).await)
            }
            AnyRequest::SetReadOnly(SetReadOnly { volume, read_only }) => {
                AnyOutcome::SetReadOnly(Box::pin(volumes.set_read_only(volume, read_only)).await)
            }
            AnyRequest::SetCluster(SetCluster { volume, settings }) => {
                AnyOutcome::SetCluster(Box::pin(volumes.set_cluster(volume, settings)).await)
            }
            AnyRequest::DeleteVolume(DeleteVolume { volume }) => {
                AnyOutcome::DeleteVolume(Box::pin(volumes.delete(handle, volume)).await)
            }
            AnyRequest::FenceVolume(FenceVolume { volume, generation }) => {
                AnyOutcome::FenceVolume(volumes.fence(volume, generation))
            }
            AnyRequest::CompactVolume(CompactVolume { volume, request }) => {
                AnyOutcome::CompactVolume(
                    Box::pin(volumes.begin_compaction(handle, volume, request)).await,
                )
            }
            AnyRequest::CancelCompaction(CancelCompaction { volume }) => {
                AnyOutcome::CancelCompaction(Box::pin(volumes.cancel_compaction(volume)).await)
            }
            AnyRequest::ScrubVolume(ScrubVolume { volume }) => {
                AnyOutcome::ScrubVolume(volumes.request_scrub(volume))
            }
            AnyRequest::ListDamage(ListDamage { volume }) => {
                AnyOutcome::ListDamage(volumes.found_damage(volume))
            }
            AnyRequest::BurstVolume(BurstVolume { volume, needles }) => {
                AnyOutcome::BurstVolume(volumes.request_burst(volume, needles))
            }
            AnyRequest::SuspectVolume(SuspectVolume { volume }) => {
                AnyOutcome::SuspectVolume(volumes.suspect(volume))
            }
            AnyRequest::ClearVolume(ClearVolume { volume }) => {
                AnyOutcome::ClearVolume(volumes.clear(volume))
            }
            AnyRequest::ListErrors(ListErrors { volume }) => {
                AnyOutcome::ListErrors(volumes.error_places(volume))
            }
            AnyRequest::ReadRecords(order) => {
                AnyOutcome::ReadRecords(Box::pin(volumes.read_records(order)).await)
            }
            AnyRequest::ReadExchange(order) => {
                AnyOutcome::ReadExchange(Box::pin(volumes.read_exchange(order)).await)
            }
            AnyRequest::OfferChanges(order) => {
                AnyOutcome::OfferChanges(Box::pin(self.offer_changes(order)).await)
            }
            AnyRequest::FindAbsent(order) => {
                AnyOutcome::FindAbsent(Box::pin(volumes.absent(order)).await)
            }
            AnyRequest::Pull(order) => AnyOutcome::Pull(Box::pin(volumes.pull(order)).await),
            AnyRequest::Undelete(order) => AnyOutcome::Undelete(volumes.undelete(order)),
            AnyRequest::PauseBackground(PauseBackground { paused }) => {
                volumes.paces().set_paused(paused);
                self.board().background_paused.set(u64::from(paused));
                AnyOutcome::PauseBackground(())
            }
            AnyRequest::SetRoute(SetRoute { volume, owner }) => {
                self.routes.set_owner(volume, owner);
                AnyOutcome::SetRoute(())
            }
            AnyRequest::LimitDevice(LimitDevice { operations }) => {
                self.device_limit.set(Some(operations));
                AnyOutcome::LimitDevice(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::message::Message;
    use super::super::order::{
        CompactionRequest, FindAbsent, OfferChanges, OrderError, PullOrder, PullStep, ReadExchange,
        ReadRecords, UndeleteNeedles,
    };
    use super::super::remote::{RemoteKind, RequestOrigin};
    use super::super::request::{DeleteFid, FindOrigin, RequestError};
    use super::super::start::Start;
    use super::*;
    use crate::base::stream_position::{ExchangeState, StreamPosition};
    use crate::base::types::{NeedleId, ShardId, VolumeId};
    use crate::runtime::Runtime;
    use crate::runtime::buffer::{Pool, Region};
    use crate::runtime::sim::World;
    use crate::runtime::sim::disk::Image;
    use crate::volume::{ClusterSettings, PieceLimits};

    #[test]
    fn each_order_is_answered_once_with_its_number_and_outcome() {
        let world = World::new(1, &Image::default());
        let mut driver = world.driver();
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let mut runtime = Runtime::new(&driver, pool, || 7);
        let start = Start::empty(ShardId::from_index(0), 2);
        let shared = Arc::clone(&start.shared);
        let (handle, (shard, _)) = (runtime.handle().clone(), Shard::new(runtime.handle(), start));
        let compaction = CompactionRequest::default();
        let orders = [
            SetRoute { volume: VolumeId(5), owner: Some(ShardId::from_index(1)) }.into_any(),
            LimitDevice { operations: 3 }.into_any(),
            FenceVolume { volume: VolumeId(5), generation: 0 }.into_any(),
            SetReadOnly { volume: VolumeId(5), read_only: true }.into_any(),
            DeleteVolume { volume: VolumeId(5) }.into_any(),
            CompactVolume { volume: VolumeId(5), request: compaction }.into_any(),
            CancelCompaction { volume: VolumeId(5) }.into_any(),
            PauseBackground { paused: true }.into_any(),
            ScrubVolume { volume: VolumeId(5) }.into_any(),
            ListDamage { volume: VolumeId(5) }.into_any(),
            BurstVolume { volume: VolumeId(5), needles: 7 }.into_any(),
            SuspectVolume { volume: VolumeId(5) }.into_any(),
            ClearVolume { volume: VolumeId(5) }.into_any(),
            ListErrors { volume: VolumeId(5) }.into_any(),
            ReadRecords {
                volume: VolumeId(5),
                from: StreamPosition::START,
                deletions: false,
                limits: PieceLimits::default(),
            }
            .into_any(),
            ReadExchange { volume: VolumeId(5), from: ExchangeState::after(0), deletions: false }
                .into_any(),
            PullOrder { volume: VolumeId(5), step: PullStep::Become }.into_any(),
            FindAbsent { volume: VolumeId(5), ids: Vec::new() }.into_any(),
            UndeleteNeedles { volume: VolumeId(5), begin: None }.into_any(),
            SetCluster { volume: VolumeId(5), settings: ClusterSettings::default() }.into_any(),
            ToVolume {
                volume: VolumeId(5),
                request: DeleteFid { id: NeedleId::new(1, 0), cookie: None, origin: None },
            }
            .into_any(),
            ToVolume {
                volume: VolumeId(5),
                request: FindOrigin { id: NeedleId::new(1, 0), len: None },
            }
            .into_any(),
            OfferChanges {
                volume: VolumeId(5),
                peer: ([127, 0, 0, 1], 1).into(),
                from: StreamPosition::START,
            }
            .into_any(),
        ];
        for (number, request) in (10..).zip(orders) {
            let request = RemoteRequest { from: RequestOrigin::Main, number, request };
            assert!(shared.mailboxes[0].send(Message::Request(request)).is_ok());
        }
        shard.read_mailbox();
        runtime.block_on(&mut driver, async move {
            handle.sleep_until(handle.now() + 1_000_000).await;
        });
        let mut answers: Vec<_> = std::iter::from_fn(|| shared.main_mailbox.receive())
            .map(|RemoteAnswer { number, outcome }| (number, outcome))
            .collect();
        answers.sort_by_key(|(number, _)| *number);
        assert!(matches!(
            &answers[..],
            [
                (10, AnyOutcome::SetRoute(())),
                (11, AnyOutcome::LimitDevice(())),
                (12, AnyOutcome::FenceVolume(Err(OrderError::NoVolume))),
                (13, AnyOutcome::SetReadOnly(Err(OrderError::NoVolume))),
                (14, AnyOutcome::DeleteVolume(Err(OrderError::NoVolume))),
                (15, AnyOutcome::CompactVolume(Err(OrderError::NoVolume))),
                (16, AnyOutcome::CancelCompaction(Err(OrderError::NoVolume))),
                (17, AnyOutcome::PauseBackground(())),
                (18, AnyOutcome::ScrubVolume(Err(OrderError::NoVolume))),
                (19, AnyOutcome::ListDamage(Err(OrderError::NoVolume))),
                (20, AnyOutcome::BurstVolume(Err(OrderError::NoVolume))),
                (21, AnyOutcome::SuspectVolume(Err(OrderError::NoVolume))),
                (22, AnyOutcome::ClearVolume(Err(OrderError::NoVolume))),
                (23, AnyOutcome::ListErrors(Err(OrderError::NoVolume))),
                (24, AnyOutcome::ReadRecords(Err(OrderError::NoVolume))),
                (25, AnyOutcome::ReadExchange(Err(OrderError::NoVolume))),
                (26, AnyOutcome::Pull(Err(OrderError::NoVolume))),
                (27, AnyOutcome::FindAbsent(Err(OrderError::NoVolume))),
                (28, AnyOutcome::Undelete(Err(OrderError::NoVolume))),
                (29, AnyOutcome::SetCluster(Err(OrderError::NoVolume))),
                (30, AnyOutcome::DeleteFid(Err(RequestError::NoVolume))),
                (31, AnyOutcome::FindOrigin(Err(RequestError::NoVolume))),
                (32, AnyOutcome::OfferChanges(Err(OrderError::NoVolume))),
            ]
        ));
        assert_eq!(shard.board().background_paused.get(), 1);
        assert_eq!(
            (shard.owner_of(VolumeId(5)), shard.device_limit.get()),
            (Some(ShardId::from_index(1)), Some(3))
        );
        assert!(shared.mailboxes.iter().all(|mailbox| mailbox.is_empty()));
    }
}
