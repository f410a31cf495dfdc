//! The main thread's work between its checks: requests of the admin API, and the tasks that carry them out.

use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::control::Control;
use super::disks::Lost;
use super::manager::ManagerState;
use crate::node::control::ControlRequest;

/// Longest wait of one event loop iteration while a change is under way.
const TURN: Duration = Duration::from_millis(20);
/// Interval between two looks at compactions and at the volumes.
const LOOK: Duration = Duration::from_secs(1);

/// Executes changes to volumes.
pub struct Manager {
    /// The ring that runs the tasks.
    pub control: Control,
    /// State shared by the tasks.
    pub state: Rc<ManagerState>,
    /// Requests of the admin API.
    pub requests: Receiver<ControlRequest>,
    /// Data directories and volume files reported as lost.
    pub lost: Receiver<Lost>,
    /// Time of the next look at compactions and at the volumes.
    pub next_look: Instant,
}

impl Manager {
    /// Handles requests and runs tasks for the duration `time`.
    pub fn work(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            if Instant::now() >= self.next_look {
                self.next_look = Instant::now() + LOOK;
                self.spawn(ManagerState::look);
                self.spawn(ManagerState::look_at_health);
                self.spawn(ManagerState::delete_expired);
            }
            match self.lost.try_recv() {
                Ok(lost) => self.spawn(|state| state.handle_lost(lost)),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let is_busy = self.control.handle().tasks() > 0;
            let wait = if is_busy { Duration::ZERO } else { left };
            match self.requests.recv_timeout(wait) {
                Ok(ControlRequest::Change(request)) => self.spawn(|state| state.change(request)),
                Ok(ControlRequest::Allocate(request)) => {
                    self.spawn(|state| state.allocate(request));
                }
                Ok(ControlRequest::Pause(request)) => self.spawn(|state| state.pause(request)),
                Ok(ControlRequest::Damage(request)) => {
                    self.spawn(|state| state.list_damage(request));
                }
                Ok(ControlRequest::List(request)) => self.spawn(|state| state.list(request)),
                Ok(ControlRequest::Exchange(request)) => {
                    self.spawn(|state| state.exchange(request));
                }
                Ok(ControlRequest::Offer(request)) => self.spawn(|state| state.offer(request)),
                Ok(ControlRequest::Absence(request)) => self.spawn(|state| state.absent(request)),
                Ok(ControlRequest::DeleteFids(request)) => {
                    self.spawn(|state| state.delete_fids(request));
                }
                Ok(ControlRequest::Pull(request)) => self.spawn(|state| state.pull(request)),
                Ok(ControlRequest::Undelete(request)) => {
                    self.spawn(|state| state.undelete(request));
                }
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
