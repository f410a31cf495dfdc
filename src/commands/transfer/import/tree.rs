//! Imports a directory: every regular file becomes a photo under a random name, and a manifest records the
//! names. Photos of the manifest that the store has lost are stored again, under the same names.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};

use walkdir::{DirEntry, WalkDir};

use super::audit::audit;
use super::escape::escape;
use super::ledger::{Ledger, LedgerError};
use super::prune::prune;
use super::row::{Found, Row};
use super::run::{Progress, Report, Run, Stop, TOO_LARGE_NAMED, locked};
use super::upload::{Job, Task, replaced};
use super::{ImportError, Plan};
use crate::commands::client::ClientError;
use crate::commands::transfer::file::{SourceFile, Stamp};
use crate::commands::transfer::name::PhotoName;

/// Number of names that are made durable with one sync.
const GROUP: usize = 256;

/// Imports the directory `root`.
///
/// # Errors
/// [`ImportError`] before anything is stored. Later failures are in the report.
pub fn import(root: &Path, plan: &Plan, progress: &Progress) -> Result<Report, ImportError> {
    let cannot = |error| ImportError::Path { path: root.to_owned(), error };
    let root = root.canonicalize().map_err(cannot)?;
    let manifest = plan.manifest.clone().unwrap_or_else(|| default_manifest(&root));
    let run = Run::connect(plan, progress)?;
    let ledger = Arc::new(Mutex::new(Ledger::open(&manifest, &root)?));
    progress.set_ledger(&ledger, &manifest);
    let import = Import { run: &run, root: &root, ledger: &ledger };
    let result = import.run_through(&manifest).map(|passed_over| {
        let (report, unknown) = progress.so_far();
        let PassedOver { special, hidden, gone, .. } = passed_over;
        finish(&locked(&ledger), manifest, unknown, Report { special, hidden, gone, ..report })
    });
    // The journal stays locked until the last reference to the ledger is dropped.
    progress.clear_ledger();
    result
}

/// Abandons an import of which a thread may hang on a server or a disk, and returns its report so far. The
/// manifest of a directory is written.
pub fn abandon(progress: &Progress) -> Report {
    progress.stop.store(true, Ordering::Relaxed);
    let (mut report, _) = progress.so_far();
    let why = "it was interrupted, and photos in flight were not waited for";
    if report.stopped == Report::interrupted().stopped {
        report.stopped = Some(Stop::Pause(why.to_owned()));
    }
    match progress.open_ledger() {
        Some((ledger, manifest)) => finish(&locked(&ledger), manifest, true, report),
        None => report,
    }
}

/// Writes the manifest, also if the import ended early, unless nothing was stored then.
fn finish(ledger: &Ledger, manifest: PathBuf, unknown: bool, mut report: Report) -> Report {
    let is_early = report.stopped.is_some();
    if is_early && ledger.rows().all(|(_, row)| row.stored.is_none()) {
        return report;
    }
    // Names under which photos may have been sent, but are not known to be stored, are only in the journal.
    let is_open = ledger.rows().any(|(_, row)| row.stored.is_none() && !row.visited);
    match ledger.finish(is_early || unknown || is_open) {
        Ok(()) => report.manifest = Some(manifest),
        Err(error) => {
            report.stopped.get_or_insert(Stop::Pause(error.to_string()));
        }
    }
    report
}

fn default_manifest(root: &Path) -> PathBuf {
    let mut name = root.file_name().map_or_else(|| OsString::from("root"), OsStr::to_owned);
    name.push(".manifest.tsv");
    name.into()
}

/// Counts of what is not stored.
#[derive(Default)]
struct PassedOver {
    special: u64,
    hidden: u64,
    /// Photos of the manifest that stay in the store without a file.
    gone: u64,
    /// Whether a directory could not be read: its content is unknown.
    is_partial: bool,
}

/// A running import of a directory.
pub(super) struct Import<'a> {
    pub run: &'a Run<'a>,
    pub root: &'a Path,
    pub ledger: &'a Mutex<Ledger>,
}

