//! Changes to volumes while the daemon runs: creation, deletion, read-only and writable, fencing of lost
//! volumes.
//!
//! Runs on the main thread. Each change is a task; a volume has at most one change requested by the admin
//! API under way. `lost` handles lost files.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use super::cluster::next_own_id;
use super::compaction::CompactionState;
use super::health::HealthState;
use super::machine::OpenFiles;
use super::placement::Placement;
use super::shards::{assign, device_limit};
use super::space::space_soon;
use super::store::Store;
use super::volume_files::{self, FoundVolume};
use crate::base::limits::CHANGES_MAX;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::size::{ByteSize, rounded};
use crate::base::types::{ShardId, VolumeId};
use crate::node::config::Config;
use crate::node::control::{
    ChangeRequest, Creations, NewClusterVolume, NewVolume, Refused, VolumeChange,
};
use crate::node::shard::{
    DeleteVolume, LimitDevice, OpenVolume, OrderError, RemoteKind, Requester, SetReadOnly,
    SetRoute, Shared,
};
use crate::runtime::Handle;
use crate::volume::{
    IoError, NotPulled, NotStreamed, Preallocation, Refusal, Replica, StateError, Superblock,
};

/// State shared by the tasks of the manager.
pub struct ManagerState {
    /// The data directories, locked until the daemon ends.
    pub stores: Vec<Store>,
    /// Files and shard of each volume.
    pub placement: RefCell<Placement>,
    /// The configuration.
    pub config: Config,
    /// State shared with the shards.
    pub shared: Arc<Shared>,
    /// Handle of the control ring's runtime.
    pub handle: Handle,
    /// Sends orders to the shards.
    pub requester: Requester,
    /// Volumes being created, and creations that failed.
    pub creations: Arc<Creations>,
    /// Division of the file descriptors.
    pub open_files: OpenFiles,
    /// Ids of the volumes being changed. A compaction is no change.
    pub changing: RefCell<BTreeSet<VolumeId>>,
    /// Compactions.
    pub compaction: CompactionState,
    /// Health of the volumes and disks.
    pub health: HealthState,
    /// Whether it was logged which volumes belong to no cluster.
    pub own_ids_named: Cell<bool>,
}

/// Marks a volume as being changed, until dropped.
pub(super) struct Changing {
    state: Rc<ManagerState>,
    id: VolumeId,
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.state.changing.borrow_mut().remove(&self.id);
    }
}

/// An accepted creation: checked, and with its volume marked as being changed. Size in bytes.
pub(super) struct Plan {
    changing: Changing,
    size: u64,
    store: usize,
    is_replica: bool,
    cluster: Option<NewClusterVolume>,
}

impl Plan {
    /// Id of the new volume.
    pub(super) fn volume(&self) -> VolumeId {
        self.changing.id
    }
}

impl ManagerState {
    pub(super) async fn change(self: Rc<Self>, request: ChangeRequest) {
        match request.change.clone() {
            VolumeChange::Create(new) => match self.plan(new) {
                Ok(plan) => {
                    request.answer(Ok(plan.changing.id));
                    self.create(plan).await;
                }
                Err(refused) => request.answer(Err(refused)),
            },
            VolumeChange::Delete(id) => {
                let result = self.delete(id).await;
                request.answer(result.map(|()| id));
            }
            VolumeChange::DeleteIfEmpty(id) => {
                let result = self.delete_if_empty(id).await;
                request.answer(result.map(|()| id));
            }
            VolumeChange::CloseForCluster { id, takes_deletes } => {
                let result = self.set_closed_by_cluster(id, true, takes_deletes).await;
                request.answer(result.map(|()| id));
            }
            VolumeChange::OpenForCluster(id) => {
                let result = self.set_closed_by_cluster(id, false, false).await;
                request.answer(result.map(|()| id));
            }
            VolumeChange::SetReadOnly { id, read_only } => {
                let result = self.set_read_only(id, read_only).await;
                request.answer(result.map(|()| id));
            }
            VolumeChange::Compact { id, wanted } => {
                let result = self.compact(id, wanted).await;
                request.answer(result.map(|()| id));
            }
            VolumeChange::Scrub(id) => {
                let result = self.scrub(id).await;
                request.answer(result.map(|()| id));
            }
            VolumeChange::Clear(id) => {
                let result = self.clear(id).await;
                request.answer(result.map(|()| id));
            }
            VolumeChange::MakeReplica(id) => {
                let result = self.make_replica(id).await;
                request.answer(result.map(|()| id));
            }
            VolumeChange::CancelCompaction(id) => {
                let result = self.cancel_compaction(id).await;
                request.answer(result.map(|()| id));
            }
        }
    }

