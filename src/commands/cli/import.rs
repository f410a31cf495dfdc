//! `hayloft import`: stores a directory or a tar, and resumes where it was interrupted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use super::interrupt::{self, Stage, Staged};
use super::output::{announce, fail, note};
use super::progress;
use super::serve::ServeArgs;
use super::volume_id::volume_id;
use crate::base::logging::Log;
use crate::base::size::ByteSize;
use crate::base::sys;
use crate::base::types::VolumeId;
use crate::commands::client::ServerAddress;
use crate::commands::transfer::import::{Plan, Progress, Report, Stop, abandon, import};
use crate::node::config::{Config, Limits};
use crate::node::daemon::{FirstVolume, Private, Signals};

const IMPORT_EXAMPLES: &str = "\
Examples:
  hayloft import /srv/photos
      every file becomes a photo; photos.manifest.tsv lists the URLs
  hayloft import --data /disk1/hayloft/data /srv/photos
      the same without a running daemon; --data for each disk of the store
  hayloft export --volume 7 | hayloft import --server b:8080 --admin b:8081 -
      a volume from this store to that on host b, under the same keys, cookies, types and times
  hayloft import --create-volumes 100GiB backup.tar
      a tar of several volumes, each photo to the volume it came from; what is missing is created

An interrupted import resumes when the same command is run again, and stores nothing twice: \
names are written to MANIFEST.journal before anything is sent. Run again later, it stores only \
new files, and changed files under the same URL. Symbolic links, special files and hidden files \
are skipped, and counted.

Each run asks the store for every photo of the manifest, and stores what the store has lost \
again, under the URL in the manifest: after a disk was lost, or all of them, the same command \
restores the photos. Volumes of the manifest that do not exist are reported, and nothing is \
stored, unless --create-volumes creates them. If the store has no photo of the manifest and its \
volumes hold other photos, it is refused as the wrong store, unless --restore is given. A photo \
that was replaced in the store by other means is kept, and listed; --overwrite stores the file \
over it.

By default the import asks the store whether it has each photo, which reads only the beginning \
of it: a photo that is damaged further on counts as present. --verify reads every byte of every \
photo of the manifest, or of the tar, that is present and compares the checksum, which takes as \
long as reading all of them over the network, and stores damaged or truncated photos again.

A photo larger than the daemon's limits.largest_body fails. It is reported before anything is \
stored, if the admin API is known and the photo is not read from a pipe: raise that limit, and \
run the same command again.

Photos whose files are gone stay in the store and in the manifest. A file that was renamed or \
moved is a new one, with a new URL, and its old photo stays. --prune deletes photos without a \
file, first from the store, then from the manifest, but only if the whole directory could be \
read and contains at least one file.

