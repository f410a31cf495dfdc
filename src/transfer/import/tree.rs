//! Every regular file of a directory becomes a photo under a name that is drawn, and a manifest tells
//! which one.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use walkdir::{DirEntry, WalkDir};

use super::escape::escape;
use super::ledger::{Ledger, LedgerError, Row, Stored};
use super::run::{Progress, Report, Run, Stop};
use super::sender::{Photo, Sender, Sent};
use super::{ImportError, Plan};
use crate::client::{Body, Client};
use crate::http::head::Method;
use crate::transfer::file::{SourceFile, Stamp, content_type};
use crate::transfer::name::PhotoName;

/// Names that are made durable together.
const GROUP: usize = 256;
/// Photos of an earlier run that are looked for before it goes on.
const SAMPLE: usize = 16;

/// A file that is to be stored.
struct Job {
    /// From the root.
    path: Vec<u8>,
    name: PhotoName,
    /// The name was not drawn in this run: something may be stored there.
    known: bool,
}

/// Imports the directory `root`.
///
/// # Errors
/// [`ImportError`]. What goes wrong later stands in the report.
pub fn import(root: &Path, plan: &Plan, progress: &Progress) -> Result<Report, ImportError> {
    let cannot = |error| ImportError::Path { path: root.to_owned(), error };
    let root = root.canonicalize().map_err(cannot)?;
    let manifest = plan.manifest.clone().unwrap_or_else(|| default_manifest(&root));
    let client = plan.connect()?;
    let volumes = plan.volumes()?;
    let ledger = Ledger::open(&manifest, &root)?;
    if !is_there(&client, &ledger)? {
        return Err(ImportError::OtherStore { path: manifest, server: plan.server.clone() });
    }
    let run = Run::new(plan, progress, volumes);
    let import = Import { run: &run, root: &root, ledger: Mutex::new(ledger) };
    let (jobs, receiver) = sync_channel(2 * GROUP);
    let receiver = Mutex::new(receiver);
    let passed_over = std::thread::scope(|scope| {
        for _ in 0..plan.parallel.max(1) {
            scope.spawn(|| import.work(&receiver));
        }
        let result = import.feed(jobs);
        progress.all_found.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|error| {
            run.stop(error.to_string());
            PassedOver::default()
        })
    });
    let ledger = import.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut report, unknown) = run.end();
    if report.stopped.is_none() {
        match ledger.finish(unknown) {
            Ok(()) => report.manifest = Some(manifest),
            Err(error) => report.stopped = Some(Stop::Pause(error.to_string())),
        }
    }
    Ok(Report { special: passed_over.special, hidden: passed_over.hidden, ..report })
}

fn default_manifest(root: &Path) -> PathBuf {
    let mut name = root.file_name().map_or_else(|| OsString::from("root"), OsStr::to_owned);
    name.push(".manifest.tsv");
    name.into()
}

/// Whether some of what is said to be stored is: else this is another store.
fn is_there(client: &Client, ledger: &Ledger) -> Result<bool, ImportError> {
    let count = ledger.stored().count();
    let step = count.div_ceil(SAMPLE).max(1);
    for name in ledger.stored().step_by(step) {
        // What cannot be read now is there.
        if client.request(Method::Head, &name.to_string(), &[], Body::None)?.status != 404 {
            return Ok(true);
        }
    }
    Ok(count == 0)
}

/// What is no photo.
#[derive(Default)]
struct PassedOver {
    special: u64,
    hidden: u64,
}

struct Import<'a> {
    run: &'a Run<'a>,
    root: &'a Path,
    ledger: Mutex<Ledger>,
}

