//! Changes to volumes while the daemon runs: creation, deletion, read-only and writable, fencing of lost
//! volumes.
//!
//! Runs on the main thread. Each change is a task; a volume has at most one change requested by the admin
//! API under way.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::control::Control;
use super::disks::Lost;
use super::machine::OpenFiles;
use super::placement::Placement;
use super::shards::{assign, device_limit};
use super::space::space;
use super::store::Store;
use super::volume_files::{self, FoundVolume};
use crate::base::limits::CHANGES_MAX;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::size::{ByteSize, rounded};
use crate::base::types::{ShardId, VolumeId};
use crate::node::config::Config;
use crate::node::control::{ChangeRequest, Creations, NewVolume, Refused, VolumeChange};
use crate::node::shard::{
    DeleteVolume, FenceVolume, LimitDevice, OpenVolume, OrderError, RemoteKind, Requester,
    SetReadOnly, SetRoute, Shared,
};
use crate::runtime::Handle;
use crate::volume::{IoError, StateError};

/// Longest wait of one event loop iteration while a change is under way.
const TURN: Duration = Duration::from_millis(20);

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
    /// Ids of the volumes being changed.
    pub changing: RefCell<BTreeSet<VolumeId>>,
}

/// Executes changes to volumes.
pub struct Manager {
    /// The ring that runs the tasks.
    pub control: Control,
    /// State shared by the tasks.
    pub state: Rc<ManagerState>,
    /// Changes requested by the admin API.
    pub requests: Receiver<ChangeRequest>,
    /// Data directories and volume files reported as lost.
    pub lost: Receiver<Lost>,
}

impl Manager {
    /// Handles requests and runs tasks for the duration `time`.
    pub fn work(&mut self, time: Duration) {
        let until = std::time::Instant::now() + time;
        loop {
            match self.lost.try_recv() {
                Ok(lost) => self.spawn(|state| state.handle_lost(lost)),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return;
            }
            let is_busy = self.control.handle().tasks() > 0;
            let wait = if is_busy { Duration::ZERO } else { left };
            match self.requests.recv_timeout(wait) {
                Ok(request) => self.spawn(|state| state.change(request)),
                Err(RecvTimeoutError::Timeout) => {}
                // The admin thread has ended: `Running::watch` notices that.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left.min(TURN)),
            }
            if self.control.handle().tasks() > 0 {
                let ManagerState { shared, requester, .. } = &*self.state;
                self.control.turn(shared, requester, left.min(TURN));
            }
        }
    }

    fn spawn<F: Future<Output = ()> + 'static>(&self, task: impl FnOnce(Rc<ManagerState>) -> F) {
        self.control.handle().spawn(task(Rc::clone(&self.state)));
    }
}

/// Marks a volume as being changed, until dropped.
struct Changing {
    state: Rc<ManagerState>,
    id: VolumeId,
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.state.changing.borrow_mut().remove(&self.id);
    }
}

/// An accepted creation: checked, and with its volume marked as being changed. Size in bytes.
struct Plan {
    changing: Changing,
    size: u64,
    store: usize,
}

impl ManagerState {
    async fn change(self: Rc<Self>, request: ChangeRequest) {
        match request.change {
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
            VolumeChange::SetReadOnly { id, read_only } => {
                let result = self.set_read_only(id, read_only).await;
                request.answer(result.map(|()| id));
            }
        }
    }