Photos of a tar go to the volumes that they come from (the pax record HAYLOFT.volume, which \
hayloft export writes). If one does not exist or takes no writes, the import reports it and \
stops: before anything is stored if the tar is a file, and at its first photo if it is a pipe. \
--create-volumes creates missing volumes; --volume-map and --volume send photos to other \
volumes, and two photos that would then have the same URL are an error. Photos for which the tar \
names no volume go together to the volume that already has the first of them, or else to the one \
with the most free space; if that volume takes no writes, the import stops; if several volumes \
have the photo, --volume must name one. A photo with the media type of a form \
(multipart/*, application/x-www-form-urlencoded), which an upload must not have, becomes \
application/octet-stream; their number is reported at the end.

The manifest has a line for each photo, sorted by path, with five fields between tabs: path, \
URL path, size (bytes), time of modification (seconds since 1970), XXH3-64 (hexadecimal). Its \
first line, which begins with #, names the directory. In paths, \\t \\n \\r \\\\ and \\xHH \
stand for a tab, line ends, a backslash and bytes that are no text.

SIGINT (Ctrl-C), SIGTERM, SIGQUIT, SIGHUP and similar signals end it within about a second, even \
while it waits for I/O, and the manifest of what was stored is written; with --data its volumes \
are closed first, for 10 s at most. A second signal ends it at once. SIGUSR1 and other signals \
without a meaning are reported and ignored.

With --data and a store without volumes, none is created unless --create-volumes is given.

Exit codes: 0 all is stored; 1 some photos are not, and are listed, or a volume or the tar is \
refused, or standard output could not be written; 2 the import could not start.";

/// Note after an import without `--verify` that found photos in the store.
const UNREAD: &str = "the store was asked for the photos that it has already, and their bytes were not \
                      read: --verify finds damaged ones";

/// Default address of the data API.
const SERVER: &str = "http://127.0.0.1:8080";
/// Default address of the admin API.
const ADMIN: &str = "127.0.0.1:8081";
/// Addresses that mean the default data API.
const DEFAULT_SERVERS: [&str; 3] = [SERVER, "localhost:8080", "[::1]:8080"];

/// Time that the import has to end in order after a signal, before it is abandoned: a server may hang.
const END_WORK: Duration = Duration::from_millis(700);
/// Like [`END_WORK`], with `--data`: the import must end before the volumes are closed.
const END_OWN_WORK: Duration = Duration::from_secs(3);

/// Flags of `hayloft import`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// A directory, or a tar that hayloft export wrote; - is a tar on standard input
    #[arg(value_name = "PATH")]
    pub path: PathBuf,

    /// The daemon's data API, HOST:PORT or http://HOST:PORT; no unix sockets, no TLS
    #[arg(long, value_name = "URL", default_value = SERVER)]
    pub server: ServerAddress,

    /// The daemon's admin API, which lists and creates volumes; that of another daemon is refused [default:
    /// 127.0.0.1:8081, if --server names no other daemon]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<ServerAddress>,

    /// Data directory to import to without a running daemon; repeatable, one per disk
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "admin"])]
    pub data: Vec<PathBuf>,

    /// With --data: use the page cache, where O_DIRECT does not work, as serve --buffered does
    #[arg(long, requires = "data", conflicts_with_all = ["server", "admin"])]
    pub buffered: bool,

    /// Volume for all photos [default: those with the most free space; for a tar, those they came from]
    #[arg(long, value_name = "N", value_parser = volume_id(), conflicts_with = "volume_map")]
    pub volume: Option<VolumeId>,

    /// For a tar: the photos of volume FROM go to volume TO; repeatable, or a list with commas
    #[arg(long, value_name = "FROM=TO", value_delimiter = ',', value_parser = parse_pair)]
    pub volume_map: Vec<(VolumeId, VolumeId)>,

    /// Create the volumes that photos need and that do not exist, each of this size
    #[arg(long, value_name = "SIZE")]
    pub create_volumes: Option<ByteSize>,

    /// File that records the URL of each photo [default: ./NAME.manifest.tsv, for a directory NAME]
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,

    /// Photos in flight at once, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: u16,

    /// Also import files and directories whose names begin with a dot
    #[arg(long)]
    pub hidden: bool,

    /// Store photos of the manifest under their URLs even if the store has none of them, but others
    #[arg(long)]
    pub restore: bool,

    /// Store files over photos that were replaced in the store by other means
    #[arg(long)]
    pub overwrite: bool,

    /// Delete photos whose files are gone from the directory, and their lines in the manifest
    #[arg(long)]
    pub prune: bool,

    /// Read every photo that is already in the store, and store damaged ones again
    #[arg(long)]
    pub verify: bool,
}

impl ImportArgs {
    /// Runs the import on a thread of its own, so that signals end it soon.
    pub(super) fn run(self) -> ExitCode {
        let volume_map = match self.volume_map() {
            Ok(map) => map,
            Err(error) => return fail(&error),
        };
        if self.path.as_os_str() == "-"
            && let Err(error) = sys::open_at_start(0)
        {
            return fail(&format_args!("cannot read standard input: {error}; pipe a tar into it"));
        }
        // Before any work that a signal must end in order.
        let signals = match Signals::handle_with_nohup() {
            Ok(signals) => signals,
            Err(error) => return fail(&format!("cannot handle signals: {error}; try again")),
        };
        let progress = Arc::new(Progress::default());
        let (worked_on, given_up) = (Arc::clone(&progress), Arc::clone(&progress));
        let began = Instant::now();
        let work_limit = if self.data.is_empty() { END_WORK } else { END_OWN_WORK };
        let work = move |staged: &Staged| self.work(volume_map, &worked_on, began, staged);
        let give_up = move |staged: &Staged| {
            let report = abandon(&given_up);
            staged.enter(Stage::Output);
            print_result(&report, &given_up, began)
        };
        interrupt::run(signals, &progress.stop, work_limit, work, give_up)
    }

    fn work(
        self,
        volume_map: BTreeMap<VolumeId, VolumeId>,
        progress: &Arc<Progress>,
        began: Instant,
        staged: &Staged,
    ) -> ExitCode {
        staged.enter(Stage::Save);
        let (mut private, _log) = match self.private(&progress.stop) {
            Ok(private) => private,
            Err(error) => return fail(&error),
        };
        let (server, admin) = match &private {
            Some(daemon) => (daemon.data_address().into(), daemon.admin_address().into()),
            None => (self.server.clone(), self.admin_address()),
        };
        let plan = Plan {
            server,
            admin,
            paired: self.paired(),
            private: private.is_some(),
            volume: self.volume,
            volume_map,
            create_volumes: self.create_volumes,
            manifest: self.manifest,
            parallel: usize::from(self.parallel),
            hidden: self.hidden,
            restore: self.restore,
            overwrite: self.overwrite,
            prune: self.prune,
            verify: self.verify,
            now_ns: sys::wall_ns(),
        };
        staged.enter(Stage::Work);
        let shown = progress::show(progress);
        let work = || import(&self.path, &plan, progress);
        let result = match &mut private {
            Some(daemon) => daemon.run(work),
            None => work(),
        };
        staged.enter(Stage::Save);
        let closed = private.map_or(Ok(()), Private::stop);
        staged.enter(Stage::Output);
        shown.end();
        if let Err(error) = closed {
            note(format_args!(
                "{error}; what was stored is durable, and the next start takes longer"
            ));
        }
        match result {
            Ok(report) => {
                let there = [&progress.confirmed, &progress.present];
                let is_there = there.iter().any(|count| count.load(Ordering::Relaxed) > 0);
                if is_there && !plan.verify {
                    note(UNREAD);
                }
                print_result(&report, progress, began)
            }
            Err(error) => fail(&error),
        }
    }

    /// `--volume-map` as a map.
    fn volume_map(&self) -> Result<BTreeMap<VolumeId, VolumeId>, String> {
        let mut map = BTreeMap::new();
        for &(from, to) in &self.volume_map {
            if let Some(other) = map.insert(from, to).filter(|other| *other != to) {
                return Err(format!("--volume-map sends volume {from} to both {other} and {to}"));
            }
        }
        Ok(map)
    }

    fn admin_address(&self) -> ServerAddress {
        self.admin.clone().unwrap_or_else(|| ADMIN.parse().expect("a valid address"))
    }

    /// Returns whether the admin API belongs to the server: it was named, both are the default, or the
    /// command runs its own daemon. The default admin API is that of this machine, and of no other server.
    fn paired(&self) -> bool {
        let is_server = |address: &str| address.parse().as_ref() == Ok(&self.server);
        !self.data.is_empty() || self.admin.is_some() || DEFAULT_SERVERS.into_iter().any(is_server)
    }

    /// Starts a daemon on the directories of `--data`, and its log; neither without `--data`.
    fn private(&self, stop: &AtomicBool) -> Result<(Option<Private>, Option<Log>), String> {
        if self.data.is_empty() {
            return Ok((None, None));
        }
        let volume_size = self.create_volumes;
        let args = ServeArgs {
            data: self.data.clone(),
            volume_size,
            buffered: self.buffered,
            ..ServeArgs::default()
        };
        let config = args.into_config().map_err(|error| error.to_string())?;
        // The daemon that the photos come from may have allowed any size that can be configured.
        let limits = Limits { largest_body: Limits::LARGEST_BODY_MAX, ..config.limits };
        let config = Config { log: "warn".to_owned(), limits, ..config };
        let targets = config.log_filter().map_err(|error| error.to_string())?;
        let log = Log::start(targets).map_err(|error| format!("cannot start the log: {error}"))?;
        // The import creates volumes itself, if the plan says so.
        let private = Private::start_unless(&config, &log, FirstVolume::Leave, stop);
        let private = private.map_err(|error| error.to_string())?;
        Ok((Some(private), Some(log)))
    }
}

/// Parses a pair of `--volume-map`.
fn parse_pair(text: &str) -> Result<(VolumeId, VolumeId), String> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| Some(text.trim()).filter(digits)?.parse().ok().map(VolumeId);
    let pair = text.split_once('=').and_then(|(from, to)| Some((number(from)?, number(to)?)));
    pair.ok_or_else(|| "write FROM=TO, two volumes by number, as in 2=7".to_owned())
}

/// Prints the result of an import, and returns its exit code.
fn print_result(report: &Report, progress: &Progress, began: Instant) -> ExitCode {
    let failed = progress.failed.load(Ordering::Relaxed);
    for failure in &report.failures {
        note(format_args!("{}: {}", failure.what, failure.why));
    }
    let more = failed - report.failures.len() as u64;
    if more > 0 {
        note(format_args!("and {more} more"));
    }
    let retyped = progress.retyped.load(Ordering::Relaxed);
    for (count, what) in [
        (
            retyped,
            "photos had the media type of a form, which an upload must not have; they are \
             application/octet-stream now",
        ),
        (progress.expired.load(Ordering::Relaxed), "photos were left out, since they have expired"),
        (report.special, "symbolic links and special files were passed over"),
        (report.hidden, "hidden entries were passed over; --hidden takes them too"),
        (
            report.gone,
            "photos of the manifest stay in the store without a file; --prune deletes them",
        ),
    ] {
        if count > 0 {
            note(format_args!("{count} {what}"));
        }
    }
    let mut is_announced = announce(&format!(
        "{} in {:.1} s",
        progress::counts(progress),
        began.elapsed().as_secs_f64()
    ));
    if let Some(manifest) = &report.manifest {
        is_announced &= announce(&format!("manifest: {}", manifest.display()));
    }
    match &report.stopped {
        Some(Stop::Pause(why)) => {
            note(format_args!("stopped early: {why}. The same command goes on from here"));
        }
        Some(Stop::BadTar(why)) => note(why),
        None if failed > 0 => {
            note(format_args!("failed: {failed}; the same command tries again"));
        }
        None => {}
    }
    let is_done = failed == 0 && report.stopped.is_none() && is_announced;
    if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
