//! `hayloft volume diff`: compares two copies of a volume.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::export_online::token_of;
use super::output::{fail, note, stdout, unwritten};
use super::volume_id::volume_id;
use crate::base::calendar::rfc3339;
use crate::base::types::VolumeId;
use crate::commands::client::{Client, ServerAddress};
use crate::commands::offline::escaped;
use crate::commands::replica::{
    ComparedSide, Comparison, DifferenceKind, FoundDifference, NotCompared, ObjectDetails,
    VolumeCopy, compare,
};

const DIFF_EXAMPLES: &str = "\
Examples:
  hayloft volume diff --volume 7 --with http://store2:8081
      volume 7 here and on another machine
  hayloft volume diff --volume 7 --with 127.0.0.1:8081 --with-volume 8
      two volumes of one store
  hayloft volume diff --volume 7 --with store2:8081 --with-token-file token \\
    --json

Both daemons go on serving. Each makes digests of all its photos, which takes as long as to list \
them; no photo is sent. If the digests differ, the photos that may differ are listed, and each \
that does is a line: - only here, + only there, ! in both, but with another cookie, body, time, \
content type or time of expiry. Versions may differ: each store has its own. The lines are in no \
particular order. The lists wait in temporary files (TMPDIR).
While a volume is written, what was stored or deleted in the last seconds may be listed as a \
difference: run the command again, or make the volumes read-only. Bodies are not read: hayloft \
volume scrub finds what is damaged in them.
The other daemon sends digests to clients on its own machine, and to others with its admin token \
(admin_token_file).
Exit codes: 0 no difference; 1 there are differences; 2 they could not be compared.";

/// Flags of `hayloft volume diff`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = DIFF_EXAMPLES)]
pub struct DiffArgs {
    /// Number of the volume
    #[arg(long, value_name = "N", value_parser = volume_id())]
    pub volume: VolumeId,

    /// Admin API of the daemon with the other copy, HOST:PORT
    #[arg(long, value_name = "ADDR")]
    pub with: ServerAddress,

    /// Number of the volume there [default: the same]
    #[arg(long, value_name = "N", value_parser = volume_id())]
    pub with_volume: Option<VolumeId>,