    pub(super) fn begin(self: &Rc<Self>, id: VolumeId) -> Result<Changing, Refused> {
        let mut changing = self.changing.borrow_mut();
        if changing.contains(&id) && !chosen(Sabotage::InterleavedChanges) {
            let sentence = format!("Volume {id} is being changed already; wait for that to end.");
            return Err(Refused::Conflict(sentence));
        }
        if changing.len() >= CHANGES_MAX {
            return Err(Refused::Busy);
        }
        changing.insert(id);
        Ok(Changing { state: Rc::clone(self), id })
    }

    pub(super) fn plan(self: &Rc<Self>, new: NewVolume) -> Result<Plan, Refused> {
        if let Some(missing) = self.stores.iter().find(|store| store.dir.is_none()) {
            return Err(Refused::Conflict(format!(
                "Data directory {} is not in use, and which numbers its volumes have is not known: a new \
                 volume could get one that is taken. Bring it back, or take it out of the configuration, \
                 and restart.",
                missing.path.display()
            )));
        }
        let id = match new.id {
            Some(id) => id,
            None => self.next_id()?,
        };
        self.check_number(id)?;
        let size = new.size.unwrap_or(self.config.volume_size);
        let checked = Config::check_volume_size(size);
        checked
            .map_err(|error| Refused::Invalid(format!("No volume can have this size: {error}.")))?;
        self.check_open_files()?;
        let store = self.choose_store(new.disk, size)?;
        let changing = self.begin(id)?;
        let disk = u32::try_from(store).expect("at most 256 data directories: checked in config");
        self.creations.begin(id, disk, size.bytes());
        let NewVolume { replica: is_replica, cluster, .. } = new;
        Ok(Plan { changing, size: size.bytes(), store, is_replica, cluster })
    }

    /// Checks that no volume and no file has the number of a volume to be created.
    ///
    /// # Errors
    /// [`Refused::Exists`] if one has; [`Refused::Failed`] if a data directory cannot be listed.
    fn check_number(&self, id: VolumeId) -> Result<(), Refused> {
        if chosen(Sabotage::CreateOverFiles) {
            return Ok(());
        }
        if self.placement.borrow().get(id).is_some() {
            let sentence = format!("Volume {id} exists already; choose another number.");
            return Err(Refused::Exists(sentence));
        }
        match volume_files::file_of(&self.stores, id) {
            Ok(None) => Ok(()),
            Ok(Some(path)) => Err(Refused::Exists(format!(
                "{} has the number of volume {id} and came there since the start; choose another number, or \
                 restart to use that file.",
                path.display()
            ))),
            Err(error) => Err(Refused::Failed(format!("Volume {id} was not made: {error}."))),
        }
    }

    fn next_id(&self) -> Result<VolumeId, Refused> {
        let placement = self.placement.borrow();
        let changing = self.changing.borrow();
        let taken = placement.owners().into_keys().chain(changing.iter().copied());
        let next = match self.config.cluster.is_on() {
            true => next_own_id(taken),
            false => taken.max().map_or(0, |id| id.0).checked_add(1).map(VolumeId),
        };
        next.ok_or_else(|| {
            Refused::Conflict("The highest number is taken; choose one with \"id\".".to_owned())
        })
    }

    /// Checks that one more volume leaves enough file descriptors for clients and for the next start.
    ///
    /// # Errors
    /// [`Refused::NoSpace`] if not.
    fn check_open_files(&self) -> Result<(), Refused> {
        let placement = self.placement.borrow();
        let changing = self.changing.borrow();
        let creations = changing.iter().filter(|id| placement.get(**id).is_none()).count();
        let volumes = (placement.all().count() + creations) as u64;
        let OpenFiles { volumes_max, limit, .. } = self.open_files;
        if volumes < volumes_max {
            return Ok(());
        }
        Err(Refused::NoSpace(format!(
            "The limit of open files is {limit}, which is enough for {volumes_max} volumes, and there are \
             {volumes}: with one more the next start would be refused. Raise the limit (LimitNOFILE= in the \
             unit, `ulimit -Hn` in a shell) and restart, or delete a volume."
        )))
    }

    /// Returns the position of the data directory `disk`.
    ///
    /// # Errors
    /// [`Refused::Invalid`] if there is no such directory.
    pub(super) fn store_at(&self, disk: u32) -> Result<usize, Refused> {
        let last = self.stores.len() - 1;
        if disk as usize <= last {
            return Ok(disk as usize);
        }
        let sentence = format!("There is no data directory {disk}; /status lists 0 to {last}.");
        Err(Refused::Invalid(sentence))
    }

