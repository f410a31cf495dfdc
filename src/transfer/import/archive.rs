//! The photos of a tar, as `hayloft export` writes it, under the names that they have there.

use std::collections::HashSet;
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::escape::escape;
use super::run::{Progress, Report, Run};
use super::sender::{Photo, Sender, Sent};
use super::{ImportError, Plan};
use crate::client::Source;
use crate::http::modified;
use crate::http::reply::valid_content_type;
use crate::http::target;
use crate::transfer::file::{Input, SourceFile};
use crate::transfer::name::PhotoName;

/// Photos above this wait in a file for their turn, not in memory (bytes).
const IN_MEMORY: u64 = 1 << 20;
/// Photos that wait while all workers have one.
const WAITING: usize = 4;
/// Entries of a tar are padded to multiples of this (bytes).
const TAR_BLOCK: u64 = 512;

/// What an entry says about a photo, and its bytes.
struct Job {
    /// The entry's name.
    what: String,
    name: PhotoName,
    content_type: Option<String>,
    modified_ns: Option<u64>,
    input: Input,
}

/// Imports a tar.
///
/// # Errors
/// [`ImportError`]. What goes wrong later stands in the report.
pub fn import(tar: impl BufRead, plan: &Plan, progress: &Progress) -> Result<Report, ImportError> {
    plan.connect()?;
    let volumes = if plan.create_volumes.is_some() { plan.ask_volumes()? } else { plan.volumes()? };
    let run = Run::new(plan, progress, volumes);
    let named = plan.volume.into_iter().collect();
    if let Err(why) = plan.prepare(&run.volumes, &named, &progress.stop) {
        run.stop(format!("{why}; nothing was stored"));
        return Ok(run.end().0);
    }
    let (jobs, receiver) = sync_channel(WAITING);
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        for _ in 0..plan.parallel.max(1) {
            scope.spawn(|| work(&run, &receiver));
        }
        if let Err(why) = feed(&run, tar, jobs) {
            run.refuse_tar(why);
        }
        progress.all_found.store(true, Ordering::Relaxed);
    });
    Ok(run.end().0)
}

/// Counts what was read.
struct Counting<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(out)?;
        self.count.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

fn no_tar(error: &io::Error) -> String {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    match error.kind() {
        // The library's own errors, which quote what they could not make sense of.
        Other | InvalidData | InvalidInput | UnexpectedEof => {
            "it is no tar, or one that is cut off or damaged; get it anew from hayloft export, or name a \
             directory. A single photo is stored with hayloft put"
                .to_owned()
        }
        _ => format!("it cannot be read: {error}; what came before is stored"),
    }
}

/// Reads the tar to its end; what is wrong with it is the error.
fn feed(run: &Run<'_>, tar: impl BufRead, jobs: SyncSender<Job>) -> Result<(), String> {
    let count = Arc::new(AtomicU64::new(0));
    let mut archive = Archive::new(Counting { inner: tar, count: Arc::clone(&count) });
    let mut reader = Entries { run, source: None, target: None, seen: HashSet::new() };
    let mut end = 0;
    for entry in archive.entries().map_err(|error| no_tar(&error))? {
        let mut entry = entry.map_err(|error| no_tar(&error))?;
        end = entry.raw_file_position() + entry.size().next_multiple_of(TAR_BLOCK);
        if run.stopped() {
            return Ok(());
        }
        if let Some(job) = reader.job(&mut entry)?
            && jobs.send(job).is_err()
        {
            return Ok(());
        }
    }
    // The library takes the end of the bytes for the end of the tar; a block of zeros is.
    if count.load(Ordering::Relaxed) < end + TAR_BLOCK {
        return Err(
            "it is cut off: the zeros that mark its end are missing; what came before is stored. Get it \
             anew, and run the same command"
                .to_owned(),
        );
    }
    if run.progress.found.load(Ordering::Relaxed) == 0 {
        return Err("there is no photo in it; name a tar that hayloft export wrote".to_owned());
    }
    Ok(())
}

struct Entries<'a> {
    run: &'a Run<'a>,
    /// The volume that the photos come from, if the tar says so for all.
    source: Option<u32>,
    /// Where they go, once that is decided.
    target: Option<u32>,
    seen: HashSet<(u64, u32)>,
}

