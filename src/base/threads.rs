//! A list of the threads that a process needs: the end of any of them is detected. Knows nothing about the
//! tasks of the threads.

#![expect(clippy::disallowed_methods, reason = "this is the list of threads")]

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::base::sabotage;
use crate::base::sys::{self, ThreadId};

/// Interval at which [`Thread::join`] checks whether the thread has ended.
const JOIN_TURN: Duration = Duration::from_millis(1);

/// Names of the threads of a daemon, besides the shards, which are numbered.
pub mod name {
    use crate::base::types::ShardId;

    /// The main thread: starts and watches the others. Not in the list, since a process ends with it.
    pub const MAIN: &str = "main";
    /// Runs the services of the control plane.
    pub const ADMIN: &str = "hayloft-admin";
    /// Writes the access trace.
    pub const ACCESS_TRACE: &str = "access-trace";
    /// Watches the data directories.
    pub const DISKS: &str = "disks";
    /// Writes the log.
    pub const LOG: &str = "log";

    /// The name of the thread that writes the health of the volumes in a data directory, given as its
    /// position.
    #[must_use]
    pub fn health(disk: usize) -> String {
        format!("health-{disk}")
    }

    /// The name of the thread that writes what the copies of the volumes in a data directory have, given as
    /// its position.
    #[must_use]
    pub fn copies(disk: usize) -> String {
        format!("copies-{disk}")
    }

    /// The name of the thread of a shard.
    #[must_use]
    pub fn shard(shard: ShardId) -> String {
        format!("shard-{shard}")
    }
}

/// A list of threads. Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Threads(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    name: String,
    /// Kernel id of the thread, once it runs.
    id: Option<ThreadId>,
    /// True if the thread has returned or panicked. A thread that the kernel ended without unwinding (a
    /// seccomp filter, the system call `exit`) does not set this.
    has_ended: bool,
}

impl Entry {
    /// Whether the thread has ended without unwinding: it no longer exists, and did not set `has_ended`.
    fn was_killed(&self) -> bool {
        !self.has_ended && self.id.is_some_and(|id| !sys::thread_exists(id))
    }
}

/// A thread of the list. Dropping it lets the thread run on.
#[derive(Debug)]
pub struct Thread {
    handle: JoinHandle<()>,
    threads: Threads,
    name: String,
}

/// A thread panicked, or was ended without unwinding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crashed;

impl Thread {
    /// Whether the thread has ended: returned, panicked or been ended by the kernel.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.has_ended(&self.name)
    }

    /// Handle that wakes the thread from `std::thread::park`.
    #[must_use]
    pub fn thread(&self) -> &std::thread::Thread {
        self.handle.thread()
    }

    /// Waits until the thread has ended.
    ///
    /// # Errors
    /// [`Crashed`] if it panicked, or was ended without unwinding.
    pub fn join(self) -> Result<(), Crashed> {
        while !self.is_finished() {
            std::thread::sleep(JOIN_TURN);
        }
        // `JoinHandle::join` panics for a thread that was ended without leaving a result.
        if self.threads.was_killed(&self.name) {
            return Err(Crashed);
        }
        self.handle.join().map_err(|_| Crashed)
    }
}

/// Drop guard that records the end of a thread, by return or by panic.
struct EndGuard {
    threads: Threads,
    name: String,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let mut entries = self.threads.lock();
        for entry in entries.iter_mut().filter(|entry| entry.name == self.name) {
            entry.has_ended = true;
        }
    }
}

impl Threads {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread and adds it to the list. `name` must be unique in the list.
    ///
    /// # Errors
    /// The kernel's, for instance at the limit of threads.
    pub fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        let guard = EndGuard { threads: self.clone(), name: name.to_owned() };
        self.lock().push(Entry { name: name.to_owned(), id: None, has_ended: false });
        let (dies, exits) = (sabotage::dies(name), sabotage::exits(name));
        let spawned = Builder::new().name(name.to_owned()).spawn(move || {
            guard.threads.note_id(&guard.name);
            let _guard = guard;
            if exits {
                sys::exit_thread();
            }
            assert!(!dies, "ended on purpose");
            body();
        });
        if spawned.is_err() {
            self.lock().retain(|entry| entry.name != name);
        }
        Ok(Thread { handle: spawned?, threads: self.clone(), name: name.to_owned() })
    }

    /// Records the kernel id of the calling thread.
    fn note_id(&self, name: &str) {
        for entry in self.lock().iter_mut().filter(|entry| entry.name == name) {
            entry.id = Some(sys::this_thread());
        }
    }

    fn was_killed(&self, name: &str) -> bool {
        self.lock().iter().any(|entry| entry.name == name && entry.was_killed())
    }

    /// Whether a thread of the list has ended: returned, panicked or been ended by the kernel.
    #[must_use]
    pub fn has_ended(&self, name: &str) -> bool {
        let entries = self.lock();
        let mut named = entries.iter().filter(|entry| entry.name == name);
        named.any(|entry| entry.has_ended || entry.was_killed())
    }

    /// The name of a thread of the list that has ended, if there is one.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        let entries = self.lock();
        let ended = entries.iter().find(|entry| entry.has_ended || entry.was_killed());
        ended.map(|entry| entry.name.clone())
    }
}

/// Calls a function on a thread of its own and returns its result; `None` if there is none within this time.
/// For calls that a dead disk can block for ever: the thread then goes on, and nobody waits for it. It is in
/// no list.
pub fn within<T: Send + 'static>(
    time: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (result, results) = mpsc::channel();
    // Nobody receives a result that comes too late.
    let body = move || drop(result.send(call()));
    Builder::new().name("call".to_owned()).spawn(body).ok()?;
    results.recv_timeout(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_that_hangs_is_left_alone() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let (end, ends) = mpsc::channel::<()>();
        let hangs = within(Duration::from_millis(10), move || ends.recv().is_err());
        assert_eq!(hangs, None);
        drop(end);
    }

    #[test]
    fn ended_threads_are_reported_by_name_and_running_ones_not() {
        let threads = Threads::default();
        let (end, ends) = mpsc::channel::<()>();
        let runs = threads.spawn("runs", move || assert!(ends.recv().is_err())).unwrap();
        assert_eq!(threads.ended(), None);
        assert!(threads.spawn("returns", || ()).unwrap().join().is_ok());
        assert_eq!(threads.ended().as_deref(), Some("returns"));
        let threads = Threads::default();
        assert!(threads.spawn("panics", || panic!("on purpose")).unwrap().join().is_err());
        assert_eq!(threads.ended().as_deref(), Some("panics"));
        assert!(threads.has_ended("panics") && !threads.has_ended("runs"));
        drop(end);
        runs.join().unwrap();
    }

    #[test]
    fn thread_that_exits_without_unwinding_is_reported_as_crashed() {
        let threads = Threads::default();
        let killed = threads.spawn("killed", || sys::exit_thread()).unwrap();
        assert_eq!(killed.join(), Err(Crashed));
        assert!(threads.has_ended("killed"));
        assert_eq!(threads.ended().as_deref(), Some("killed"));
    }
}