    /// Returns the position of the data directory `disk`, or of the one with the most free space, if a
    /// volume of `size` fits there and leaves room for compactions.
    ///
    /// # Errors
    /// [`Refused::Invalid`] if there is no such directory, [`Refused::NoSpace`] if the volume does not fit.
    fn choose_store(&self, disk: Option<u32>, size: ByteSize) -> Result<usize, Refused> {
        let candidates = match disk {
            Some(disk) => vec![self.store_at(disk)?],
            None => (0..self.stores.len()).collect(),
        };
        let spaces = candidates.into_iter().map(|store| {
            let (free, size) = space_soon(&self.stores[store].path).unwrap_or_default();
            let reserve = self.reserve(store, size).saturating_add(self.owed(store));
            (free.saturating_sub(reserve), store, free, reserve)
        });
        let (left, store, free, reserve) =
            spaces.rev().max().expect("a daemon has at least one data directory");
        if left < size.bytes() {
            let kept = match reserve {
                0 => String::new(),
                bytes => {
                    let kept = rounded(bytes);
                    let owed = match self.config.cluster.is_on() {
                        true => " and for the rest of the files that are there",
                        false => "",
                    };
                    format!(", of which {kept} are kept for compactions (compaction.reserve){owed}")
                }
            };
            return Err(Refused::NoSpace(format!(
                "{} has {} free{kept}, and a volume of {size} does not fit. Choose a smaller size, make \
                 space, or add a disk.",
                self.stores[store].path.display(),
                rounded(free),
            )));
        }
        Ok(store)
    }

    pub(super) async fn create(self: &Rc<Self>, plan: Plan) {
        let (id, store) = (plan.changing.id, &self.stores[plan.store]);
        let dir = store.dir.as_ref().expect("plan() refuses while a data directory is missing");
        let new = volume_files::superblock(dir, id, plan.size);
        let replica = plan.is_replica.then(Replica::default);
        let cluster = plan.cluster.as_ref().map(volume_files::cluster_properties);
        let superblock = Superblock { replica, cluster, ..new };
        // A cluster makes several volumes at once, long before it fills them.
        let preallocation = match plan.cluster {
            Some(_) => Preallocation::InSteps,
            None => volume_files::preallocation(&self.config),
        };
        let progress = |done| self.creations.progress(id, done);
        let path = store.path.clone();
        let made =
            volume_files::create(&self.handle, path, &superblock, preallocation, progress).await;
        if let Err((what, error)) = made {
            return self.creations.fail(id, not_made(id, store, what, error));
        }
        let found = FoundVolume::single(id, plan.store, superblock.generation);
        let shard = self.placement.borrow_mut().place(&found);
        let assignment = {
            let placement = self.placement.borrow();
            let placed = placement.get(id).expect("it was placed just now");
            let records = self.health.records.borrow();
            assign(id, placed, &self.stores, &self.config, &records, &self.shared.metrics)
        };
        let opened = self.ask(shard, OpenVolume(assignment)).await;
        self.route(id, Some(shard)).await;
        match opened {
            Ok(summary) => {
                self.creations.end(id);
                let size = ByteSize(summary.size);
                let path = store.path.display();
                tracing::info!(volume = id.0, "created, {size} in {path}, on shard {shard}");
            }
            Err(error) => {
                let sentence =
                    format!("Volume {id} was made, but {error}. Delete it and try again.");
                self.creations.fail(id, Refused::Failed(sentence));
            }
        }
        drop(plan);
    }

    /// Sends an order to a shard and waits for its outcome. Each change has one order to a shard under way,
    /// so that there are never more than a mailbox has room for.
    pub(super) async fn ask<R: RemoteKind>(&self, shard: ShardId, order: R) -> R::Outcome {
        self.requester.ask(shard, order).await
    }

    /// Sends the owner of a volume (`None`: deleted) and the resulting device limits to all shards.
    pub(super) async fn route(&self, volume: VolumeId, owner: Option<ShardId>) {
        for shard in ShardId::all(self.shared.shards()) {
            let operations = device_limit(&self.config, &self.placement.borrow(), shard);
            self.ask(shard, SetRoute { volume, owner }).await;
            self.ask(shard, LimitDevice { operations }).await;
        }
    }

    pub(super) async fn delete(self: &Rc<Self>, id: VolumeId) -> Result<(), Refused> {
        let changing = self.begin(id)?;
        self.delete_in_change(id, changing).await
    }

