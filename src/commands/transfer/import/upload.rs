//! The workers of an import of a directory: each stores one file after the other.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use super::directory::Import;
use super::progress::locked;
use super::row::Stored;
use super::sender::{Photo, Sender, Sent};
use crate::commands::transfer::file::{SourceFile, content_type};
use crate::commands::transfer::name::PhotoName;

/// How a file is stored, by what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The file is not in the ledger.
    New,
    /// Its name was drawn in an earlier run, which may have stored it.
    Resend,
    /// The file was changed, or is to replace a photo that was stored by other means.
    Replace,
    /// The time of the file was changed, but not its size. The photo in the store has the XXH3-64 `etag`: if
    /// the file has it too, only the manifest changes.
    Update { etag: u64 },
    /// The photo cannot be read from the store any more. With `etag`, the file was not changed since it was
    /// stored, and must have this XXH3-64.
    Restore { etag: Option<u64> },
    /// The file was changed, and the store has a photo with the XXH3-64 `etag`, which is not that in the
    /// manifest: that of the file if an earlier run could not record it, else one stored by other means.
    Compare { etag: u64 },
}

/// A file that is to be stored.
pub struct Job {
    /// Path relative to the root.
    pub path: Vec<u8>,
    pub name: PhotoName,
    pub task: Task,
}

impl Job {
    /// Returns whether the name may be in use by clients.
    fn is_published(&self) -> bool {
        !matches!(self.task, Task::New | Task::Resend)
    }
}

/// Describes why a file is not stored: its photo was replaced in the store by other means.
pub fn replaced(name: PhotoName) -> String {
    // `Debug` leaves most of the cookie out.
    format!(
        "somebody replaced the photo in the store ({name:?}), and it stays; --overwrite stores the file over \
         it"
    )
}

impl Import<'_> {
    /// Processes jobs until the queue is closed.
    pub(super) fn work(&self, jobs: &Mutex<Receiver<Job>>) {
        let sender = Sender::new(self.run);
        loop {
            let job = locked(jobs).recv();
            let Ok(job) = job else { return };
            // When the import ends early, the remaining jobs are only taken off the queue.
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

    /// Sends a file until a volume takes it, it fails, or the run ends.
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
                expires_ns: None,
                attributes: None,
                source,
            };
            match sender.put(&photo) {
                Sent::Stored(etag) if source.digest() == Some(etag) => {
                    return self.record(job, name, source, etag);
                }
                Sent::Stored(_) => {
                    let why = "the checksum that the daemon reports is not that of the bytes read";
                    return fail(why.to_owned(), true);
                }
                Sent::Failed { why, unknown } => return fail(why, unknown),
                Sent::Stopped => return,
                Sent::Elsewhere(why) if job.is_published() => {
                    return self.stop_at_its_volume(job, &why);
                }
                Sent::Elsewhere(why) => {
                    self.run.volumes.give_up(name.volume);
                    // An earlier run may have stored it without receiving the answer.
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
        // Not in the scrutinee of the match: the lock would be held until its end.
        let result = self.ledger().record(&job.path, name, Stored { stamp, etag });
        let progress = self.run.progress;
        match (result, job.task) {
            (Err(error), _) => self.run.stop(error.to_string()),
            // The photo was already stored.
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

    /// Ends the run: a photo whose URL may be in use gets no other URL.
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

    /// Draws a name in another volume and makes it durable; `why` is the reason for leaving the first volume.
    /// Returns `None` if the run ends.
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
