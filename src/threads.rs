//! The threads that a process cannot do without, in one list: one that ends by itself is noticed, whatever
//! it was for. Knows nothing of what they do.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::sabotage;

/// Names of the threads of a daemon, besides the shards, which are numbered.
pub mod name {
    /// Starts and watches the others. Not in the list: a process ends with its main thread.
    pub const MAIN: &str = "main";
    /// Serves the admin API.
    pub const ADMIN: &str = "hayloft-admin";
    /// Writes the access trace.
    pub const ACCESS_TRACE: &str = "access-trace";
    /// Watches the data directories.
    pub const DISKS: &str = "disks";
    /// Writes the log.
    pub const LOG: &str = "log";

    /// The name of shard `n`.
    #[must_use]
    pub fn shard(n: usize) -> String {
        format!("shard-{n}")
    }
}

/// The list. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Threads(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    name: String,
    has_ended: bool,
}

/// Notes the end of a thread, by return or by panic.
struct Sign {
    threads: Threads,
    name: String,
}

impl Drop for Sign {
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

    /// Starts a thread and adds it to the list. Names are unique in a list.
    ///
    /// # Errors
    /// The kernel allows no more threads.
    pub fn spawn(
        &self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let sign = Sign { threads: self.clone(), name: name.to_owned() };
        self.lock().push(Entry { name: name.to_owned(), has_ended: false });
        let dies = sabotage::dies(name);
        let spawned = Builder::new().name(name.to_owned()).spawn(move || {
            let _sign = sign;
            assert!(!dies, "ended on purpose");
            body();
        });
        if spawned.is_err() {
            self.lock().retain(|entry| entry.name != name);
        }
        spawned
    }

    /// Whether a thread of the list has ended.
    #[must_use]
    pub fn has_ended(&self, name: &str) -> bool {
        self.lock().iter().any(|entry| entry.name == name && entry.has_ended)
    }

    /// The name of a thread of the list that has ended, if there is one.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        self.lock().iter().find(|entry| entry.has_ended).map(|entry| entry.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_returns_or_panics_is_found_by_name_and_one_that_runs_is_not() {
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
}
