//! The workers of an import of a directory: each stores one file after the other.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use super::row::Stored;
use super::run::locked;
use super::sender::{Photo, Sender, Sent};
use super::tree::Import;
use crate::transfer::file::{SourceFile, content_type};
use crate::transfer::name::PhotoName;

/// Why a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing is known of it.
    New,
    /// Its name was drawn in an earlier run, and it may have been stored under it.
    Resend,
    /// It was changed, or is to replace what somebody else stored.
    Replace,
    /// It was modified, and has the size of the photo in the store, whose XXH3-64 is this: if its bytes are
    /// the same, only the manifest changes.
    Update { etag: u64 },
    /// Readers do not get it any more. The file has this XXH3-64, unless it was changed since.
    Restore { etag: Option<u64> },
    /// It was changed, and the store has a photo of this XXH3-64, which the manifest does not name: the
    /// file's if an earlier run could not write that down, else somebody else's.
    Compare { etag: u64 },
}

/// A file that is to be stored.
pub struct Job {
    /// From the root.
    pub path: Vec<u8>,
    pub name: PhotoName,
    pub task: Task,
}

impl Job {
    /// Whether others may know the name.
    fn is_published(&self) -> bool {
        !matches!(self.task, Task::New | Task::Resend)
    }
}

/// Why a file is not stored whose photo somebody replaced.
pub fn replaced(name: PhotoName) -> String {
    // Debug leaves most of the cookie out.
    format!(
        "somebody replaced the photo in the store ({name:?}), and it stays; --overwrite stores the file over \
         it"
    )
}

impl Import<'_> {
    /// Takes job after job until none comes any more.
    pub(super) fn work(&self, jobs: &Mutex<Receiver<Job>>) {
        let sender = Sender::new(self.run);
        loop {
            let job = locked(jobs).recv();
            let Ok(job) = job else { return };
            // When the import ends early, the rest is only taken out of the way.
            if !self.run.stopped() {
                self.store(&sender, &job);
            }
        }
    }

    fn store(&self, sender: &Sender<'_>, job: &Job) {
        let fail = |why: String, unknown| self.run.fail(self.shown(&job.path), why, unknown);
        let source = match SourceFile::open(&self.root.join(OsStr::from_bytes(&job.path))) {
            Ok(source) => source,
            Err(error) => return fail(error.to_string(), false),
        };
        match job.task {
            Task::Restore { etag: Some(etag) } => source.expect(etag),
            Task::Update { etag } => match source.hash() {
                Ok(hash) if hash == etag => return self.record(job, job.name, &source, etag),
                Ok(_) => {}
                Err(error) => return fail(error.to_string(), false),
            },
            Task::Compare { etag } => {
                return match source.hash() {
                    Ok(hash) if hash == etag => self.record(job, job.name, &source, etag),
                    Ok(_) => fail(replaced(job.name), false),
                    Err(error) => fail(error.to_string(), false),
                };
            }
            _ => {}
        }
        self.send(sender, job, &source);
    }

    /// Sends a file until some volume takes it.
    fn send(&self, sender: &Sender<'_>, job: &Job, source: &SourceFile) {
        let fail = |why: String, unknown| self.run.fail(self.shown(&job.path), why, unknown);
        if let Some(why) = self.run.too_large(source.stamp().size) {
            return fail(why, false);
        }
        let mut name = job.name;
        loop {
            let photo = Photo {
                name,
                content_type: content_type(Path::new(OsStr::from_bytes(&job.path))),
                modified_ns: Some(source.stamp().modified_ns),
                source,
            };
            match sender.put(&photo) {
                Sent::Stored(etag) if source.digest() == Some(etag) => {
                    return self.record(job, name, source, etag);
                }
                Sent::Stored(_) => {
                    let why = "the daemon reports another checksum than that of what was read";
                    return fail(why.to_owned(), true);
                }
                Sent::Failed { why, unknown } => return fail(why, unknown),
                Sent::Stopped => return,
                Sent::Elsewhere(why) if job.is_published() => {
                    return self.stop_at_its_volume(job, &why);
                }
                Sent::Elsewhere(why) => {
                    self.run.volumes.give_up(name.volume);
                    // An earlier run may have stored it and not heard of it.
                    if job.task == Task::Resend
                        && let Ok(etag) = source.hash()
                        && let Ok(Some(there)) = sender.head(name)
                        && there == etag
                    {
                        return self.record(job, name, source, etag);
                    }
                    match self.another_name(job, source.stamp().size, &why) {
                        Some(another) => name = another,
                        None => return,
                    }
                }
            }
        }
    }

    fn record(&self, job: &Job, name: PhotoName, source: &SourceFile, etag: u64) {
        let stamp = source.stamp();
        // Outside of the match, or the lock would be held in it.
        let result = self.ledger().record(&job.path, name, Stored { stamp, etag });
        let progress = self.run.progress;
        match (result, job.task) {
            (Err(error), _) => self.run.stop(error.to_string()),
            // The photo was there already.
            (Ok(()), Task::Compare { etag: there } | Task::Update { etag: there })
                if there == etag =>
            {
                progress.confirmed.fetch_add(1, Ordering::Relaxed);
            }
            (Ok(()), task) => {
                if matches!(task, Task::Restore { .. }) {
                    progress.restored.fetch_add(1, Ordering::Relaxed);
                }
                progress.stored(stamp.size);
            }
        }
    }

    /// Ends the run: a photo whose URL may be known gets no other one.
    fn stop_at_its_volume(&self, job: &Job, why: &str) {
        let volume = job.name.volume;
        let unfit = self.run.volumes.unfit(&BTreeSet::from([volume])).unwrap_or_default();
        let why = match &unfit[..] {
            [] => format!("volume {volume}: {why}"),
            unfit => self.run.plan.describe(unfit),
        };
        let path = self.shown(&job.path);
        self.run.stop(format!(
            "{why}; {path} belongs there by its URL in the manifest, and gets no other URL"
        ));
    }

    /// A durable name in another volume, because `why`.
    fn another_name(&self, job: &Job, size: u64, why: &str) -> Option<PhotoName> {
        let Some(volume) = self.run.volumes.pick(size) else {
            self.run.stop(match self.run.volumes.fixed() {
                true => format!("volume {}: {why}; name another with --volume", job.name.volume),
                false => {
                    let no_volume = self.run.plan.no_volume(&self.run.volumes);
                    format!("{no_volume}; the last one said: {why}")
                }
            });
            return None;
        };
        let name = PhotoName::draw(volume).ok()?;
        let unsynced = self.ledger().assign(&[(job.path.clone(), name)]);
        match unsynced.and_then(|unsynced| unsynced.sync()) {
            Ok(()) => Some(name),
            Err(error) => {
                self.run.stop(error.to_string());
                None
            }
        }
    }
}
