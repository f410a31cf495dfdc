//! Volumes that the cluster wants.

use std::rc::Rc;

use crate::node::control::{AllocationRequest, NewVolume, Refused};
use crate::node::daemon::manager::ManagerState;

impl ManagerState {
    /// Creates a volume of the cluster, and answers when it serves, or nothing is left of it.
    pub(in crate::node::daemon) async fn allocate(self: Rc<Self>, request: AllocationRequest) {
        let (new, reply) = request.into_parts();
        reply.answer(self.create_for_cluster(new).await);
    }

    pub(super) async fn create_for_cluster(self: &Rc<Self>, new: NewVolume) -> Result<(), Refused> {
        let plan = self.plan(new)?;
        let id = plan.volume();
        self.create(plan).await;
        let Some(failed) = self.creations.get(id).and_then(|creation| creation.failed) else {
            return Ok(());
        };
        // The cluster takes a volume that was refused for one that does not exist.
        if let Err(refused) = self.delete(id).await {
            tracing::error!(volume = id.0, "was made for the cluster, but not opened: {refused}");
        }
        Err(failed)
    }
}