impl Import<'_> {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the files, and hands them to the workers once their names are durable.
    fn feed(&self, jobs: SyncSender<Job>) -> Result<PassedOver, LedgerError> {
        let own: Vec<PathBuf> =
            self.ledger().own_files().iter().filter_map(|path| absolute(path)).collect();
        let mut passed_over = PassedOver::default();
        let hidden = &mut passed_over.hidden;
        let wanted = |entry: &DirEntry| {
            let skip = !self.run.plan.hidden
                && entry.depth() > 0
                && entry.file_name().as_bytes().starts_with(b".");
            *hidden += u64::from(skip);
            !skip
        };
        let walk = WalkDir::new(self.root).min_depth(1).sort_by_file_name().into_iter();
        let mut group = Vec::new();
        for entry in walk.filter_entry(wanted) {
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
            if let Some(job) = self.job(&entry) {
                group.push(job);
            }
            if group.len() >= GROUP && !self.hand_over(&mut group, &jobs)? {
                break;
            }
        }
        self.hand_over(&mut group, &jobs)?;
        Ok(passed_over)
    }

    fn relative<'p>(&self, path: &'p Path) -> &'p [u8] {
        path.strip_prefix(self.root).unwrap_or(path).as_os_str().as_bytes()
    }

    fn shown(&self, path: &[u8]) -> String {
        if path.is_empty() { self.root.display().to_string() } else { escape(path) }
    }

    /// What is to be done about a file, if anything is.
    fn job(&self, entry: &DirEntry) -> Option<Job> {
        self.run.progress.found.fetch_add(1, Ordering::Relaxed);
        let path = self.relative(entry.path()).to_owned();
        let fail = |why: String| {
            self.run.fail(self.shown(&path), why, false);
            None
        };
        let stamp = match entry.metadata() {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) => return fail(error.to_string()),
        };
        match self.ledger().row(&path) {
            Some(Row { stored: Some(stored), .. }) if stored.stamp == stamp => {
                self.run.progress.present.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Some(Row { name, .. }) => return Some(Job { path, name, known: true }),
            None => {}
        }
        let Some(volume) = self.run.volumes.pick(stamp.size) else {
            self.run.stop(NO_VOLUME_LEFT.to_owned());
            return None;
        };
        match PhotoName::draw(volume) {
            Ok(name) => Some(Job { path, name, known: false }),
            Err(error) => fail(format!("no random name can be had: {error}")),
        }
    }

    /// False when nobody takes them any more.
    fn hand_over(&self, group: &mut Vec<Job>, jobs: &SyncSender<Job>) -> Result<bool, LedgerError> {
        let new = group.iter().filter(|job| !job.known);
        let names: Vec<_> = new.map(|job| (job.path.clone(), job.name)).collect();
        if !names.is_empty() {
            let unsynced = self.ledger().assign(&names)?;
            unsynced.sync()?;
        }
        Ok(group.drain(..).all(|job| jobs.send(job).is_ok()))
    }

    fn work(&self, jobs: &Mutex<Receiver<Job>>) {
        let sender = Sender::new(self.run);
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else { return };
            // When the import ends early, the rest is only taken out of the way.
            if !self.run.stopped() {
                self.store(&sender, job);
            }
        }
    }

    fn store(&self, sender: &Sender<'_>, job: Job) {
        let path = self.root.join(OsStr::from_bytes(&job.path));
        let fail = |why: String, unknown| self.run.fail(self.shown(&job.path), why, unknown);
        let source = match SourceFile::open(&path) {
            Ok(source) => source,
            Err(error) => return fail(error.to_string(), false),
        };
        let mut name = job.name;
        loop {
            let photo = Photo {
                name,
                content_type: content_type(&path),
                modified_ns: Some(source.stamp().modified_ns),
                source: &source,
            };
            match sender.put(&photo) {
                Sent::Stored(etag) if source.digest() == Some(etag) => {
                    return self.record(&job.path, name, source.stamp(), etag);
                }
                Sent::Stored(_) => {
                    let why = "the daemon tells another checksum than that of what was read";
                    return fail(why.to_owned(), true);
                }
                Sent::Failed { why, unknown } => return fail(why, unknown),
                Sent::Stopped => return,
                Sent::Elsewhere(why) => {
                    self.run.volumes.give_up(name.volume);
                    // An earlier run may have stored it and not heard of it.
                    if job.known
                        && let Ok(etag) = source.hash()
                        && let Ok(Some(there)) = sender.head(name)
                        && there == etag
                    {
                        return self.record(&job.path, name, source.stamp(), etag);
                    }
                    match self.another_name(&job, source.stamp().size, &why) {
                        Some(another) => name = another,
                        None => return,
                    }
                }
            }
        }
    }

    fn record(&self, path: &[u8], name: PhotoName, stamp: Stamp, etag: u64) {
        // Outside of the match, or the lock would be held in it.
        let result = self.ledger().record(path, name, Stored { stamp, etag });
        match result {
            Ok(()) => self.run.progress.stored(stamp.size),
            Err(error) => self.run.stop(error.to_string()),
        }
    }

    /// A durable name in another volume, because `why`.
    fn another_name(&self, job: &Job, size: u64, why: &str) -> Option<PhotoName> {
        let Some(volume) = self.run.volumes.pick(size) else {
            self.run.stop(match self.run.volumes.fixed() {
                true => format!("volume {}: {why}; name another with --volume", job.name.volume),
                false => format!("{NO_VOLUME_LEFT}; the last one said: {why}"),
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

const NO_VOLUME_LEFT: &str =
    "no volume with room takes writes any more: create one with hayloft volume create";

/// A path as the walk would name it.
fn absolute(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}
