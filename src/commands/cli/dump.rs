//! `hayloft dump`: lists live photos while no daemon runs on their volumes.

use std::cell::RefCell;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Args;

use super::offline::{Meter, OfflineArgs, place_text, print_notes};
use super::output::{note, stdout, unwritten};
use crate::commands::offline::{Row, Unlisted};

const DUMP_EXAMPLES: &str = "\
Examples:
  hayloft dump > photos.tsv
      every live photo in ./hayloft-data
  hayloft dump --data /disk1/hayloft/data --volume 7 --no-cookies | cut -f4,5,8
      key, size variant and size of each in volume 7
  hayloft dump --json | jq -r 'select(.size > 1000000) | .key'
      one JSON object per line

Stop the daemon first. Nothing in a volume is changed. Of a volume with several files, the one \
that the daemon would serve is read, and named. One line for each live photo, in the \
order of the files, with tabs between the columns; in text a tab is \\t and a \
backslash \\\\. The last column is what a SeaweedFS cluster stores with a photo. Cookies give \
access to the photos: protect the output as you protect the volumes.
Every photo is read and verified. A damaged photo is listed as a line that begins with #; \
`hayloft check` says what to do about it.
Exit codes: 0 all listed; 1 a photo is damaged, or a volume could not be read; 2 could not run.";

/// Flags of `hayloft dump`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(after_help = DUMP_EXAMPLES)]
pub struct DumpArgs {
    /// Data directories and volumes to list.
    #[command(flatten)]
    pub offline: OfflineArgs,

    /// Leave the cookies out
    #[arg(long)]
    pub no_cookies: bool,

    /// Print one JSON object per line instead of columns
    #[arg(long)]
    pub json: bool,
}

const HEADING: &str = "#volume\toffset\tlength\tkey\talt\tcookie\tkind\tsize\tcontent_type\tmodified\
                       \tversion\tetag\texpires\tcluster";

impl DumpArgs {
    pub(super) fn run(self) -> ExitCode {
        let mut offline = match self.offline.open() {
            Ok(offline) => offline,
            Err(code) => return code,
        };
        print_notes(&offline);
        let meter = RefCell::new(Meter::new());
        let mut dump = || -> io::Result<bool> {
            let mut out = BufWriter::with_capacity(64 << 10, stdout()?);
            if !self.json {
                writeln!(out, "{HEADING}")?;
            }
            let mut progress = |progress| meter.borrow_mut().show(progress);
            let whole = offline.table(!self.no_cookies, &mut progress, &mut |row| {
                let line = if self.json { json(&row) } else { columns(&row) };
                writeln!(out, "{line}")
            })?;
            out.flush()?;
            Ok(whole)
        };
        let dumped = dump();
        meter.borrow_mut().clear();
        match dumped {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => {
                note("not everything could be listed; `hayloft check` says what to do about it");
                ExitCode::FAILURE
            }
            // A reader that closes the pipe early (`| head`) is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => unwritten(&error),
        }
    }
}

fn json(row: &Result<Row, Unlisted>) -> String {
    let text = match row {
        Ok(row) => serde_json::to_string(row),
        Err(unlisted) => serde_json::to_string(unlisted),
    };
    text.expect("numbers and strings always serialize to JSON")
}

fn columns(row: &Result<Row, Unlisted>) -> String {
    match row {
        Ok(row) => {
            let cookie = row.cookie.as_deref().unwrap_or("-");
            let content_type = row.content_type.as_deref().unwrap_or("-");
            let expires = row.expires.as_deref().unwrap_or("-");
            let cluster = row.cluster.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            let Row {
                volume, offset, length, key, alt, kind, size, modified, version, etag, ..
            } = row;
            format!(
                "{volume}\t{offset}\t{length}\t{key}\t{alt}\t{cookie}\t{kind}\t{size}\t{content_type}\
                 \t{modified}\t{version}\t{etag}\t{expires}\t{cluster}"
            )
        }
        Err(Unlisted { volume, offset, key, alt, damage }) => {
            format!("# {}: damaged: {damage}", place_text(*volume, *offset, *key, *alt))
        }
    }
}
