//! State shared by the handlers of the admin API.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use super::limits::AdminLimits;
use super::token::AdminToken;
use crate::node::control::cluster::{ClusterNode, ClusterState};
use crate::node::control::{Compactions, ControlRequest, Creations};
use crate::node::metrics::{Exporter, Metrics};

/// State shared by the handlers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AdminState {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) now_ns: fn() -> u64,
    pub(crate) limits: AdminLimits,
    pub(crate) exporter: Arc<Exporter>,
    pub(crate) requests: Sender<ControlRequest>,
    pub(crate) creations: Arc<Creations>,
    pub(crate) compactions: Arc<Compactions>,
    /// A permit for each list or stream of records that may be sent.
    pub(crate) streams: Arc<Semaphore>,
    /// The admin token, if there is one.
    pub(crate) token: Option<AdminToken>,
    /// The node in its cluster, if it belongs to one.
    pub(crate) cluster: Option<(Arc<ClusterNode>, Arc<ClusterState>)>,
}

impl AdminState {
    /// Creates the state. `now_ns` is the clock with which shards record their event loop iterations:
    /// CLOCK_MONOTONIC in nanoseconds, or a clock that a test controls. Changes are sent to `requests`;
    /// `creations` holds the volumes that they create, `compactions` those that they compact.
    #[must_use]
    pub fn new(
        metrics: Arc<Metrics>,
        now_ns: fn() -> u64,
        limits: AdminLimits,
        requests: Sender<ControlRequest>,
        creations: Arc<Creations>,
        compactions: Arc<Compactions>,
    ) -> Self {
        let exporter = Arc::new(Exporter::new(Arc::clone(&metrics), now_ns));
        let streams = Arc::new(Semaphore::new(limits.streams));
        Self {
            metrics,
            now_ns,
            limits,
            exporter,
            requests,
            creations,
            compactions,
            streams,
            token: None,
            cluster: None,
        }
    }

    /// Returns a permit for a list, or for a stream of records in either direction.
    ///
    /// # Errors
    /// [`ApiError::TooManyStreams`].
    pub(super) fn stream_turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let turn = Arc::clone(&self.streams).try_acquire_owned();
        turn.map_err(|_| ApiError::TooManyStreams)
    }

    /// Returns the state with an admin token, if there is one.
    #[must_use]
    pub fn with_token(self, token: Option<AdminToken>) -> Self {
        Self { token, ..self }
    }

    /// Returns the state of a node that belongs to a cluster, if it does.
    #[must_use]
    pub fn with_cluster(self, cluster: Option<(Arc<ClusterNode>, Arc<ClusterState>)>) -> Self {
        Self { cluster, ..self }
    }
}
