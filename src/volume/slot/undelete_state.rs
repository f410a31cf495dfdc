//! Taking photos back: how far the last order is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use crate::base::types::NeedleId;
use crate::runtime::Handle;
use crate::runtime::background::{BackgroundTask, Backoff};
use crate::volume::undelete::{NotUndeleted, UndeleteOrder};

/// A photo that an order is to take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UndeletedPhoto {
    /// Its id.
    pub id: NeedleId,
    /// The result; `None` while it is being done.
    pub result: Option<Result<(), NotUndeleted>>,
}

/// How far an order to take photos back is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndeleteProgress {
    /// Random number of the order.
    pub operation: u64,
    /// The photos, in the order of the order.
    pub photos: Vec<UndeletedPhoto>,
    /// Bytes of the log that were searched.
    pub done: u64,
    /// Bytes of the log that are searched at most.
    pub total: u64,
}

impl UndeleteProgress {
    /// An order of which nothing is done.
    pub(in crate::volume) fn of(operation: u64, order: &UndeleteOrder) -> Self {
        let ids: BTreeSet<NeedleId> = order.photos.iter().map(|photo| photo.0).collect();
        assert!(!ids.is_empty() && ids.len() == order.photos.len(), "each photo once");
        let photos = order.photos.iter().map(|photo| UndeletedPhoto { id: photo.0, result: None });
        Self { operation, photos: photos.collect(), done: 0, total: 0 }
    }

    /// Whether all of it is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.photos.iter().all(|photo| photo.result.is_some())
    }
}

/// Taking photos back, one order at a time.
pub struct UndeleteState {
    /// The task that does it.
    pub task: BackgroundTask,
    /// How far the last order is.
    progress: RefCell<Option<UndeleteProgress>>,
    is_stopped: Cell<bool>,
}

impl UndeleteState {
    /// No order yet.
    pub fn new(handle: &Handle) -> Self {
        Self {
            task: BackgroundTask::new(handle, Backoff::new(0, 0)),
            progress: RefCell::default(),
            is_stopped: Cell::new(false),
        }
    }

    /// Begins to show an order.
    pub fn begin(&self, progress: UndeleteProgress) {
        self.progress.replace(Some(progress));
    }

    /// How far the last order is; `None` if there was none.
    pub fn progress(&self) -> Option<UndeleteProgress> {
        self.progress.borrow().clone()
    }

    /// Shows that `done` of `total` bytes were searched.
    pub fn set_searched(&self, done: u64, total: u64) {
        if let Some(progress) = &mut *self.progress.borrow_mut() {
            (progress.done, progress.total) = (done, total);
        }
    }

    /// Shows the result of a photo.
    pub fn end(&self, id: NeedleId, result: Result<(), NotUndeleted>) {
        if let Some(progress) = &mut *self.progress.borrow_mut() {
            let of_photo = progress.photos.iter_mut().find(|photo| photo.id == id);
            of_photo.expect("the order has it").result = Some(result);
        }
    }

    /// Whether no order may begin.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.get()
    }

    /// Asks the task to end as soon as possible. No further one begins.
    pub fn begin_to_stop(&self) {
        self.is_stopped.set(true);
        self.task.begin_to_stop();
    }

    /// Waits until the task has ended. No further one begins.
    pub async fn stop(&self) {
        self.is_stopped.set(true);
        self.task.stop().await;
    }

    /// Allows orders again.
    pub fn resume(&self) {
        self.is_stopped.set(false);
    }
}
