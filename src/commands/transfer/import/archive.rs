//! Imports the photos of a tar that `hayloft export` wrote, under their names in the tar and in the volumes
//! that they come from.
//!
//! A tar in a file is scanned first, so that foreseeable failures stop the import before anything is stored.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::error::ImportError;
use super::plan::Plan;
use super::progress::Progress;
use super::report::{Report, Stop};
use super::route::{Halt, Router};
use super::run::{Run, TOO_LARGE_NAMED};
use super::sender::{Photo, Sender, Sent};
use crate::base::types::VolumeId;
use crate::commands::client::{HeadAnswer, Source};
use crate::commands::transfer::file::{Input, SourceFile};
use crate::commands::transfer::name::PhotoName;
use crate::http::photo_tar::{self, Reader, TarError};
use crate::http::upload::is_form;

/// Photos above this size (bytes) are queued in a temporary file, not in memory.
const IN_MEMORY: u64 = 1 << 20;
/// Capacity of the queue to the workers (photos).
const WAITING: usize = 4;
/// Size of a read of the scan (bytes): little more than headers.
const SCAN_BUFFER: usize = 4096;
/// Size of a write to a temporary file (bytes).
const PIECE: usize = 1 << 16;

/// Source of a tar.
pub enum Tar<'a> {
    /// A file, from its current position.
    File(&'a mut File),
    /// A stream, which can be read only once.
    Stream(&'a mut dyn Read),
}

/// A photo of the tar, with its bytes.
struct Job {
    /// Name of the entry.
    what: String,
    name: PhotoName,
    content_type: Option<String>,
    modified_ns: Option<u64>,
    expires_ns: Option<u64>,
    attributes: Option<Vec<u8>>,
    input: Input,
}

/// Imports a tar.
///
/// # Errors
/// [`ImportError`] before anything is stored. Later failures are in the report.
pub fn import(mut tar: Tar<'_>, plan: &Plan, progress: &Progress) -> Result<Report, ImportError> {
    let run = Run::connect(plan, progress)?;
    let mut router = Router::new(&run);
    if let Tar::File(file) = &mut tar
        && let Err(why) = scan(&run, file, &mut router)
    {
        run.halt(why);
        return Ok(progress.so_far().0);
    }
    let (jobs, receiver) = sync_channel(WAITING);
    let receiver = Mutex::new(receiver);
    let fed = std::thread::scope(|scope| {
        for _ in 0..plan.parallel.max(1) {
            scope.spawn(|| work(&run, &receiver));
        }
        let fed = match tar {
            Tar::File(file) => match len_from_here(file) {
                Ok(len) => {
                    let reader = Reader::with_len(BufReader::new(file), len);
                    feed(&run, reader, &mut router, &jobs)
                }
                Err(error) => Err(refused(&error.into())),
            },
            Tar::Stream(stream) => feed(&run, Reader::new(stream), &mut router, &jobs),
        };
        drop(jobs);
        progress.all_found.store(true, Ordering::Relaxed);
        fed
    });
    // Only after the workers have ended: all photos that were passed to them are dealt with. A read error
    // after an interruption is no fault of the tar.
    if let Err(why) = fed
        && !run.stopped()
    {
        run.halt(why);
    }
    Ok(progress.so_far().0)
}

/// Scans a tar in a file: decides to which volumes its photos go, and checks that those take them. Ends at
/// damage, which is found again when the tar is read.
fn scan(run: &Run<'_>, file: &mut File, router: &mut Router<'_>) -> Result<(), Halt> {
    let unread = |error: io::Error| Some(Stop::Pause(format!("the tar cannot be read: {error}")));
    let start = file.stream_position().map_err(unread)?;
    let len = len_from_here(file).map_err(unread)?;
    let mut reader = Reader::seeking(BufReader::with_capacity(SCAN_BUFFER, &mut *file), len);
    let mut needed = BTreeMap::<VolumeId, u64>::new();
    let (mut too_large, mut names) = (0, Vec::new());
    loop {
        if run.stopped() {
            return Err(None);
        }
        match reader.next_photo() {
            Ok(Some(photo)) => {
                let name = router.route(&photo).map_err(before_all)?;
                if run.too_large(photo.size).is_some() {
                    too_large += 1;
                    if names.len() < TOO_LARGE_NAMED {
                        names.push((photo.name(), photo.size));
                    }
                    continue;
                }
                let bytes = needed.entry(name.volume).or_default();
                *bytes = bytes.saturating_add(photo.size);
            }
            Ok(None) => {
                router.finish().map_err(|why| before_all(Some(why)))?;
                break;
            }
            Err(error) if error.is_damage() => break,
            Err(error) => return Err(before_all(refused(&error))),
        }
    }
    router.prepare(&needed).map_err(|why| before_all(Some(Stop::Pause(why))))?;
    router.rewind();
    run.announce_too_large(too_large, &names, ", unless it is there already");
    file.seek(SeekFrom::Start(start)).map(drop).map_err(unread)
}

/// Returns the bytes of a file from its current position on.
fn len_from_here(file: &mut File) -> io::Result<u64> {
    Ok(file.metadata()?.len().saturating_sub(file.stream_position()?))
}

/// Adds to a reason that nothing was stored.
fn before_all(why: Halt) -> Halt {
    let say = |why: String| format!("{why}; nothing was stored");
    why.map(|why| match why {
        Stop::Pause(why) => Stop::Pause(say(why)),
        Stop::BadTar(why) => Stop::BadTar(say(why)),
    })
}

/// Describes why a tar is refused, and what to do.
fn refused(error: &TarError) -> Halt {
    let say = |why: String| Some(Stop::BadTar(why));
    match error {
        TarError::Read(error) => {
            say(format!("the tar cannot be read: {error}; what came before is stored"))
        }
        TarError::Cut => {
            say("it is cut off: the zeros that mark its end are missing; what came before is \
                              stored. Get it anew, and run the same command"
                .to_owned())
        }
        TarError::Longer(_) => say(format!(
            "it is cut off, or damaged: {error}; what came before is stored. Get it anew, and run the same \
             command"
        )),
        TarError::Damaged(what) => say(format!(
            "it is no tar, or damaged ({what}); get it anew from hayloft export, or name a directory. A \
             single photo is stored with hayloft put"
        )),
        TarError::Entry { .. } => say(format!("{error} (hayloft export writes no such entry)")),
        TarError::Joined | TarError::Global(_) => say(error.to_string()),
    }
}

/// Reads the tar to its end, and passes its photos to the workers.
fn feed(
    run: &Run<'_>,
    mut reader: Reader<impl Read>,
    router: &mut Router<'_>,
    jobs: &SyncSender<Job>,
) -> Result<(), Halt> {
    while let Some(photo) = reader.next_photo().map_err(|error| refused(&error))? {
        if run.stopped() {
            return Ok(());
        }
        let name = router.route(&photo)?;
        // A photo that is too large needs no volume: it is already present, or is not stored.
        if run.too_large(photo.size).is_none() {
            router.prepare(&BTreeMap::from([(name.volume, photo.size)])).map_err(Stop::Pause)?;
        }
        run.progress.found.fetch_add(1, Ordering::Relaxed);
        let input = read(&mut reader, &photo)?;
        let what = photo.name();
        let photo_tar::Photo { content_type, modified_ns, expires_ns, attributes, .. } = photo;
        let job = Job { what, name, content_type, modified_ns, expires_ns, attributes, input };
        if jobs.send(job).is_err() {
            return Ok(());
        }
    }
    if run.progress.found.load(Ordering::Relaxed) == 0 {
        let why = "there is no photo in it; name a tar that hayloft export wrote";
        return Err(Some(Stop::BadTar(why.to_owned())));
    }
    router.finish().map_err(Some)
}

/// Reads all bytes of a photo.
fn read<R: Read>(tar: &mut Reader<R>, photo: &photo_tar::Photo) -> Result<Input, Halt> {
    let cut = |error: io::Error| refused(&error.into());
    if photo.size <= IN_MEMORY {
        let mut bytes = Vec::new();
        tar.read_to_end(&mut bytes).map_err(cut)?;
        return Ok(Input::Bytes(bytes));
    }
    let unspooled = |error: io::Error| {
        let place = std::env::temp_dir();
        let why =
            format!("a photo of {} bytes cannot wait in {}: {error}", photo.size, place.display());
        Some(Stop::Pause(why))
    };
    let mut file = tempfile::tempfile().map_err(unspooled)?;
    let mut piece = vec![0; PIECE];
    loop {
        let len = tar.read(&mut piece).map_err(cut)?;
        if len == 0 {
            break;
        }
        file.write_all(&piece[..len]).map_err(unspooled)?;
    }
    SourceFile::spooled(file).map(Input::File).map_err(unspooled)
}

fn work(run: &Run<'_>, jobs: &Mutex<Receiver<Job>>) {
    let sender = Sender::new(run);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // When the import ends early, the remaining jobs are only taken off the queue.
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
    if job.expires_ns.is_some_and(|expires_ns| expires_ns <= run.plan.now_ns) {
        run.progress.expired.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let found = match run.plan.verify {
        true => sender.verify(job.name),
        false => sender.ask(job.name),
    };
    match found {
        Ok(HeadAnswer { status: 200, etag: there }) if there.is_some() && there == etag => {
            run.progress.present.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // A different photo, none, or a damaged one: the photo is stored.
        Ok(_) => {}
        Err(Sent::Failed { why, unknown }) => return fail(why, unknown),
        Err(_) => return,
    }
    if let Some(why) = run.too_large(job.input.len()) {
        return fail(why, false);
    }
    // Earlier versions accepted the media type of a form; uploads must not have it now.
    let (content_type, is_form) = match job.content_type.as_deref() {
        Some(text) if is_form(text.as_bytes()) => (None, true),
        content_type => (content_type, false),
    };
    let photo = Photo {
        name: job.name,
        content_type,
        modified_ns: job.modified_ns,
        expires_ns: job.expires_ns,
        attributes: job.attributes.as_deref(),
        source: &job.input,
    };
    match sender.put(&photo) {
        Sent::Stored(stored) if Some(stored) == etag => {
            run.progress.stored(job.input.len());
            run.progress.retyped.fetch_add(u64::from(is_form), Ordering::Relaxed);
        }
        Sent::Stored(_) => {
            let why = "the checksum that the daemon reports is not that of the bytes read";
            fail(why.to_owned(), true);
        }
        Sent::Failed { why, unknown } => fail(why, unknown),
        Sent::Elsewhere(why) => {
            let volume = job.name.volume;
            run.stop(format!(
                "volume {volume}: {why}; make room, or send its photos to another volume with --volume-map \
                 {volume}=N or --volume N"
            ));
        }
        Sent::Stopped => {}
    }
}
