//! The calls of the protocol. Methods that are not here are answered with `UNIMPLEMENTED`.

use std::sync::Arc;

use hayloft_proto::volume_server_pb as pb;
use hayloft_proto::volume_server_pb::volume_server_server::VolumeServer;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::announced::{Announced, figures};
use super::batch_delete::batch_delete;
use super::capacity::file_size;
use super::node::ClusterNode;
use super::orders::Orders;
use super::ping::ping;
use super::refusal::{no_volume, refusal};
use super::state::ClusterState;
use super::vacuum;
use crate::base::cluster::{Collection, ReplicaPlacement};
use crate::base::size::ByteSize;
use crate::base::types::VolumeId;
use crate::node::board::VolumeState;
use crate::node::control::{NewClusterVolume, NewVolume, VolumeChange};
use crate::node::metrics::{ClusterCall, ClusterCallResult, Metrics, VolumeMetrics};

/// Answers the calls of the protocol.
#[derive(Debug)]
pub(super) struct ClusterService {
    node: Arc<ClusterNode>,
    state: Arc<ClusterState>,
    metrics: Arc<Metrics>,
    orders: Orders,
}

impl ClusterService {
    /// Creates the service.
    pub(super) fn new(
        node: Arc<ClusterNode>,
        state: Arc<ClusterState>,
        metrics: Arc<Metrics>,
        orders: Orders,
    ) -> Self {
        Self { node, state, metrics, orders }
    }

    /// Counts a call by its result.
    fn answered<T>(
        &self,
        call: ClusterCall,
        result: Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let label = match &result {
            Ok(_) => ClusterCallResult::Done,
            Err(_) => ClusterCallResult::Refused,
        };
        self.metrics.cluster.calls(label).at(call).inc();
        if let Err(status) = &result {
            tracing::debug!("cluster: {call:?} refused: {status}");
        }
        result.map(Response::new)
    }

    /// Returns an open volume of the cluster.
    ///
    /// # Errors
    /// `NOT_FOUND`, also for a volume that is none of the cluster; `UNAVAILABLE` while it is not known which
    /// of the two the volume is.
    fn volume(&self, id: u32) -> Result<(Arc<VolumeMetrics>, Announced), Status> {
        let id = VolumeId(id);
        let volume = self.metrics.volume(id).ok_or_else(|| no_volume(id))?;
        if volume.board.state.get() == VolumeState::Recovering {
            return Err(Status::unavailable(format!("volume {id} is being recovered")));
        }
        let known = Announced::of(&volume.board).ok_or_else(|| no_volume(id))?;
        Ok((volume, known))
    }

    /// Orders a change of a volume of the cluster, and tells the master at once.
    async fn change(&self, id: u32, change: VolumeChange) -> Result<(), Status> {
        self.volume(id)?;
        self.orders.change(change).await.map_err(|refused| refusal(&refused))?;
        self.state.volumes_changed();
        Ok(())
    }

    async fn allocate(
        &self,
        request: pb::AllocateVolumeRequest,
    ) -> Result<pb::AllocateVolumeResponse, Status> {
        if self.state.is_leaving() {
            return Err(Status::unavailable("this node is leaving the cluster"));
        }
        let limit = self.state.volume_size_limit().ok_or_else(|| {
            Status::failed_precondition("no master has said yet at which size a volume is full")
        })?;
        let new = wanted(&request, limit)?;
        let there = self.metrics.volumes();
        let there =
            there.iter().filter(|volume| volume.board.cluster.is_of_cluster.get() != 0).count();
        if self.node.volumes_max.is_some_and(|most| there as u64 >= u64::from(most)) {
            let sentence = format!("this node takes no more than {there} volumes of the cluster");
            return Err(Status::resource_exhausted(sentence));
        }
        self.orders.allocate(new).await.map_err(|refused| refusal(&refused))?;
        self.state.volumes_changed();
        Ok(pb::AllocateVolumeResponse {})
    }

    async fn delete_collection(&self, collection: &str) -> Result<(), Status> {
        let is_in = |volume: &Announced| volume.collection.as_str() == collection;
        let volumes = self.metrics.volumes();
        let known = volumes.iter().filter_map(|volume| Announced::of(&volume.board));
        let mut failed = None;
        for volume in known.filter(is_in) {
            if let Err(refused) = self.orders.change(VolumeChange::Delete(volume.id)).await {
                failed = failed.or(Some(refusal(&refused)));
            }
            self.state.volumes_changed();
        }
        failed.map_or(Ok(()), Err)
    }

    fn status_of(&self, id: u32) -> Result<pb::VolumeStatusResponse, Status> {
        let (volume, known) = self.volume(id)?;
        let figures = figures(&volume);
        Ok(pb::VolumeStatusResponse {
            is_read_only: known.is_read_only,
            volume_size: figures.size,
            file_count: figures.needles,
            file_deleted_count: 0,
        })
    }