    fn begin(self: &Rc<Self>, id: VolumeId) -> Result<Changing, Refused> {
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

    fn plan(self: &Rc<Self>, new: NewVolume) -> Result<Plan, Refused> {
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
        if self.placement.borrow().get(id).is_some() {
            let sentence = format!("Volume {id} exists already; choose another number.");
            return Err(Refused::Conflict(sentence));
        }
        self.check_files(id)?;
        let size = new.size.unwrap_or(self.config.volume_size);
        let checked = Config::check_volume_size(size);
        checked
            .map_err(|error| Refused::Invalid(format!("No volume can have this size: {error}.")))?;
        self.check_open_files()?;
        let store = self.choose_store(new.disk, size)?;
        let changing = self.begin(id)?;
        let disk = u32::try_from(store).expect("at most 256 data directories: checked in config");
        self.creations.begin(id, disk, size.bytes());
        Ok(Plan { changing, size: size.bytes(), store })
    }

    /// Checks that no file has the number of a volume to be created.
    ///
    /// # Errors
    /// [`Refused::Conflict`] if one has; [`Refused::Failed`] if a data directory cannot be listed.
    fn check_files(&self, id: VolumeId) -> Result<(), Refused> {
        match volume_files::file_of(&self.stores, id) {
            Ok(None) => Ok(()),
            Ok(Some(path)) => Err(Refused::Conflict(format!(
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
        let highest = taken.max().map_or(0, |id| id.0);
        highest.checked_add(1).map(VolumeId).ok_or_else(|| {
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

    /// Returns the position of the data directory `disk`, or of the one with the most free space, if a
    /// volume of `size` fits there.
    ///
    /// # Errors
    /// [`Refused::Invalid`] if there is no such directory, [`Refused::NoSpace`] if the volume does not fit.
    fn choose_store(&self, disk: Option<u32>, size: ByteSize) -> Result<usize, Refused> {
        let candidates: Vec<usize> = match disk {
            Some(disk) if (disk as usize) < self.stores.len() => vec![disk as usize],
            Some(disk) => {
                let last = self.stores.len() - 1;
                let sentence =
                    format!("There is no data directory {disk}; /status lists 0 to {last}.");
                return Err(Refused::Invalid(sentence));
            }
            None => (0..self.stores.len()).collect(),
        };
        let free = |store: usize| space(&self.stores[store].path).map_or(0, |(free, _)| free);
        let spaces = candidates.into_iter().map(|store| (free(store), store));
        let (free, store) = spaces.rev().max().expect("a daemon has at least one data directory");
        if free < size.bytes() {
            return Err(Refused::NoSpace(format!(
                "{} has {} free, and a volume of {size} does not fit. Choose a smaller size, make space, \
                 or add a disk.",
                self.stores[store].path.display(),
                rounded(free),
            )));
        }
        Ok(store)
    }

    async fn create(self: &Rc<Self>, plan: Plan) {
        let (id, store) = (plan.changing.id, &self.stores[plan.store]);
        let dir = store.dir.as_ref().expect("plan() refuses while a data directory is missing");
        let superblock = volume_files::superblock(dir, id, plan.size);
        let preallocation = volume_files::preallocation(&self.config);
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
            assign(id, placed, &self.stores, &self.config, &self.shared.metrics)
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
    async fn ask<R: RemoteKind>(&self, shard: ShardId, order: R) -> R::Outcome {
        self.requester.ask(shard, order).await
    }

    /// Sends the owner of a volume (`None`: deleted) and the resulting device limits to all shards.
    async fn route(&self, volume: VolumeId, owner: Option<ShardId>) {
        for shard in ShardId::all(self.shared.shards()) {
            let operations = device_limit(&self.config, &self.placement.borrow(), shard);
            self.ask(shard, SetRoute { volume, owner }).await;
            self.ask(shard, LimitDevice { operations }).await;
        }
    }

    async fn delete(self: &Rc<Self>, id: VolumeId) -> Result<(), Refused> {
        let _changing = self.begin(id)?;
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
    async fn forget(&self, id: VolumeId) {
        self.placement.borrow_mut().remove(id);
        self.route(id, None).await;
        self.shared.metrics.remove_volume(id);
        self.creations.end(id);
    }

    /// The shard of a volume.
    fn shard_of(&self, id: VolumeId) -> Option<ShardId> {
        self.placement.borrow().get(id).map(|placed| placed.shard)
    }

    async fn set_read_only(self: &Rc<Self>, id: VolumeId, read_only: bool) -> Result<(), Refused> {
        let _changing = self.begin(id)?;
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let what = if read_only { "made read-only" } else { "made writable" };
        let done = self.ask(shard, SetReadOnly { volume: id, read_only }).await;
        let summary = done.map_err(|error| refused(id, what, error))?;
        tracing::info!(volume = id.0, write_state = ?summary.write_state, "{what}");
        Ok(())
    }

    /// Fences the volumes whose files were lost: they take no more writes. Forgets a volume without a file.
    async fn handle_lost(self: Rc<Self>, lost: Lost) {
        match lost {
            Lost::Disk(_, files) => {
                for (volume, generation) in files {
                    self.fence(volume, generation).await;
                }
            }
            Lost::Volume(volume, generation) => self.fence(volume, generation).await,
            Lost::LastFile(volume) => {
                self.forget(volume).await;
                tracing::info!(
                    volume = volume.0,
                    "removed: its only file was not finished. A deletion of the volume was interrupted"
                );
            }
        }
    }

    async fn fence(&self, volume: VolumeId, generation: u64) {
        let Some(shard) = self.shard_of(volume) else { return };
        match self.ask(shard, FenceVolume { volume, generation }).await {
            Ok(Some(summary)) => {
                tracing::info!(volume = volume.0, write_state = ?summary.write_state, "fenced");
            }
            Ok(None) => {
                tracing::info!(
                    volume = volume.0,
                    "not fenced: generation {generation}, whose file was lost, is no longer in use"
                );
            }
            // A volume that refuses the order takes no writes anyway.
            Err(error) => tracing::info!(volume = volume.0, "{error}"),
        }
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

fn refused(id: VolumeId, what: &str, error: OrderError) -> Refused {
    let sentence = format!("Volume {id} was not {what}: {error}.");
    match error {
        OrderError::NoVolume => Refused::NoSuchVolume(id),
        OrderError::Recovering
        | OrderError::Lost
        | OrderError::NotOpened(_)
        | OrderError::State(StateError::Sealed | StateError::Poisoned) => {
            Refused::Conflict(sentence)
        }
        OrderError::State(StateError::NoBuffer) => Refused::Busy,
        OrderError::State(StateError::Failed(_)) | OrderError::NotRemoved(..) => {
            Refused::Failed(sentence)
        }
    }
}

#[cfg(test)]
mod tests;