    /// As [`Self::delete`], of a volume that is marked as being changed.
    pub(super) async fn delete_in_change(
        self: &Rc<Self>,
        id: VolumeId,
        _changing: Changing,
    ) -> Result<(), Refused> {
        if !chosen(Sabotage::DeleteWhileCompacting) {
            self.end_compaction_of(id).await;
        }
        let Some(shard) = self.shard_of(id) else {
            self.creations.get(id).ok_or(Refused::NoSuchVolume(id))?;
            self.creations.end(id);
            return Ok(());
        };
        let deleted = self.ask(shard, DeleteVolume { volume: id }).await;
        let summary = deleted.map_err(|error| refused(id, "deleted", error))?;
        self.forget(id).await;
        match summary {
            Some(summary) => {
                tracing::info!(volume = id.0, "deleted, with {} needles", summary.needles)
            }
            None => tracing::info!(volume = id.0, "deleted; it could not be opened"),
        }
        Ok(())
    }

    /// Removes a volume that has no file any more from all tables.
    pub(super) async fn forget(&self, id: VolumeId) {
        self.placement.borrow_mut().remove(id);
        self.route(id, None).await;
        self.shared.metrics.remove_volume(id);
        self.creations.end(id);
        self.compaction.forget(id);
        self.health.forget(id);
    }

    /// The shard of a volume.
    pub(super) fn shard_of(&self, id: VolumeId) -> Option<ShardId> {
        self.placement.borrow().get(id).map(|placed| placed.shard)
    }

    pub(super) async fn set_read_only(
        self: &Rc<Self>,
        id: VolumeId,
        read_only: bool,
    ) -> Result<(), Refused> {
        let _changing = self.begin(id)?;
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let what = if read_only { "made read-only" } else { "made writable" };
        let done = self.ask(shard, SetReadOnly { volume: id, read_only }).await;
        let summary = done.map_err(|error| refused(id, what, error))?;
        tracing::info!(volume = id.0, write_state = ?summary.write_state, "{what}");
        Ok(())
    }
}

fn not_made(id: VolumeId, store: &Store, what: &str, error: IoError) -> Refused {
    let path = store.path.display();
    match error {
        IoError::Errno(nix::libc::ENOSPC) => Refused::NoSpace(format!(
            "Volume {id} could not be made in {path}: the disk is full. Nothing is left of it. Choose a \
             smaller size, make space, or add a disk."
        )),
        error => Refused::Failed(format!(
            "Volume {id} could not be made in {path}: cannot {what}: {error}. Check the kernel log and the \
             disk."
        )),
    }
}

pub(super) fn refused(id: VolumeId, what: &str, error: OrderError) -> Refused {
    let sentence = format!("Volume {id} was not {what}: {error}.");
    match error {
        OrderError::NoVolume => Refused::NoSuchVolume(id),
        OrderError::Recovering
        | OrderError::Lost
        | OrderError::NotOpened(_)
        | OrderError::Compacting
        | OrderError::NotCompacting
        | OrderError::NotCompacted(_)
        | OrderError::State(
            StateError::Sealed
            | StateError::Poisoned
            | StateError::Suspect
            | StateError::NotOfCluster,
        ) => Refused::Conflict(sentence),
        OrderError::NotStreamed(NotStreamed::Behind(_)) => Refused::Gone(sentence),
        OrderError::NotOffered(_)
        | OrderError::NotStreamed(NotStreamed::NoBuffer | NotStreamed::Closing) => {
            Refused::Unavailable(sentence)
        }
        OrderError::NotPulled(why) => not_pulled(why, sentence),
        OrderError::State(StateError::NoBuffer) => Refused::Busy,
        OrderError::State(StateError::Failed(_)) | OrderError::NotRemoved(..) => {
            Refused::Failed(sentence)
        }
    }
}

fn not_pulled(why: NotPulled, sentence: String) -> Refused {
    match why {
        NotPulled::NotReplica
        | NotPulled::Itself
        | NotPulled::OtherSource
        | NotPulled::Position(_)
        | NotPulled::Superseded
        | NotPulled::State(
            StateError::Sealed
            | StateError::Poisoned
            | StateError::Suspect
            | StateError::NotOfCluster,
        )
        | NotPulled::Refused(
            Refusal::Conflict
            | Refusal::Precondition
            | Refusal::NotFound
            | Refusal::ReadOnly
            | Refusal::Poisoned
            | Refusal::Suspect,
        ) => Refused::Conflict(sentence),
        NotPulled::Bad(_) => Refused::Invalid(sentence),
        NotPulled::Refused(Refusal::Full) => Refused::NoSpace(sentence),
        NotPulled::NoBuffer
        | NotPulled::Closing
        | NotPulled::State(StateError::NoBuffer)
        | NotPulled::Refused(Refusal::Closing | Refusal::NoBuffer) => {
            Refused::Unavailable(sentence)
        }
        NotPulled::State(StateError::Failed(_))
        | NotPulled::Refused(Refusal::Failed(_) | Refusal::Unreadable(_)) => {
            Refused::Failed(sentence)
        }
    }
}

#[cfg(test)]
mod tests;