    /// File with the admin token of the daemon, if it is on another machine
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// File with the admin token of the daemon with the other copy
    #[arg(long, value_name = "FILE")]
    pub with_token_file: Option<PathBuf>,

    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

impl DiffArgs {
    pub(super) fn run(self, admin: ServerAddress) -> ExitCode {
        let with_volume = self.with_volume.unwrap_or(self.volume);
        let here = copy_of(admin, "--admin", self.token_file.as_deref(), self.volume);
        let there = copy_of(self.with, "--with", self.with_token_file.as_deref(), with_volume);
        let (here, there) = match (here, there) {
            (Ok(here), Ok(there)) => (here, there),
            (Err(error), _) | (_, Err(error)) => return fail(&error),
        };
        match print_differences(&here, &there, self.json) {
            Ok(is_equal) if is_equal => ExitCode::SUCCESS,
            // A reader that closes the pipe early (`| head`) has seen a difference.
            Err(NotCompared::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                ExitCode::FAILURE
            }
            Ok(_) => ExitCode::FAILURE,
            Err(NotCompared::Output(error)) => unwritten(&error),
            Err(error) => fail(&error),
        }
    }
}

fn copy_of(
    address: ServerAddress,
    flag: &'static str,
    token_file: Option<&Path>,
    volume: VolumeId,
) -> Result<VolumeCopy, String> {
    let token = token_file.map(token_of).transpose()?;
    Ok(VolumeCopy { client: Client::new(address, flag), token, volume })
}

/// Prints the differences, and a summary. Returns whether there are none.
fn print_differences(
    here: &VolumeCopy,
    there: &VolumeCopy,
    json: bool,
) -> Result<bool, NotCompared> {
    let mut out = BufWriter::new(stdout().map_err(NotCompared::Output)?);
    let comparison = compare([here, there], &mut |difference| {
        let line = match json {
            true => difference_json(&difference).to_string(),
            false => difference_line(&difference),
        };
        writeln!(out, "{line}")
    });
    let flushed = out.flush().map_err(NotCompared::Output);
    let comparison = comparison?;
    flushed?;
    let line = match json {
        true => summary_json(&comparison, here, there).to_string(),
        false => summary_line(&comparison, here, there),
    };
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(NotCompared::Output)?;
    for (copy, side) in [here, there].into_iter().zip(&comparison.sides) {
        if side.damaged > 0 {
            note(format_args!(
                "volume {} of {}: {} damaged photos; hayloft volume scrub finds all that is damaged",
                copy.volume,
                copy.client.address(),
                side.damaged
            ));
        }
    }
    Ok(comparison.is_equal())
}

fn details_text(details: &ObjectDetails) -> String {
    let ObjectDetails { damaged, size, content_type, modified, expires } = details;
    let content_type = content_type.as_ref().map(|value| escaped(value.as_bytes()));
    let parts = [
        damaged.then(|| "damaged".to_owned()),
        size.map(|size| format!("{size} bytes")),
        content_type,
        modified.map(|time| format!("modified {}", rfc3339(time))),
        expires.map(|time| format!("expires {}", rfc3339(time))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn difference_line(difference: &FoundDifference) -> String {
    let FoundDifference { key, alt, kind, sides } = difference;
    let [here, there] = sides.each_ref().map(|side| side.as_ref().map(details_text));
    let [here, there] = [here, there].map(Option::unwrap_or_default);
    match kind {
        DifferenceKind::OnlyFirst => format!("- {key}/{alt}: {here}"),
        DifferenceKind::OnlySecond => format!("+ {key}/{alt}: {there}"),
        DifferenceKind::Differs if here == there => format!(
            "! {key}/{alt}: {here} in both; the cookie, the body or the fraction of a second differs"
        ),
        DifferenceKind::Differs => format!("! {key}/{alt}: here {here}; there {there}"),
    }
}

fn difference_json(difference: &FoundDifference) -> Value {
    let FoundDifference { key, alt, kind, sides: [here, there] } = difference;
    let kind = match kind {
        DifferenceKind::OnlyFirst => "only_here",
        DifferenceKind::OnlySecond => "only_there",
        DifferenceKind::Differs => "differs",
    };
    json!({ "difference": kind, "key": key, "alt": alt, "here": here, "there": there })
}

fn summary_line(comparison: &Comparison, here: &VolumeCopy, there: &VolumeCopy) -> String {
    let Comparison { sides: [first, second], only_first, only_second, differ } = comparison;
    let there = format!("volume {} of {}", there.volume, there.client.address());
    let positions = format!("positions {} and {}", first.position, second.position);
    if comparison.is_equal() {
        let objects = first.objects;
        return format!("volume {} equals {there}: {objects} photos, {positions}", here.volume);
    }
    format!(
        "volume {} differs from {there}: {only_first} only here, {only_second} only there, {differ} differ; \
         {} photos here, {} there, {positions}",
        here.volume, first.objects, second.objects
    )
}

fn summary_json(comparison: &Comparison, here: &VolumeCopy, there: &VolumeCopy) -> Value {
    let side = |copy: &VolumeCopy, side: &ComparedSide| {
        json!({
            "server": copy.client.address().to_string(),
            "volume": copy.volume,
            "position": side.position,
            "objects": side.objects,
            "damaged": side.damaged,
        })
    };
    json!({
        "equal": comparison.is_equal(),
        "only_here": comparison.only_first,
        "only_there": comparison.only_second,
        "differ": comparison.differ,
        "here": side(here, &comparison.sides[0]),
        "there": side(there, &comparison.sides[1]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details() -> ObjectDetails {
        ObjectDetails {
            damaged: false,
            size: Some(10),
            content_type: Some("a\tb".to_owned()),
            modified: Some(1_700_000_000),
            expires: Some(1_700_000_060),
        }
    }

    fn difference(sides: [Option<ObjectDetails>; 2]) -> FoundDifference {
        let kind = match &sides {
            [Some(_), None] => DifferenceKind::OnlyFirst,
            [None, _] => DifferenceKind::OnlySecond,
            _ => DifferenceKind::Differs,
        };
        FoundDifference { key: 7, alt: 2, kind, sides }
    }

    #[test]
    fn difference_names_the_photo_and_what_both_copies_say_of_it() {
        let shown = "10 bytes, a\\tb, modified 2023-11-14T22:13:20Z, expires 2023-11-14T22:14:20Z";
        let line = |sides| difference_line(&difference(sides));
        assert_eq!(line([Some(details()), None]), format!("- 7/2: {shown}"));
        assert_eq!(line([None, Some(details())]), format!("+ 7/2: {shown}"));
        let other = ObjectDetails { expires: None, content_type: None, ..details() };
        assert_eq!(
            line([Some(details()), Some(other)]),
            format!("! 7/2: here {shown}; there 10 bytes, modified 2023-11-14T22:13:20Z")
        );
        assert_eq!(
            line([Some(details()), Some(details())]),
            format!(
                "! 7/2: {shown} in both; the cookie, the body or the fraction of a second differs"
            )
        );
        let unknown = ObjectDetails {
            damaged: true,
            size: None,
            modified: None,
            expires: None,
            content_type: None,
        };
        assert_eq!(line([None, Some(unknown)]), "+ 7/2: damaged");
        let json = difference_json(&difference([None, Some(details())]));
        assert_eq!((&json["difference"], &json["here"]), (&"only_there".into(), &Value::Null));
        assert_eq!((&json["key"], &json["there"]["size"]), (&7.into(), &10.into()));
    }

    #[test]
    fn summary_counts_the_differences() {
        let copy = |address: &str, volume| VolumeCopy {
            client: Client::new(address.parse().unwrap(), "--with"),
            token: None,
            volume: VolumeId(volume),
        };
        let (here, there) = (copy("127.0.0.1:1", 7), copy("127.0.0.2:2", 8));
        let side = |position: &str, objects| ComparedSide {
            position: position.to_owned(),
            objects,
            damaged: 0,
        };
        let mut comparison = Comparison {
            sides: [side("5", 3), side("6", 3)],
            only_first: 0,
            only_second: 0,
            differ: 0,
        };
        assert_eq!(
            summary_line(&comparison, &here, &there),
            "volume 7 equals volume 8 of http://127.0.0.2:2: 3 photos, positions 5 and 6"
        );
        assert_eq!(summary_json(&comparison, &here, &there)["equal"], true);
        comparison = Comparison { only_first: 1, only_second: 1, differ: 2, ..comparison };
        assert_eq!(
            summary_line(&comparison, &here, &there),
            "volume 7 differs from volume 8 of http://127.0.0.2:2: 1 only here, 1 only there, 2 differ; \
             3 photos here, 3 there, positions 5 and 6"
        );
        let json = summary_json(&comparison, &here, &there);
        assert_eq!((&json["equal"], &json["differ"]), (&false.into(), &2.into()));
        assert_eq!((&json["there"]["volume"], &json["here"]["position"]), (&8.into(), &"5".into()));
    }
}
