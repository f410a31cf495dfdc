//! `hayloft volume pull`: makes a volume a copy of one of another daemon, or brings such a copy up to date.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::admin::exit_code;
use super::export_online::token_of;
use super::output::{announce, fail, note};
use super::volume_id::volume_id;
use crate::base::size::{ByteSize, rounded};
use crate::base::types::VolumeId;
use crate::commands::client::{Client, ServerAddress};
use crate::commands::replica::{NotPulled, PullReport, PullWanted, VolumeCopy, pull_volume};

/// Interval between lines of progress.
const LINE: Duration = Duration::from_secs(10);

const PULL_EXAMPLES: &str = "\
Examples:
  hayloft volume pull --from 127.0.0.2:8081 --volume 7
      volume 7 of that daemon becomes volume 7 here; again later: what has changed
  hayloft volume pull --from store2:8081 --volume 7 --from-token-file token
      from another machine
  hayloft volume writable 7
      the copy takes photos of its own, and is one no more

Every photo arrives with its cookie, times, type and expiry, and is verified on both sides; both \
daemons go on serving. A volume that is a copy can be read, and takes no writes but these, also \
after a restart. A pull that ended early, in whatever way, goes on where it was when the command \
is run again. Deletions arrive as well; if the source has compacted them away since the last pull, \
both volumes are listed and compared, and what the source certainly has no more is deleted here. \
The lists wait in temporary files (TMPDIR), about 60 bytes for each photo.
Exit codes: 0 the copy is up to date; 1 a photo of the source cannot be read, or a daemon \
refused; 2 a daemon could not be reached, or the copy is not complete for another reason.";

/// Flags of `hayloft volume pull`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = PULL_EXAMPLES)]
pub struct PullArgs {
    /// Admin API of the daemon that has the volume, HOST:PORT
    #[arg(long, value_name = "ADDR")]
    pub from: ServerAddress,

    /// Number of the volume, 0 to 4294967295
    #[arg(long, value_name = "N", value_parser = volume_id())]
    pub volume: VolumeId,

    /// Its number there [default: the same]
    #[arg(long, value_name = "N", value_parser = volume_id())]
    pub from_volume: Option<VolumeId>,

    /// File with the admin token of the daemon that has the volume, if it is another machine
    #[arg(long, value_name = "FILE")]
    pub from_token_file: Option<PathBuf>,

    /// File with the admin token of the daemon that gets the copy (--admin), if it is another machine
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Size of the file if it is created, 16MiB to 1TiB in steps of 1MiB [default: as the source]
    #[arg(long, value_name = "SIZE")]
    pub size: Option<ByteSize>,

    /// Data directory if it is created, by its position in /status [default: the one with the most free
    /// space]
    #[arg(long, value_name = "N")]
    pub disk: Option<u32>,

    /// Make a volume with photos of its own a copy: those that the source has not are deleted
    #[arg(long)]
    pub replace: bool,
}

/// Pulls a volume into the daemon at `admin`.
pub(super) fn pull(admin: ServerAddress, args: PullArgs) -> ExitCode {
    let tokens = [&args.from_token_file, &args.token_file];
    let tokens = tokens.map(|path| path.as_deref().map(token_of).transpose());
    let [from_token, token] = match tokens {
        [Ok(from), Ok(to)] => [from, to],
        [Err(error), _] | [_, Err(error)] => return fail(&error),
    };
    let volume = args.volume;
    let from = VolumeCopy {
        client: Client::new(args.from, "--from"),
        volume: args.from_volume.unwrap_or(volume),
        token: from_token,
    };
    let to = VolumeCopy { client: Client::new(admin, "--admin"), volume, token };
    let wanted = PullWanted { size: args.size, disk: args.disk, replace: args.replace };
    let mut last = Instant::now();
    let pulled = pull_volume(&from, &to, &wanted, &mut |report| {
        if last.elapsed() >= LINE {
            last = Instant::now();
            note(format_args!("volume {volume}: {} so far", summary(report)));
        }
    });
    match pulled {
        Ok(report) => ended(volume, &report),
        Err(NotPulled::Client(error)) => exit_code(Err(error)),
        Err(error) => fail(&error),
    }
}

fn ended(volume: VolumeId, report: &PullReport) -> ExitCode {
    let PullReport { damaged, kept, position, was_compared, .. } = *report;
    let line = format!("volume {volume}: {}; position {position}", summary(report));
    let is_printed = announce(&line);
    if was_compared {
        note("the source has compacted deletions away: both volumes were listed and compared");
    }
    if damaged > 0 {
        note(format_args!(
            "{damaged} photos cannot be read at the source: the copy keeps what it has of them"
        ));
    }
    if kept > 0 {
        note(format_args!(
            "{kept} photos are only in the copy, and are kept: the source has damage and may have them as \
             well (hayloft volume damage)"
        ));
    }
    let is_whole = damaged == 0 && kept == 0 && is_printed;
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summary(report: &PullReport) -> String {
    let PullReport { photos, bytes, known, deletions, .. } = report;
    let size = rounded(*bytes);
    format!("{photos} photos ({size}) stored, {known} known, {deletions} deleted")
}