impl Import<'_> {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(self.ledger)
    }

    /// Formats a path relative to the root for messages.
    pub fn shown(&self, path: &[u8]) -> String {
        if path.is_empty() { self.root.display().to_string() } else { escape(path) }
    }

    /// Audits the manifest, stores missing, new and changed photos, and prunes.
    fn run_through(&self, manifest: &Path) -> Result<PassedOver, ImportError> {
        audit(self.run, self.ledger);
        if !self.run.stopped() {
            self.refuse_another_store(manifest)?;
            self.prepare_volumes();
        }
        if self.run.stopped() {
            return Ok(PassedOver::default());
        }
        self.name_too_large();
        let (jobs, receiver) = sync_channel(2 * GROUP);
        let receiver = Mutex::new(receiver);
        let mut passed_over = std::thread::scope(|scope| {
            for _ in 0..self.run.plan.parallel.max(1) {
                scope.spawn(|| self.work(&receiver));
            }
            let result = self.feed(jobs);
            self.run.progress.all_found.store(true, Ordering::Relaxed);
            result.unwrap_or_else(|error| {
                self.run.stop(error.to_string());
                PassedOver::default()
            })
        });
        if !self.run.stopped() {
            passed_over.gone = prune(self, !passed_over.is_partial);
        }
        Ok(passed_over)
    }

    /// Refuses a store that has no photo of the manifest: it may be another store. It is accepted as one that
    /// has lost its photos if the volumes that the manifest names are empty, or with `--restore`.
    fn refuse_another_store(&self, manifest: &Path) -> Result<(), ImportError> {
        let ledger = self.ledger();
        let mut stored = ledger.rows().filter(|(_, row)| row.stored.is_some()).peekable();
        if stored.peek().is_none() || self.run.plan.restore {
            return Ok(());
        }
        let mut volumes = BTreeSet::new();
        for (_, row) in stored {
            if row.found != Found::Nothing {
                return Ok(());
            }
            volumes.insert(row.name.volume);
        }
        if self.run.volumes.photos_in(&volumes) == Some(0) {
            return Ok(());
        }
        let server = self.run.plan.server.clone();
        Err(ImportError::OtherStore { path: manifest.to_owned(), server })
    }

    /// Ends the run unless every volume takes writes to which the manifest assigns lost photos with a file,
    /// or changed files. Creates missing volumes if the plan says so.
    fn prepare_volumes(&self) {
        let lost: Vec<_> = {
            let ledger = self.ledger();
            let lost = ledger.rows().filter(|(_, row)| row.found.is_lost());
            lost.map(|(path, row)| (path.to_owned(), row.name.volume)).collect()
        };
        let has_file = |path: &[u8]| self.file(path).is_ok_and(|file| file.is_some());
        let with_file = lost.into_iter().filter(|(path, _)| has_file(path));
        let mut needed: BTreeSet<u32> = with_file.map(|(_, volume)| volume).collect();
        if self.run.plan.create_volumes.is_some() {
            needed.extend(self.run.plan.volume);
        }
        let changed = match self.changed_in_unfit_volumes() {
            Ok(changed) => changed,
            Err(error) => return self.run.stop(format!("{error}; nothing was stored")),
        };
        needed.extend(changed.keys());
        let prepared = self.run.plan.prepare(&self.run.volumes, &needed, &self.run.progress.stop);
        if let Err(why) = prepared {
            let example = changed.values().next();
            let example = example.map(|path| format!("; {} was changed", self.shown(path)));
            let example = example.unwrap_or_default();
            self.run.stop(format!(
                "{why}{example}; nothing was stored, and photos of the manifest get no other URL"
            ));
        }
    }

    /// Returns the volumes that take no writes although a file of theirs was changed since it was stored,
    /// each with the path of the first such file.
    fn changed_in_unfit_volumes(&self) -> Result<BTreeMap<u32, Vec<u8>>, ClientError> {
        let is_there = |row: &Row| match row.found {
            Found::Same => true,
            Found::Other(_) => self.run.plan.overwrite,
            _ => false,
        };
        let volumes: BTreeSet<u32> = self.ledger().rows().map(|(_, row)| row.name.volume).collect();
        let unfit = self.run.volumes.unfit(&volumes)?;
        let unfit: BTreeSet<u32> = unfit.into_iter().map(|unfit| unfit.id).collect();
        let mut changed = BTreeMap::new();
        if unfit.is_empty() {
            return Ok(changed);
        }
        let rows: Vec<_> = {
            let ledger = self.ledger();
            let rows = ledger.rows().filter(|(_, row)| unfit.contains(&row.name.volume));
            let rows = rows.filter(|(_, row)| is_there(row));
            rows.map(|(path, row)| (path.to_owned(), row)).collect()
        };
        for (path, row) in rows {
            if self.run.stopped() {
                break;
            }
            if !changed.contains_key(&row.name.volume) && self.replaces(&path, &row) {
                changed.insert(row.name.volume, path);
            }
        }
        Ok(changed)
    }

    /// Returns whether a file is to be stored over the photo in the store; false if it cannot be read.
    fn replaces(&self, path: &[u8], row: &Row) -> bool {
        let (Ok(Some(stamp)), Some(stored)) = (self.file(path), row.stored) else { return false };
        if row.found != Found::Same {
            return true;
        }
        if stamp == stored.stamp || stamp.size != stored.stamp.size {
            return stamp != stored.stamp;
        }
        let file = SourceFile::open(&self.root.join(OsStr::from_bytes(path)));
        file.and_then(|file| file.hash()).is_ok_and(|hash| hash != stored.etag)
    }

    /// Adds a notice, before anything is sent, about files to be sent that are larger than the store takes.
    fn name_too_large(&self) {
        if self.run.largest_body.is_none() {
            return;
        }
        let own = self.own_files();
        let (mut count, mut names) = (0, Vec::new());
        for entry in self.walk(|_| ()).flatten() {
            if self.run.stopped() {
                return;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            let stamp = Stamp::of(&metadata);
            let path = self.relative(entry.path());
            if metadata.is_file()
                && self.run.too_large(stamp.size).is_some()
                && !own.iter().any(|own| own == entry.path())
                && self.is_sent(path, stamp)
            {
                count += 1;
                if names.len() < TOO_LARGE_NAMED {
                    names.push((self.shown(path), stamp.size));
                }
            }
        }
        self.run.announce_too_large(count, &names, "");
    }

    /// Returns whether a file is sent, judged by its size and time alone.
    fn is_sent(&self, path: &[u8], stamp: Stamp) -> bool {
        let Some(row) = self.ledger().row(path) else { return true };
        let Some(stored) = row.stored else { return true };
        match row.found {
            Found::Same => stored.stamp.size != stamp.size,
            Found::Nothing | Found::Damaged => true,
            Found::Other(_) => self.run.plan.overwrite,
            Found::Unknown => false,
        }
    }

    /// Returns the files of the ledger, with the paths that the walk yields.
    fn own_files(&self) -> Vec<PathBuf> {
        self.ledger().own_files().iter().filter_map(|path| absolute(path)).collect()
    }

    /// Walks all entries below the root, in the order of their names. Hidden entries are skipped and passed
    /// to `skipped`, unless the plan includes them.
    fn walk<'w>(
        &'w self,
        mut skipped: impl FnMut(&DirEntry) + 'w,
    ) -> impl Iterator<Item = walkdir::Result<DirEntry>> + 'w {
        let wanted = move |entry: &DirEntry| {
            let skip = !self.run.plan.hidden
                && entry.depth() > 0
                && entry.file_name().as_bytes().starts_with(b".");
            if skip {
                skipped(entry);
            }
            !skip
        };
        WalkDir::new(self.root).min_depth(1).sort_by_file_name().into_iter().filter_entry(wanted)
    }

    /// Finds the files, and passes them to the workers when their names are durable.
    fn feed(&self, jobs: SyncSender<Job>) -> Result<PassedOver, LedgerError> {
        let own = self.own_files();
        let mut passed_over = PassedOver::default();
        let hidden = Cell::new(0);
        let mut group = Vec::new();
        for entry in self.walk(|_| hidden.set(hidden.get() + 1)) {
            if self.run.stopped() {
                break;
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.run.progress.found.fetch_add(1, Ordering::Relaxed);
                    let path = error.path().unwrap_or(self.root);
                    let why =
                        error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    self.run.fail(self.shown(self.relative(path)), why, false);
                    passed_over.is_partial = true;
                    continue;
                }
            };
            if !entry.file_type().is_file() {
                passed_over.special += u64::from(!entry.file_type().is_dir());
                continue;
            }
            if own.iter().any(|own| own == entry.path()) {
                continue;
            }
            let path = self.relative(entry.path()).to_owned();
            let stamp = entry.metadata().map(|metadata| Stamp::of(&metadata));
            group.extend(self.job(path, stamp.map_err(io::Error::from)));
            if group.len() >= GROUP && !self.hand_over(&mut group, &jobs)? {
                break;
            }
        }
        passed_over.hidden = hidden.get();
        self.feed_unvisited(group, &jobs)?;
        Ok(passed_over)
    }

    /// Passes on `group`, and files of the manifest that the walk did not visit: hidden ones.
    fn feed_unvisited(
        &self,
        mut group: Vec<Job>,
        jobs: &SyncSender<Job>,
    ) -> Result<(), LedgerError> {
        let unvisited: Vec<Vec<u8>> = {
            let ledger = self.ledger();
            let rows = ledger.rows().filter(|(_, row)| !row.visited && row.stored.is_some());
            rows.map(|(path, _)| path.to_owned()).collect()
        };
        for path in unvisited {
            if self.run.stopped() {
                break;
            }
            if let Ok(Some(stamp)) = self.file(&path) {
                group.extend(self.job(path, Ok(stamp)));
            }
            if group.len() >= GROUP && !self.hand_over(&mut group, jobs)? {
                break;
            }
        }
        self.hand_over(&mut group, jobs).map(drop)
    }

    fn relative<'p>(&self, path: &'p Path) -> &'p [u8] {
        path.strip_prefix(self.root).unwrap_or(path).as_os_str().as_bytes()
    }

    /// Returns size and time of the regular file at a path relative to the root; `None` if it is gone, or a
    /// directory now.
    ///
    /// # Errors
    /// The error of the file system. An error, too, if the path now has another type: then it is not known
    /// whether the file was moved or deleted.
    pub fn file(&self, path: &[u8]) -> io::Result<Option<Stamp>> {
        match self.root.join(OsStr::from_bytes(path)).symlink_metadata() {
            Ok(metadata) if metadata.is_file() => Ok(Some(Stamp::of(&metadata))),
            Ok(metadata) if metadata.is_dir() => Ok(None),
            Ok(_) => Err(io::Error::other("it is no regular file any more")),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Returns the job for a file, if there is something to do. Failures are recorded.
    fn job(&self, path: Vec<u8>, stamp: io::Result<Stamp>) -> Option<Job> {
        self.run.progress.found.fetch_add(1, Ordering::Relaxed);
        let fail = |why: String| {
            self.run.fail(self.shown(&path), why, false);
            None
        };
        // The row counts as visited, also if the file fails.
        let row = self.ledger().visit(&path);
        let stamp = match stamp {
            Ok(stamp) => stamp,
            Err(error) => return fail(error.to_string()),
        };
        if let Some(row) = row {
            return match self.task(&row, stamp) {
                Ok(task) => task.map(|task| Job { path, name: row.name, task }),
                Err(why) => fail(why),
            };
        }
        if let Some(why) = self.run.too_large(stamp.size) {
            return fail(why);
        }
        let Run { plan, volumes, progress, .. } = self.run;
        let volume = match volumes.pick_or_create(stamp.size, plan.create_volumes, &progress.stop) {
            Ok(Some(volume)) => volume,
            Ok(None) => {
                self.run.stop(plan.no_volume(volumes));
                return None;
            }
            Err(error) => {
                self.run.stop(error.to_string());
                return None;
            }
        };
        match PhotoName::draw(volume) {
            Ok(name) => Some(Job { path, name, task: Task::New }),
            Err(error) => fail(format!("no random name can be drawn: {error}")),
        }
    }

    /// Returns the task for a file with a row, if there is something to do. The error says why the file
    /// cannot be stored.
    fn task(&self, row: &Row, stamp: Stamp) -> Result<Option<Task>, String> {
        let Some(stored) = row.stored else { return Ok(Some(Task::Resend)) };
        let is_changed = stored.stamp != stamp;
        Ok(Some(match row.found {
            Found::Same if is_changed && stored.stamp.size == stamp.size => {
                Task::Update { etag: stored.etag }
            }
            Found::Same if is_changed => Task::Replace,
            Found::Same => {
                self.run.progress.confirmed.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            Found::Nothing | Found::Damaged if is_changed => Task::Restore { etag: None },
            Found::Nothing | Found::Damaged => Task::Restore { etag: Some(stored.etag) },
            Found::Other(_) if self.run.plan.overwrite => Task::Replace,
            Found::Other(etag) if is_changed => Task::Compare { etag },
            Found::Other(_) => return Err(replaced(row.name)),
            Found::Unknown => return Err("the store was not asked for it".to_owned()),
        }))
    }

    /// Makes the names of new files durable, and passes the jobs to the workers. Returns false if the workers
    /// have ended.
    fn hand_over(&self, group: &mut Vec<Job>, jobs: &SyncSender<Job>) -> Result<bool, LedgerError> {
        let new = group.iter().filter(|job| job.task == Task::New);
        let names: Vec<_> = new.map(|job| (job.path.clone(), job.name)).collect();
        if !names.is_empty() {
            let unsynced = self.ledger().assign(&names)?;
            unsynced.sync()?;
        }
        Ok(group.drain(..).all(|job| jobs.send(job).is_ok()))
    }
}

/// Returns a path in the form that the walk yields: absolute, with a canonical parent.
fn absolute(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}
