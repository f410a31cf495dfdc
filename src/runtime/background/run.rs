//! One attempt at background work.

use super::pace::Pace;
use super::progress::BackgroundProgress;
use super::queue::BackgroundQueue;
use super::stopped::Stopped;
use super::task::BackgroundTask;
use super::work_buffer::{NoWorkBuffer, WorkBuffer};
use crate::base::pool_shares::IN_USE_FOR_BACKGROUND;
use crate::runtime::Handle;

/// Attempts to get a buffer within the time that a run waits for one.
const BUFFER_ATTEMPTS: u64 = 64;

/// One attempt at background work, in steps. Between two steps it waits as its pace demands, and ends if its
/// task was asked to stop.
pub struct BackgroundRun<'a> {
    handle: &'a Handle,
    /// The task that may be asked to stop; `None` for a run that always continues to its end.
    task: Option<&'a BackgroundTask>,
    pace: Pace,
    began: u64,
    /// Time at which the current step began (nanoseconds).
    step_began: u64,
    progress: BackgroundProgress,
}

impl<'a> BackgroundRun<'a> {
    /// Creates a run of `task`, or one that nobody can stop.
    #[must_use]
    pub fn new(handle: &'a Handle, task: Option<&'a BackgroundTask>, pace: Pace) -> Self {
        let progress = BackgroundProgress::default();
        let now = handle.now();
        Self { handle, task, pace, began: now, step_began: now, progress }
    }

    /// Begins the steps: pace and progress count from here. `expected` estimates the work (bytes).
    pub fn begin(&mut self, expected: u64) {
        self.began = self.handle.now();
        self.step_began = self.began;
        self.set_progress(BackgroundProgress { done: 0, expected });
    }

    /// Sets the pace of the steps that follow.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.began = self.handle.now();
        self.progress.done = 0;
    }

    /// Ends a step that did `bytes`, and waits until the next one may begin. To be called after each step:
    /// an operation in flight is never abandoned.
    ///
    /// # Errors
    /// [`Stopped`] as soon as the task is asked to stop, also during the wait.
    pub async fn end_step(&mut self, bytes: u64) -> Result<(), Stopped> {
        let BackgroundProgress { done, expected } = self.progress;
        self.set_progress(BackgroundProgress { done: done + bytes, expected });
        let step = (bytes, self.handle.now() - self.step_began);
        let next_at = self.pace.next_at(self.began, self.progress.done, step);
        self.wait_until(next_at).await?;
        match self.task {
            None => self.pace.resumed().await,
            Some(task) => task.unless_stopped(self.pace.resumed()).await?,
        }
        self.step_began = self.handle.now();
        Ok(())
    }

    /// Waits for a buffer of `len` bytes: the reserved one of `queue`, or another one if at least half of the
    /// pool stays free, because requests have priority. Waits at most `wait_ns` (nanoseconds), but always
    /// for a reserved buffer that is lent.
    ///
    /// # Errors
    /// See [`NoWorkBuffer`].
    pub async fn buffer(
        &self,
        queue: Option<&BackgroundQueue>,
        len: usize,
        wait_ns: u64,
    ) -> Result<WorkBuffer, NoWorkBuffer> {
        let (pool, reserved) = (self.handle.pool(), queue.map(BackgroundQueue::reserved));
        let until = self.handle.now() + wait_ns;
        loop {
            if let Some(reserved) = reserved
                && let Some(buf) = reserved.lend()
            {
                return Ok(WorkBuffer::lent(buf, reserved));
            }
            let is_spare = pool.used() + len <= IN_USE_FOR_BACKGROUND.of(pool.capacity());
            if let Some(buf) = is_spare.then(|| pool.alloc(len)).flatten() {
                return Ok(WorkBuffer::own(buf));
            }
            if self.handle.now() >= until && !reserved.is_some_and(|it| it.is_lent()) {
                let stopped = self.task.is_some_and(BackgroundTask::is_stopping);
                return Err(if stopped { NoWorkBuffer::Stopped } else { NoWorkBuffer::NoneFree });
            }
            let next = self.handle.now() + wait_ns / BUFFER_ATTEMPTS;
            self.wait_until(next).await.map_err(|Stopped| NoWorkBuffer::Stopped)?;
        }
    }

    /// Waits for `ns` nanoseconds.
    ///
    /// # Errors
    /// [`Stopped`] at once when the task is asked to stop.
    pub async fn wait(&self, ns: u64) -> Result<(), Stopped> {
        self.wait_until(self.handle.now() + ns).await
    }

    async fn wait_until(&self, time: u64) -> Result<(), Stopped> {
        let sleep = self.handle.sleep_until(time);
        match self.task {
            None => sleep.await,
            Some(task) => task.unless_stopped(sleep).await?,
        }
        Ok(())
    }

    fn set_progress(&mut self, progress: BackgroundProgress) {
        self.progress = progress;
        if let Some(task) = self.task {
            task.set_progress(Some(progress));
        }
    }
}

impl Drop for BackgroundRun<'_> {
    fn drop(&mut self) {
        if let Some(task) = self.task {
            task.set_progress(None);
        }
    }
}