    fn server_status(&self) -> pb::VolumeServerStatusResponse {
        let disks = self.metrics.board.disks.iter().map(|disk| {
            let (all, free) = (disk.size_bytes.get(), disk.free_bytes.get());
            let percent = if all == 0 { 0.0 } else { free as f32 / all as f32 * 100.0 };
            pb::DiskStatus {
                dir: disk.path.clone(),
                all,
                used: all.saturating_sub(free),
                free,
                percent_free: percent,
                percent_used: 100.0 - percent,
                disk_type: String::new(),
            }
        });
        pb::VolumeServerStatusResponse {
            disk_statuses: disks.collect(),
            version: format!("hayloft {}", self.metrics.node.version),
            data_center: self.node.data_center.clone(),
            rack: self.node.rack.clone(),
        }
    }
}

/// Returns the volume that a request wants, in a cluster whose master takes volumes for full at `limit`
/// bytes.
///
/// # Errors
/// `INVALID_ARGUMENT`.
fn wanted(request: &pb::AllocateVolumeRequest, limit: u64) -> Result<NewVolume, Status> {
    let invalid = |what: &str, text: &str| {
        Status::invalid_argument(format!("{text:?} is no {what} of a volume of this node"))
    };
    let (collection, replication) = (&request.collection, &request.replication);
    let cluster = NewClusterVolume {
        collection: Collection::new(collection).ok_or_else(|| invalid("collection", collection))?,
        placement: placement(replication).ok_or_else(|| invalid("replication", replication))?,
        ttl: match &request.ttl[..] {
            "" => None,
            text => Some(text.parse().map_err(|()| invalid("time to live", text))?),
        },
    };
    Ok(NewVolume {
        id: Some(VolumeId(request.volume_id)),
        size: Some(ByteSize(file_size(limit))),
        cluster: Some(cluster),
        ..NewVolume::default()
    })
}

/// Reads a replication: at most three digits, each at most 2; without digits there is one copy.
fn placement(text: &str) -> Option<ReplicaPlacement> {
    let is_digit = |byte: u8| (b'0'..=b'2').contains(&byte);
    let fits = text.len() <= 3 && text.bytes().all(is_digit);
    let number = if text.is_empty() { Some(0) } else { text.parse().ok() };
    number.filter(|_| fits).map(ReplicaPlacement)
}

#[tonic::async_trait]
impl VolumeServer for ClusterService {
    async fn allocate_volume(
        &self,
        request: Request<pb::AllocateVolumeRequest>,
    ) -> Result<Response<pb::AllocateVolumeResponse>, Status> {
        let result = self.allocate(request.into_inner()).await;
        self.answered(ClusterCall::AllocateVolume, result)
    }

    async fn volume_delete(
        &self,
        request: Request<pb::VolumeDeleteRequest>,
    ) -> Result<Response<pb::VolumeDeleteResponse>, Status> {
        let pb::VolumeDeleteRequest { volume_id, only_empty, only_garbage } = request.into_inner();
        let id = VolumeId(volume_id);
        let change = match only_empty || only_garbage {
            true => VolumeChange::DeleteIfEmpty(id),
            false => VolumeChange::Delete(id),
        };
        let result = self.change(volume_id, change).await;
        let result = result.map(|()| pb::VolumeDeleteResponse {});
        self.answered(ClusterCall::VolumeDelete, result)
    }

    async fn delete_collection(
        &self,
        request: Request<pb::DeleteCollectionRequest>,
    ) -> Result<Response<pb::DeleteCollectionResponse>, Status> {
        let result = self.delete_collection(&request.into_inner().collection).await;
        let result = result.map(|()| pb::DeleteCollectionResponse {});
        self.answered(ClusterCall::DeleteCollection, result)
    }

    async fn batch_delete(
        &self,
        request: Request<pb::BatchDeleteRequest>,
    ) -> Result<Response<pb::BatchDeleteResponse>, Status> {
        let result = batch_delete(&self.orders, request.into_inner()).await;
        self.answered(ClusterCall::BatchDelete, result)
    }

    async fn volume_status(
        &self,
        request: Request<pb::VolumeStatusRequest>,
    ) -> Result<Response<pb::VolumeStatusResponse>, Status> {
        let result = self.status_of(request.into_inner().volume_id);
        self.answered(ClusterCall::VolumeStatus, result)
    }

    async fn volume_mark_readonly(
        &self,
        request: Request<pb::VolumeMarkReadonlyRequest>,
    ) -> Result<Response<pb::VolumeMarkReadonlyResponse>, Status> {
        // It is kept across a restart in any case: nothing is lost by that, and a volume that is being copied
        // elsewhere does not change because its node was restarted meanwhile.
        let pb::VolumeMarkReadonlyRequest { volume_id, can_delete, .. } = request.into_inner();
        let id = VolumeId(volume_id);
        let change = VolumeChange::CloseForCluster { id, takes_deletes: can_delete };
        let result = self.change(volume_id, change).await;
        let result = result.map(|()| pb::VolumeMarkReadonlyResponse {});
        self.answered(ClusterCall::VolumeMarkReadonly, result)
    }

