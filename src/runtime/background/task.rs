//! A background task: started, stopped, and repeated when there is work.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::backoff::Backoff;
use super::progress::BackgroundProgress;
use super::queue::BackgroundQueue;
use super::stopped::Stopped;
use crate::runtime::op::DirId;
use crate::runtime::{Event, Handle, Signal};

/// One kind of background work of one owner: at most one task at a time.
pub struct BackgroundTask {
    handle: Handle,
    backoff: Backoff,
    is_stopping: Cell<bool>,
    stop_requested: Signal,
    /// Raised when work may be due, and when the task is to stop.
    work: Signal,
    progress: Cell<Option<BackgroundProgress>>,
    /// The running task, if there is one; the event is set when it has ended.
    running: RefCell<Option<Rc<Event<()>>>>,
}

impl BackgroundTask {
    /// Creates a task that is not started.
    #[must_use]
    pub fn new(handle: &Handle, backoff: Backoff) -> Self {
        Self {
            handle: handle.clone(),
            backoff,
            is_stopping: Cell::new(false),
            stop_requested: Signal::new(handle),
            work: Signal::new(handle),
            progress: Cell::new(None),
            running: RefCell::default(),
        }
    }

    /// Starts `work` as a task, unless one was started and not stopped since. Returns whether it was
    /// started. Also resumes after a stop.
    pub fn start(&self, work: impl Future<Output = ()> + 'static) -> bool {
        if self.running.borrow().is_some() {
            return false;
        }
        let ended = Rc::new(Event::new(&self.handle));
        self.is_stopping.set(false);
        self.running.replace(Some(Rc::clone(&ended)));
        self.handle.spawn(async move {
            work.await;
            ended.set(());
        });
        true
    }

    /// Whether the task was asked to stop and not started again since.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// Asks the task to stop. It ends every wait at once. An operation in flight ends first.
    pub fn begin_to_stop(&self) {
        self.is_stopping.set(true);
        self.stop_requested.raise();
        self.work.raise();
    }

    /// Stops the task and waits until it has ended. Afterwards it may be started again.
    pub async fn stop(&self) {
        self.begin_to_stop();
        let running = self.running.borrow().clone();
        let Some(ended) = running else { return };
        ended.wait().await;
        // Another caller may have waited for the same task and started the next one since.
        let is_same = self.running.borrow().as_ref().is_some_and(|it| Rc::ptr_eq(it, &ended));
        if is_same {
            self.running.take();
        }
    }

    /// Records that the work has ended by itself, so that it may be started again. To be called by the task
    /// itself, as its last step.
    pub fn finish(&self) {
        self.running.take();
    }

    /// Tells the task that work may be due.
    pub fn wake(&self) {
        self.work.raise();
    }

    /// Pauses between attempts. Each attempt must record its outcome here.
    #[must_use]
    pub fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// How far the current attempt is; `None` when there is none.
    #[must_use]
    pub fn progress(&self) -> Option<BackgroundProgress> {
        self.progress.get()
    }

    pub(super) fn set_progress(&self, progress: Option<BackgroundProgress>) {
        self.progress.set(progress);
    }

    /// Calls `attempt` whenever `is_due` returns true, the pause after a failure is over, and it is this
    /// task's turn in its data directory; until the task is asked to stop. `is_due` is evaluated again
    /// after each [`Self::wake`]. To be awaited by the task itself.
    pub async fn repeat(
        &self,
        is_due: impl Fn() -> bool,
        queue: Option<(&BackgroundQueue, DirId)>,
        attempt: impl AsyncFn(),
    ) {
        while !self.is_stopping() {
            if !is_due() {
                self.work.wait().await;
                continue;
            }
            let not_before = self.backoff.not_before();
            if self.handle.now() < not_before {
                self.work.wait_until(not_before).await;
                continue;
            }
            let _turn = match queue {
                None => None,
                Some((queue, dir)) => match self.unless_stopped(queue.turn(dir)).await {
                    Ok(turn) => Some(turn),
                    Err(Stopped) => return,
                },
            };
            attempt().await;
        }
    }

    /// Waits until [`Self::wake`] is called, the task is asked to stop, or `time` has come (nanoseconds), if
    /// there is one.
    pub async fn wait_for_work(&self, time: Option<u64>) {
        match time {
            Some(time) => drop(self.work.wait_until(time).await),
            None => self.work.wait().await,
        }
    }

    /// Waits for `wait`, unless the task is asked to stop before. To be awaited by the task itself, and only
    /// for a future that may be dropped: not for an operation, which would go on and lose its buffers.
    ///
    /// # Errors
    /// [`Stopped`] at once.
    pub async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Result<T, Stopped> {
        if self.is_stopping() {
            return Err(Stopped);
        }
        let (mut wait, mut stopped) = (pin!(wait), pin!(self.stopped()));
        // `wait` is polled first: a wait for a lock that holds it already, and is dropped, would keep it.
        let output = poll_fn(|cx| match wait.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => stopped.as_mut().poll(cx).map(|()| None),
        });
        // What arrived together with the request to stop is dropped here.
        output.await.filter(|_| !self.is_stopping()).ok_or(Stopped)
    }

    async fn stopped(&self) {
        while !self.is_stopping() {
            self.stop_requested.wait().await;
        }
    }
}
