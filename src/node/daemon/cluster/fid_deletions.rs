//! Deletions of photos that the cluster names by fid.

use std::rc::Rc;

use crate::base::types::{Cookie, NeedleId};
use crate::node::control::{FidDeleted, FidDeletion, FidDeletionRequest};
use crate::node::daemon::manager::ManagerState;
use crate::node::shard::{DeleteFid, DeletedFid, RequestError, ToVolume};
use crate::runtime::join_all;

/// Number of deletions that are under way at a time: those of a volume share commits.
const AT_ONCE: usize = 64;

impl ManagerState {
    /// Answers a request to delete photos.
    pub(in crate::node::daemon) async fn delete_fids(self: Rc<Self>, request: FidDeletionRequest) {
        let deletions = request.photos.iter().map(|photo| self.delete_fid(*photo));
        let deleted = join_all(deletions, AT_ONCE).await;
        request.answer(deleted);
    }

    async fn delete_fid(&self, photo: FidDeletion) -> FidDeleted {
        let FidDeletion { volume, key, cookie } = photo;
        let Some(shard) = self.shard_of(volume) else { return FidDeleted::NoVolume };
        let cookie = cookie.map(|cookie| Cookie(u64::from(cookie)));
        let request = DeleteFid { id: NeedleId::new(key, 0), cookie, origin: None };
        match self.ask(shard, ToVolume { volume, request }).await {
            Ok(DeletedFid::Deleted(size)) => FidDeleted::Deleted(size),
            Ok(DeletedFid::Absent | DeletedFid::Outdated) => FidDeleted::Absent,
            Ok(DeletedFid::OtherCookie) => FidDeleted::OtherCookie,
            Err(RequestError::NoVolume) => FidDeleted::NoVolume,
            Err(error) => FidDeleted::Failed(format!("not deleted: {error:?}")),
        }
    }
}
