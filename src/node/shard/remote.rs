//! Requests that a shard receives from another shard or from the main thread, and their answers. Each kind
//! of request has an outcome of its own type, and a table of its own for the answers that are awaited.

use super::assignment::ErrorPlaces;
use super::order::{
    BurstVolume, CancelCompaction, ClearVolume, CompactVolume, DeleteVolume, FenceVolume,
    FindAbsent, LimitDevice, ListDamage, ListErrors, OfferChanges, OfferedChanges, OpenVolume,
    OrderError, PauseBackground, PullOrder, PullOutcome, ReadExchange, ReadRecords, ScrubVolume,
    SetCluster, SetReadOnly, SetRoute, SuspectVolume, UndeleteNeedles,
};
use super::request::{
    CheckPut, DeleteFid, DeleteNeedle, DeletedFid, FindOrigin, FoundNeedle, PostNeedle, PutNeedle,
    ReadNeedle, RequestError, SetExpiry, StoredNeedle,
};
use super::volume_summary::VolumeSummary;
use crate::base::types::{NeedleId, ShardId, VolumeId};
use crate::http::conditional::WriteConditions;
use crate::runtime::buffer::Buf;
use crate::runtime::{Handle, Replies};
use crate::volume::{ExchangePiece, FoundDamage, Piece, UndeleteProgress};

/// A thread that sends requests to shards and receives the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOrigin {
    /// The shard with this number.
    Shard(ShardId),
    /// The daemon's main thread.
    Main,
}

/// A request to a volume of another shard.
pub struct ToVolume<R> {
    /// Volume id.
    pub volume: VolumeId,
    /// The request.
    pub request: R,
}

/// Reads a needle into a buffer of the requesting shard.
pub struct ReadInto {
    /// What to read.
    pub read: ReadNeedle,
    /// The buffer, which the outcome returns if the needle was read.
    pub buf: Buf,
}

/// A request of one kind that a shard performs for another thread.
pub trait RemoteKind: Sized {
    /// Outcome of the request.
    type Outcome;

    /// Returns the request as one of any kind.
    fn into_any(self) -> AnyRequest;

    /// Returns the awaited answers of this kind.
    fn awaited(answers: &AwaitedAnswers) -> &Replies<Self::Outcome>;
}

