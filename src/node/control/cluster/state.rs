//! The connection of the node to the master of its cluster, as the rest of the node sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::shown_copy::ShownCopy;
use crate::base::types::VolumeId;

/// An error of the connection to a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError {
    /// What failed, with the address of the master, as one sentence.
    pub what: String,
    /// When (seconds since 1970).
    pub at: u64,
}

/// The connection to the master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterLink {
    /// Address of the leader that the node is registered with; `None` while it is with none.
    pub master: Option<String>,
    /// Since when it is registered with this one, or with none (seconds since 1970).
    pub since: u64,
    /// The last error since the daemon started.
    pub last_error: Option<LinkError>,
    /// Size at which the master takes a volume for full (bytes); `None` as long as none has said it.
    pub volume_size_limit: Option<u64>,
}

/// State of the node in its cluster. The control plane writes; any thread may read.
#[derive(Debug, Default)]
pub struct ClusterState {
    link: Mutex<ClusterLink>,
    /// The copies of volumes on other nodes.
    copies: Mutex<BTreeMap<VolumeId, Vec<ShownCopy>>>,
    /// Something that the master should know at once has changed.
    changed: Notify,
    leaving: AtomicBool,
    left: AtomicBool,
}

impl ClusterState {
    fn lock(&self) -> MutexGuard<'_, ClusterLink> {
        // No code under this lock leaves the link inconsistent when it panics.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection as it is now.
    #[must_use]
    pub fn link(&self) -> ClusterLink {
        self.lock().clone()
    }

    /// Size at which the master takes a volume for full (bytes), if one has said it.
    #[must_use]
    pub fn volume_size_limit(&self) -> Option<u64> {
        self.lock().volume_size_limit
    }

    /// Records that the node is registered with a master, since `now` (seconds since 1970).
    pub(super) fn connected(&self, master: &str, now: u64) {
        let mut link = self.lock();
        if link.master.as_deref() != Some(master) {
            link.master = Some(master.to_owned());
            link.since = now;
        }
    }

    /// Records that the node is registered with no master, since `now` (seconds since 1970), and why, if that
    /// is an error.
    pub(super) fn disconnected(&self, error: Option<String>, now: u64) {
        let mut link = self.lock();
        if link.master.take().is_some() || link.since == 0 {
            link.since = now;
        }
        if let Some(what) = error {
            link.last_error = Some(LinkError { what, at: now });
        }
    }

    /// Records the size at which the master takes a volume for full (bytes). Returns whether it was another.
    pub(super) fn set_volume_size_limit(&self, bytes: u64) -> bool {
        let limit = Some(bytes).filter(|bytes| *bytes > 0);
        let mut link = self.lock();
        let is_new = limit.is_some() && link.volume_size_limit != limit;
        link.volume_size_limit = limit.or(link.volume_size_limit);
        is_new
    }

    /// The copies of a volume on other nodes.
    #[must_use]
    pub fn copies(&self, volume: VolumeId) -> Vec<ShownCopy> {
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.get(&volume).cloned().unwrap_or_default()
    }

    /// Replaces what is shown of the copies.
    pub(super) fn set_copies(&self, copies: BTreeMap<VolumeId, Vec<ShownCopy>>) {
        *self.copies.lock().unwrap_or_else(PoisonError::into_inner) = copies;
    }

    /// Notes that volumes were made, deleted or changed, which the master is told at once.
    pub(super) fn volumes_changed(&self) {
        self.changed.notify_one();
    }

    /// Waits until there is something that the master is told at once.
    pub(super) async fn change(&self) {
        self.changed.notified().await;
    }

    /// Begins to leave the cluster: the master is told that the node has no volumes, so that nobody is sent
    /// here any more.
    pub fn leave(&self) {
        self.leaving.store(true, Relaxed);
        self.changed.notify_one();
    }

    /// Whether the node is leaving.
    #[must_use]
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Records that the master was told that the node leaves, or that there is none to tell.
    pub(super) fn set_left(&self) {
        self.left.store(true, Relaxed);
    }

    /// Whether the master was told that the node leaves, or there is none to tell.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.left.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_has_the_time_of_its_last_change_and_the_last_error() {
        let state = ClusterState::default();
        assert_eq!(state.link(), ClusterLink::default());
        state.disconnected(Some("m:1: refused".to_owned()), 5);
        state.disconnected(Some("m:1: refused again".to_owned()), 7);
        let link = state.link();
        assert_eq!((link.master, link.since), (None, 5));
        let error = LinkError { what: "m:1: refused again".to_owned(), at: 7 };
        assert_eq!(link.last_error, Some(error.clone()));
        state.connected("m:1", 9);
        state.connected("m:1", 11);
        let link = state.link();
        assert_eq!((link.master.as_deref(), link.since), (Some("m:1"), 9));
        assert_eq!(link.last_error, Some(error), "it is kept");
        state.connected("m:2", 12);
        assert_eq!(state.link().since, 12, "another leader");
        state.disconnected(None, 13);
        assert_eq!((state.link().master, state.link().since), (None, 13));
    }

    #[test]
    fn size_limit_is_kept_until_a_master_says_another() {
        let state = ClusterState::default();
        assert!(!state.set_volume_size_limit(0), "none was said");
        assert_eq!(state.volume_size_limit(), None);
        assert!(state.set_volume_size_limit(7) && !state.set_volume_size_limit(7));
        assert!(!state.set_volume_size_limit(0));
        assert_eq!(state.volume_size_limit(), Some(7));
        assert!(state.set_volume_size_limit(8));
    }

    #[test]
    fn leaving_ends_when_the_master_was_told() {
        let state = ClusterState::default();
        assert!(!state.is_leaving() && !state.has_left());
        state.leave();
        assert!(state.is_leaving() && !state.has_left());
        state.set_left();
        assert!(state.has_left());
    }
}