    async fn volume_mark_writable(
        &self,
        request: Request<pb::VolumeMarkWritableRequest>,
    ) -> Result<Response<pb::VolumeMarkWritableResponse>, Status> {
        let id = request.into_inner().volume_id;
        let result = self.change(id, VolumeChange::OpenForCluster(VolumeId(id))).await;
        let result = result.map(|()| pb::VolumeMarkWritableResponse {});
        self.answered(ClusterCall::VolumeMarkWritable, result)
    }

    async fn vacuum_volume_check(
        &self,
        request: Request<pb::VacuumVolumeCheckRequest>,
    ) -> Result<Response<pb::VacuumVolumeCheckResponse>, Status> {
        let found = self.volume(request.into_inner().volume_id);
        let result = found.map(|(volume, _)| pb::VacuumVolumeCheckResponse {
            garbage_ratio: vacuum::garbage_ratio(&volume.board),
        });
        self.answered(ClusterCall::VacuumVolumeCheck, result)
    }

    async fn vacuum_volume_compact(
        &self,
        request: Request<pb::VacuumVolumeCompactRequest>,
    ) -> Result<Response<BoxStream<pb::VacuumVolumeCompactResponse>>, Status> {
        let result = match self.volume(request.into_inner().volume_id) {
            Ok((volume, _)) => vacuum::compact(&self.orders, Arc::clone(&volume.board)).await,
            Err(status) => Err(status),
        };
        self.answered(ClusterCall::VacuumVolumeCompact, result)
    }

    async fn vacuum_volume_commit(
        &self,
        request: Request<pb::VacuumVolumeCommitRequest>,
    ) -> Result<Response<pb::VacuumVolumeCommitResponse>, Status> {
        // The compaction has put the new file in the place of the old one already.
        let status = self.status_of(request.into_inner().volume_id);
        let result = status.map(|status| pb::VacuumVolumeCommitResponse {
            is_read_only: status.is_read_only,
            volume_size: status.volume_size,
        });
        self.answered(ClusterCall::VacuumVolumeCommit, result)
    }

    async fn vacuum_volume_cleanup(
        &self,
        request: Request<pb::VacuumVolumeCleanupRequest>,
    ) -> Result<Response<pb::VacuumVolumeCleanupResponse>, Status> {
        // A compaction leaves nothing behind, whether it succeeds or not.
        let found = self.volume(request.into_inner().volume_id);
        let result = found.map(|_| pb::VacuumVolumeCleanupResponse {});
        self.answered(ClusterCall::VacuumVolumeCleanup, result)
    }

    async fn volume_server_status(
        &self,
        _: Request<pb::VolumeServerStatusRequest>,
    ) -> Result<Response<pb::VolumeServerStatusResponse>, Status> {
        self.answered(ClusterCall::VolumeServerStatus, Ok(self.server_status()))
    }

    async fn ping(
        &self,
        request: Request<pb::PingRequest>,
    ) -> Result<Response<pb::PingResponse>, Status> {
        let link = self.state.link();
        let result = ping(&self.node, link.master.as_deref(), request.into_inner()).await;
        self.answered(ClusterCall::Ping, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_is_three_small_digits() {
        for (text, byte) in [("", 0), ("0", 0), ("000", 0), ("001", 1), ("10", 10), ("222", 222)] {
            assert_eq!(placement(text), Some(ReplicaPlacement(byte)), "{text:?}");
        }
        for text in ["003", "0000", "-1", "+1", " 1", "a"] {
            assert_eq!(placement(text), None, "{text:?}");
        }
    }

    #[test]
    fn wanted_volume_has_the_properties_of_the_request() {
        let mib = 1 << 20;
        let request = pb::AllocateVolumeRequest {
            volume_id: 7,
            collection: "photos".to_owned(),
            replication: "001".to_owned(),
            ttl: "5m".to_owned(),
            ..pb::AllocateVolumeRequest::default()
        };
        let new = wanted(&request, 256 * mib).unwrap();
        assert_eq!((new.id, new.size), (Some(VolumeId(7)), Some(ByteSize(512 * mib))));
        let cluster = new.cluster.unwrap();
        assert_eq!((cluster.collection.as_str(), cluster.placement.0), ("photos", 1));
        assert_eq!(cluster.ttl.map(|ttl| ttl.to_string()).as_deref(), Some("5m"));
        let with = |change: fn(&mut pb::AllocateVolumeRequest)| {
            let mut request = request.clone();
            change(&mut request);
            wanted(&request, mib).expect_err("it is wrong")
        };
        for (status, what) in [
            (with(|it| it.collection = "a/b".to_owned()), "\"a/b\" is no collection"),
            (with(|it| it.replication = "9".to_owned()), "\"9\" is no replication"),
            (with(|it| it.ttl = "5x".to_owned()), "\"5x\" is no time to live"),
        ] {
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().starts_with(what), "{status}");
        }
    }
}