/// Defines the kinds of requests: for each its name, type and outcome, and its field in
/// [`AwaitedAnswers`].
macro_rules! request_kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident($request:ty) -> $outcome:ty, in $field:ident;)+) => {
        /// A request of any kind.
        pub enum AnyRequest { $($(#[doc = $doc])+ $kind($request),)+ }

        /// The outcome of a request, of the same kind as the request.
        pub enum AnyOutcome { $(#[doc = concat!("Of [`AnyRequest::", stringify!($kind), "`].")]
            $kind($outcome),)+ }

        /// The answers that a thread awaits from shards, by kind, so that each request receives an outcome
        /// of its own type.
        pub struct AwaitedAnswers { $($field: Replies<$outcome>,)+ }

        impl AwaitedAnswers {
            /// Creates an empty table.
            #[must_use]
            pub fn new(handle: &Handle) -> Self {
                Self { $($field: Replies::new(handle),)+ }
            }

            /// Number of awaited answers.
            #[must_use]
            pub fn count(&self) -> usize {
                0 $(+ self.$field.len())+
            }

            /// Passes an answer to the task that awaits it.
            ///
            /// # Panics
            /// When no answer of this kind with this number is awaited.
            pub fn fulfil(&self, RemoteAnswer { number, outcome }: RemoteAnswer) {
                match outcome {
                    $(AnyOutcome::$kind(outcome) => self.$field.fulfil(number, outcome),)+
                }
            }
        }

        $(impl RemoteKind for $request {
            type Outcome = $outcome;

            fn into_any(self) -> AnyRequest {
                AnyRequest::$kind(self)
            }

            fn awaited(answers: &AwaitedAnswers) -> &Replies<$outcome> {
                &answers.$field
            }
        })+
    };
}

request_kinds! {
    /// Read a needle.
    Read(ToVolume<ReadInto>) -> Result<FoundNeedle, RequestError>, in read;
    /// Store a needle under a given name.
    Put(ToVolume<PutNeedle>) -> Result<StoredNeedle, RequestError>, in put;
    /// Store a needle under a name that the volume picks.
    Post(ToVolume<PostNeedle>) -> Result<StoredNeedle, RequestError>, in post;
    /// Check whether a needle could be stored.
    CheckPut(ToVolume<CheckPut>) -> Result<Option<WriteConditions>, RequestError>, in check_put;
    /// Delete a needle.
    Delete(ToVolume<DeleteNeedle>) -> Result<(), RequestError>, in delete;
    /// Delete a needle of a volume of a cluster.
    DeleteFid(ToVolume<DeleteFid>) -> Result<DeletedFid, RequestError>, in delete_fid;
    /// Find the origin version of a needle of a cluster.
    FindOrigin(ToVolume<FindOrigin>) -> Result<u64, RequestError>, in find_origin;
    /// Change when a needle expires.
    SetExpiry(ToVolume<SetExpiry>) -> Result<(), RequestError>, in set_expiry;
    /// Open a volume.
    OpenVolume(OpenVolume) -> Result<VolumeSummary, OrderError>, in open_volume;
    /// Make a volume read-only, or writable.
    SetReadOnly(SetReadOnly) -> Result<VolumeSummary, OrderError>, in set_read_only;
    /// Change what its cluster may change about a volume.
    SetCluster(SetCluster) -> Result<VolumeSummary, OrderError>, in set_cluster;
    /// Delete a volume.
    DeleteVolume(DeleteVolume) -> Result<Option<VolumeSummary>, OrderError>, in delete_volume;
    /// Fence a volume.
    FenceVolume(FenceVolume) -> Result<Option<VolumeSummary>, OrderError>, in fence_volume;
    /// Begin to compact a volume.
    CompactVolume(CompactVolume) -> Result<(), OrderError>, in compact_volume;
    /// Cancel the compaction of a volume.
    CancelCompaction(CancelCompaction) -> Result<(), OrderError>, in cancel_compaction;
    /// Ask for a scrub of a volume.
    ScrubVolume(ScrubVolume) -> Result<(), OrderError>, in scrub_volume;
    /// List the damage of a volume.
    ListDamage(ListDamage) -> Result<Vec<FoundDamage>, OrderError>, in list_damage;
    /// Ask for a burst of reads of a volume.
    BurstVolume(BurstVolume) -> Result<(), OrderError>, in burst_volume;
    /// Make a volume suspect.
    SuspectVolume(SuspectVolume) -> Result<VolumeSummary, OrderError>, in suspect_volume;
    /// End the suspicion of a volume.
    ClearVolume(ClearVolume) -> Result<bool, OrderError>, in clear_volume;
    /// List the errors of a volume.
    ListErrors(ListErrors) -> Result<ErrorPlaces, OrderError>, in list_errors;
    /// Read a piece of the records of a volume.
    ReadRecords(ReadRecords) -> Result<Piece, OrderError>, in read_records;
    /// Read a piece of the records of a volume in the exchange format.
    ReadExchange(ReadExchange) -> Result<ExchangePiece, OrderError>, in read_exchange;
    /// Send changes of a volume to a copy of it.
    OfferChanges(OfferChanges) -> Result<OfferedChanges, OrderError>, in offer_changes;
    /// Say which objects are absent.
    FindAbsent(FindAbsent) -> Result<Vec<NeedleId>, OrderError>, in find_absent;
    /// Make a step of a pull.
    Pull(PullOrder) -> Result<PullOutcome, OrderError>, in pull;
    /// Take a deleted photo back.
    Undelete(UndeleteNeedles) -> Result<Option<UndeleteProgress>, OrderError>, in undelete;
    /// Pause or resume compactions and scrubs.
    PauseBackground(PauseBackground) -> (), in pause_background;
    /// Set the owner of a volume.
    SetRoute(SetRoute) -> (), in set_route;
    /// Limit the operations in flight.
    LimitDevice(LimitDevice) -> (), in limit_device;
}

/// A request to a shard.
pub struct RemoteRequest {
    /// Requesting thread.
    pub from: RequestOrigin,
    /// Number of the request, repeated in the answer.
    pub number: usize,
    /// The request.
    pub request: AnyRequest,
}

/// The answer to a [`RemoteRequest`].
pub struct RemoteAnswer {
    /// Number of the request.
    pub number: usize,
    /// Outcome of the request.
    pub outcome: AnyOutcome,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;
    use crate::runtime::buffer::{Pool, Region};
    use crate::runtime::sim::World;
    use crate::runtime::sim::disk::Image;

    #[test]
    fn awaited_answers_of_every_kind_are_counted() {
        let driver = World::new(1, &Image::default()).driver();
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let runtime = Runtime::new(&driver, pool, || 7);
        let awaited = AwaitedAnswers::new(runtime.handle());
        assert_eq!(awaited.count(), 0);
        // Without `..`: a new kind is added here, too.
        let AwaitedAnswers {
            read,
            put,
            post,
            check_put,
            delete,
            delete_fid,
            find_origin,
            set_expiry,
            open_volume,
            set_read_only,
            set_cluster,
            delete_volume,
            fence_volume,
            compact_volume,
            cancel_compaction,
            scrub_volume,
            list_damage,
            burst_volume,
            suspect_volume,
            clear_volume,
            list_errors,
            read_records,
            read_exchange,
            offer_changes,
            find_absent,
            pull,
            undelete,
            pause_background,
            set_route,
            limit_device,
        } = &awaited;
        let expect: [&dyn Fn() -> usize; 30] = [
            &|| read.expect(),
            &|| put.expect(),
            &|| post.expect(),
            &|| check_put.expect(),
            &|| delete.expect(),
            &|| delete_fid.expect(),
            &|| find_origin.expect(),
            &|| set_expiry.expect(),
            &|| open_volume.expect(),
            &|| set_read_only.expect(),
            &|| set_cluster.expect(),
            &|| delete_volume.expect(),
            &|| fence_volume.expect(),
            &|| compact_volume.expect(),
            &|| cancel_compaction.expect(),
            &|| scrub_volume.expect(),
            &|| list_damage.expect(),
            &|| burst_volume.expect(),
            &|| suspect_volume.expect(),
            &|| clear_volume.expect(),
            &|| list_errors.expect(),
            &|| read_records.expect(),
            &|| read_exchange.expect(),
            &|| offer_changes.expect(),
            &|| find_absent.expect(),
            &|| pull.expect(),
            &|| undelete.expect(),
            &|| pause_background.expect(),
            &|| set_route.expect(),
            &|| limit_device.expect(),
        ];
        for (count, expect) in (1..).zip(expect) {
            expect();
            assert_eq!(awaited.count(), count);
        }
    }
}
