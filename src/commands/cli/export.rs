//! `hayloft export`: writes live photos as a tar, while no daemon runs on their volumes, or from a running
//! daemon.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::export_online::{Wanted, export_online, token_of};
use super::offline::{Meter, OfflineArgs, place_text, print_notes};
use super::output::{fail, note};
use crate::base::size::rounded;
use crate::commands::client::ServerAddress;
use crate::commands::offline::{ExportSummary, Offline, OfflineError, Output};

const EXPORT_EXAMPLES: &str = "\
Examples:
  hayloft export --volume 7 -o volume7.tar
      every live photo of volume 7; the file appears when it is complete
  hayloft export --data /disk1/hayloft/data | zstd > photos.tar.zst
      to standard output
  hayloft export --server 127.0.0.1:8081 --volume 7 -o volume7.tar
      from a running daemon, by its admin API
  hayloft export --volume 7 | tar -tv --warning=no-unknown-keyword
      list its entries

Without --server, stop the daemon first. Nothing in a volume is changed. Of a volume with \
several files, the one that the daemon would serve is read, and named. Entries are named \
{key}/{alt}/{cookie} and carry the media type as the extended attribute user.mime_type, as a \
batch takes them (docs/HTTP.md). The pax record HAYLOFT.volume names the volume: hayloft import \
sends each photo back to it, and GNU tar ignores it (--warning=no-unknown-keyword silences its \
warning). The tar contains the cookies: protect it as you protect the volumes.
Every byte is verified before it is written; a damaged photo is left out and reported. A file \
has a temporary name until it is complete.
With --server the daemon goes on serving. What is stored meanwhile is in the tar, too, up to the \
position that is printed at the end; a photo that is replaced meanwhile may be in it twice, the \
newer one last, and one that is deleted meanwhile may still be in it. --since POSITION exports \
what was stored after an earlier export; deletions are counted, since a tar cannot have them. \
After a broken connection the export goes on where it was.
Exit codes: 0 all exported; 1 something was left out; 2 could not run, and no file was written.";

/// Flags of `hayloft export`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// Data directories and volumes to export.
    #[command(flatten)]
    pub offline: OfflineArgs,

    /// Export from a running daemon: its admin API, HOST:PORT
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["data", "config", "buffered"])]
    pub server: Option<ServerAddress>,

    /// File with the admin token of the daemon, for a server on another machine
    #[arg(long, value_name = "FILE", requires = "server")]
    pub token_file: Option<PathBuf>,

    /// Export what was stored after this position, which an earlier export of the volume ended with
    #[arg(long, value_name = "POSITION", requires = "server")]
    pub since: Option<u64>,

    /// File to write, - for standard output [default: -]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

impl ExportArgs {
    pub(super) fn run(self) -> ExitCode {
        let output = match &self.output {
            Some(path) if path != Path::new("-") => Output::file(path, self.force),
            _ => Output::stdout(),
        };
        let output = match output {
            Ok(output) => output,
            Err(error) => return fail(&error),
        };
        if let Some(server) = self.server {
            let token = match self.token_file.as_deref().map(token_of).transpose() {
                Ok(token) => token,
                Err(error) => return fail(&error),
            };
            let wanted = Wanted { volumes: self.offline.volume, since: self.since, token };
            return export_online(server, wanted, output);
        }
        let mut offline = match self.offline.open() {
            Ok(offline) => offline,
            Err(code) => return code,
        };
        print_notes(&offline);
        let name = output.name();
        match export(&mut offline, output) {
            Ok(ExportSummary { photos, bytes, left_out }) => {
                note(format_args!(
                    "{photos} photos ({}) written to {name}, {left_out} left out",
                    rounded(bytes)
                ));
                if left_out == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => fail(&error),
        }
    }
}

fn export(offline: &mut Offline, mut output: Output) -> Result<ExportSummary, OfflineError> {
    let meter = RefCell::new(Meter::new());
    let mut progress = |progress| meter.borrow_mut().show(progress);
    let exported = offline.export(&mut output, &mut progress, &mut |unlisted| {
        meter.borrow_mut().clear();
        let place = place_text(unlisted.volume, unlisted.offset, unlisted.key, unlisted.alt);
        note(format_args!(
            "left out: {place}: damaged: {}; `hayloft check` says what to do about it",
            unlisted.damage
        ));
    });
    meter.borrow_mut().clear();
    let summary = exported.map_err(|error| OfflineError::Write { what: output.name(), error })?;
    output.finish()?;
    Ok(summary)
}
