//! Imports a directory: every regular file becomes a photo under a random name, and a manifest records the
//! names. Photos of the manifest that the store has lost are stored again, under the same names.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use super::audit::audit;
use super::directory::Import;
use super::error::ImportError;
use super::ledger::{Ledger, LedgerError};
use super::plan::Plan;
use super::progress::{Progress, locked};
use super::prune::prune;
use super::report::{Report, Stop};
use super::row::{Found, Row};
use super::run::Run;
use super::upload::{Job, Task, replaced};
use crate::commands::transfer::file::Stamp;
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

impl Import<'_> {
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