impl Entries<'_> {
    /// What is to be done about an entry, if anything is.
    fn job<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<Option<Job>, String> {
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory {
            return Ok(None);
        }
        let what = escape(&entry.path_bytes());
        let wrong = |what: &str, how: &str| {
            format!("entry {what:?} {how}; this is no tar of hayloft export")
        };
        if kind == EntryType::XGlobalHeader {
            let mut bytes = Vec::new();
            let read = entry.take(IN_MEMORY).read_to_end(&mut bytes);
            read.map_err(|error| no_tar(&error))?;
            self.source = Records::read(PaxExtensions::new(&bytes)).volume.or(self.source);
            return Ok(None);
        }
        if !matches!(kind, EntryType::Regular | EntryType::Continuous) {
            return Err(wrong(&what, "is no plain file"));
        }
        let path = entry.path_bytes();
        let named = target::parse_entry(path.strip_prefix(b"./").unwrap_or(&path));
        let (key, alt, cookie) =
            named.ok_or_else(|| wrong(&what, "is not {key}/{alt}/{cookie}"))?;
        if !self.seen.insert((key, alt)) {
            return Err(wrong(&what, "stands there twice"));
        }
        let seconds = entry.header().mtime().unwrap_or(0);
        let records = entry.pax_extensions().map_err(|error| no_tar(&error))?;
        let records = records.map_or_else(Records::default, Records::read);
        if records.content_type.as_ref().is_some_and(|kind| !valid_content_type(kind.as_bytes())) {
            return Err(wrong(&what, "has a media type that is not 1 to 255 visible characters"));
        }
        let modified_ns = records.modified_ns.unwrap_or(seconds.saturating_mul(1_000_000_000));
        let name = PhotoName { volume: 0, key, alt, cookie };
        let Some(volume) = self.volume(name, records.volume.or(self.source))? else {
            return Ok(None);
        };
        self.run.progress.found.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Job {
            name: PhotoName { volume, ..name },
            content_type: records.content_type,
            modified_ns: Some(modified_ns).filter(|ns| *ns > 0),
            input: read(entry).map_err(|error| format!("entry {what:?}: {error}"))?,
            what,
        }))
    }

    /// The volume for all: the one named; that which the tar names; the one that has the first photo
    /// already; the one with most room. Nothing when the import ends early.
    fn volume(&mut self, first: PhotoName, source: Option<u32>) -> Result<Option<u32>, String> {
        if self.target.is_some() {
            return Ok(self.target);
        }
        let all = self.run.volumes.all();
        self.target = source.filter(|source| all.contains(source));
        if self.target.is_none() && all.len() > 1 {
            let sender = Sender::new(self.run);
            for &volume in &all {
                match sender.head(PhotoName { volume, ..first }) {
                    Ok(Some(_)) => self.target = Some(volume),
                    Ok(None) => {}
                    Err(Sent::Failed { why, .. }) => return Err(why),
                    Err(_) => return Ok(None),
                }
            }
        }
        self.target = self.target.or_else(|| self.run.volumes.pick(0));
        Ok(self.target)
    }
}

/// What pax records say.
#[derive(Default)]
struct Records {
    content_type: Option<String>,
    modified_ns: Option<u64>,
    volume: Option<u32>,
}

impl Records {
    fn read(records: PaxExtensions<'_>) -> Self {
        let mut found = Self::default();
        for record in records.filter_map(Result::ok) {
            let value = record.value_bytes();
            match record.key_bytes() {
                b"SCHILY.xattr.user.mime_type" => {
                    found.content_type = Some(String::from_utf8_lossy(value).into_owned());
                }
                b"mtime" => found.modified_ns = modified::parse_pax(value),
                b"HAYLOFT.volume" => {
                    found.volume = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                }
                _ => {}
            }
        }
        found
    }
}

/// The bytes of an entry, all of them.
fn read<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Input> {
    let size = entry.size();
    let cut = |got| if got == size { Ok(()) } else { Err(io::Error::other("the tar is cut off")) };
    if size > IN_MEMORY {
        let mut file = tempfile::tempfile()?;
        cut(io::copy(entry, &mut file)?)?;
        return Ok(Input::File(SourceFile::spooled(file)?));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    cut(bytes.len() as u64)?;
    Ok(Input::Bytes(bytes))
}

fn work(run: &Run<'_>, jobs: &Mutex<Receiver<Job>>) {
    let sender = Sender::new(run);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // When the import ends early, the rest is only taken out of the way.
        if !run.stopped() {
            store(run, &sender, &job);
        }
    }
}

fn store(run: &Run<'_>, sender: &Sender<'_>, job: &Job) {
    let etag = match &job.input {
        Input::Bytes(_) => job.input.digest(),
        Input::File(file) => file.hash().ok(),
    };
    let fail = |why, unknown| run.fail(job.what.clone(), why, unknown);
    match sender.head(job.name) {
        Ok(there) if there.is_some() && there == etag => {
            run.progress.present.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Ok(_) => {}
        Err(Sent::Failed { why, unknown }) => return fail(why, unknown),
        Err(_) => return,
    }
    let photo = Photo {
        name: job.name,
        content_type: job.content_type.as_deref(),
        modified_ns: job.modified_ns,
        source: &job.input,
    };
    match sender.put(&photo) {
        Sent::Stored(stored) if Some(stored) == etag => run.progress.stored(job.input.len()),
        Sent::Stored(_) => {
            fail("the daemon tells another checksum than that of what was read".to_owned(), true);
        }
        Sent::Failed { why, unknown } => fail(why, unknown),
        Sent::Elsewhere(why) => {
            let volume = job.name.volume;
            run.stop(format!("volume {volume}: {why}; make room, or name another with --volume"));
        }
        Sent::Stopped => {}
    }
}
