//! `hayloft list`: what the volumes of the running daemon hold.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::admin::get;
use super::output::{fail, note, stdout, unwritten};
use super::volume_id::volume_id;
use crate::base::calendar::rfc3339;
use crate::base::types::VolumeId;
use crate::commands::client::{Client, ClientError, ServerAddress};
use crate::commands::offline::escaped;
use crate::commands::transfer::listing::{
    Arrived, ListEnd, ListedObject, NotListed, Wanted, list_volume,
};

const LIST_EXAMPLES: &str = "\
Examples:
  hayloft list --volume 7
      every photo in volume 7, in the order in which they were stored
  hayloft list --json | jq -r 'select(.size > 1000000) | .key'
      one JSON object per line
  hayloft list --volume 7 --deleted --since 1790000000000000000
      what was stored and deleted since then
  hayloft list --volume 7 --limit 1000
      a page; its last line names the position of the next one

The daemon goes on serving meanwhile. One line for each photo, with tabs between the columns; in \
a content type a tab is \\t and a backslash \\\\. A photo that exists all the time is listed once; \
one that is replaced meanwhile may be listed twice, the second time with a higher version. After \
a broken connection the list goes on, and some photos may be listed again. The last line of each \
volume begins with # and names its position: --since goes on there, also after a compaction or a \
restart. There are no cookies in the list.
Exit codes: 0 all listed; 1 a photo is damaged, or a volume could not be listed; 2 the daemon \
could not be reached, or standard output could not be written.";

/// Flags of `hayloft list`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = LIST_EXAMPLES)]
pub struct ListArgs {
    /// Volume; repeatable [default: all]
    #[arg(long, value_name = "N", value_parser = volume_id())]
    pub volume: Vec<VolumeId>,

    /// List deletions, too
    #[arg(long)]
    pub deleted: bool,

    /// Begin at this position, which an earlier list ended with; for one volume
    #[arg(long, value_name = "POSITION", default_value_t = 0, hide_default_value = true)]
    pub since: u64,

    /// List at most this many photos of each volume
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    /// Print one JSON object per line instead of columns
    #[arg(long)]
    pub json: bool,

    /// Admin API of the running daemon, HOST:PORT
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin: ServerAddress,
}

const HEADING: &str = "#volume\tkey\talt\tstate\tsize\tcontent_type\tmodified\tversion\texpires";

/// The id of a volume as the admin API lists it.
#[derive(Deserialize)]
struct KnownVolume {
    id: VolumeId,
}

/// A line as JSON.
#[derive(Serialize)]
struct OfVolume<T> {
    volume: VolumeId,
    #[serde(flatten)]
    line: T,
}

impl ListArgs {
    pub(super) fn run(self) -> ExitCode {
        if self.since > 0 && self.volume.len() != 1 {
            return fail(&"--since is a position of one volume: name it with --volume");
        }
        match self.list() {
            Ok(code) => code,
            // A reader that closes the pipe early (`| head`) is no failure.
            Err(NotListed::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Err(NotListed::Output(error)) => unwritten(&error),
            Err(error) => fail(&error),
        }
    }

    fn list(&self) -> Result<ExitCode, NotListed> {
        let client = Client::new(self.admin.clone(), "--admin");
        let mut out = stdout().map_err(NotListed::Output)?;
        let volumes = match self.volume.is_empty() {
            false => self.volume.clone(),
            true => {
                let known: Vec<KnownVolume> = get(&client, "/volumes")?.json()?;
                known.iter().map(|volume| volume.id).collect()
            }
        };
        if !self.json {
            writeln!(out, "{HEADING}").map_err(NotListed::Output)?;
        }
        let mut is_whole = true;
        for volume in volumes {
            match self.list_one(&client, volume, &mut out) {
                Ok(is_undamaged) => is_whole &= is_undamaged,
                Err(NotListed::Client(ClientError::Refused { reason, .. })) => {
                    note(reason);
                    is_whole = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Lists a volume. Returns whether nothing in it is damaged.
    fn list_one(
        &self,
        client: &Client,
        volume: VolumeId,
        out: &mut impl Write,
    ) -> Result<bool, NotListed> {
        let (since, limit, deleted) = (self.since, self.limit, self.deleted);
        let wanted = Wanted { since, limit, deleted, digests: None };
        let mut out = BufWriter::with_capacity(16 << 10, out);
        let mut damaged = 0u64;
        let ended = list_volume(client, volume, wanted, &mut |arrived| {
            let Arrived::Object(object) = arrived else { return out.flush() };
            damaged += u64::from(object.state == "damaged");
            let line = match self.json {
                true => json(volume, &object),
                false => columns(volume, &object),
            };
            writeln!(out, "{line}")
        });
        let flushed = out.flush().map_err(NotListed::Output);
        let end = ended?;
        flushed?;
        let line = if self.json { json(volume, &end) } else { end_line(volume, &end) };
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(NotListed::Output)?;
        if damaged > 0 {
            note(format_args!(
                "volume {volume}: {damaged} damaged photos were listed; hayloft volume scrub {volume} \
                 finds all that is damaged"
            ));
        }
        Ok(damaged == 0)
    }
}

fn json(volume: VolumeId, line: &impl Serialize) -> String {
    let text = serde_json::to_string(&OfVolume { volume, line });
    text.expect("numbers and strings always serialize to JSON")
}

fn columns(volume: VolumeId, object: &ListedObject) -> String {
    let ListedObject { key, alt, state, size, content_type, modified, version, expires, .. } =
        object;
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let (size, version) = (number(*size), number(*version));
    let content_type = content_type.as_ref().map(|value| escaped(value.as_bytes()));
    let content_type = content_type.unwrap_or_else(|| "-".to_owned());
    let modified = modified.map_or_else(|| "-".to_owned(), rfc3339);
    let expires = expires.map_or_else(|| "-".to_owned(), rfc3339);
    format!(
        "{volume}\t{key}\t{alt}\t{state}\t{size}\t{content_type}\t{modified}\t{version}\t{expires}"
    )
}

fn end_line(volume: VolumeId, end: &ListEnd) -> String {
    let more = if end.end { "end" } else { "more follows" };
    format!("# volume {volume}: {more}, position {}", end.position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_columns_or_are_json() {
        let object = ListedObject {
            key: 7,
            alt: 2,
            state: "live".to_owned(),
            size: Some(10),
            content_type: Some("a\tb".to_owned()),
            modified: Some(1_700_000_000),
            expires: Some(1_700_000_060),
            version: Some(41),
            large: false,
            digest: None,
        };
        let volume = VolumeId(3);
        assert_eq!(
            columns(volume, &object),
            "3\t7\t2\tlive\t10\ta\\tb\t2023-11-14T22:13:20Z\t41\t2023-11-14T22:14:20Z"
        );
        assert!(json(volume, &object).starts_with(r#"{"volume":3,"key":7,"alt":2,"#));
        let damaged = ListedObject {
            state: "damaged".to_owned(),
            size: None,
            content_type: None,
            modified: None,
            expires: None,
            version: None,
            ..object
        };
        assert_eq!(columns(volume, &damaged), "3\t7\t2\tdamaged\t-\t-\t-\t-\t-");
        let end = ListEnd { position: "99".to_owned(), end: false };
        assert_eq!(end_line(volume, &end), "# volume 3: more follows, position 99");
        assert_eq!(json(volume, &end), r#"{"volume":3,"position":"99","end":false}"#);
        assert_eq!(HEADING.split('\t').count(), columns(volume, &damaged).split('\t').count());
    }
}
