//! `hayloft volume scrub` and `hayloft volume damage`: everything in a volume is verified, and what was
//! found.

use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::admin::{ask, done, get};
use super::output::{deliver, deliver_json, note};
use super::progress::PolledProgress;
use crate::base::calendar;
use crate::base::size::rounded;
use crate::base::types::VolumeId;
use crate::commands::client::{Client, ClientError};
use crate::http::head::Method;

/// Interval between polls of a volume that is being scrubbed.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The scrubs of a volume as the admin API describes them. Sizes are in bytes.
#[derive(Clone, Debug, Deserialize)]
struct ScrubbedVolume {
    id: VolumeId,
    state: String,
    scrub: Option<RunningScrub>,
    /// Number of scrubs that were completed since the daemon started.
    scrubs: u64,
    last_scrub: Option<LastScrub>,
    found_damage: u64,
}

/// A scrub that waits or runs.
#[derive(Clone, Debug, Deserialize)]
struct RunningScrub {
    phase: String,
    done: u64,
    to_do: u64,
}

/// A scrub that was completed.
#[derive(Clone, Debug, Deserialize)]
struct LastScrub {
    read: u64,
    needles: u64,
    parts: u64,
    healed: u64,
    index_compared: bool,
}

/// A damaged place.
#[derive(Clone, Debug, Deserialize)]
struct DamagedPlace {
    offset: u64,
    len: u64,
    key: Option<u64>,
    alt: Option<u32>,
    reason: String,
    unreadable: bool,
    found: u64,
}

/// Asks for a scrub; waits for its end if `wait`.
pub(super) fn scrub(client: &Client, id: VolumeId, wait: bool) -> Result<ExitCode, ClientError> {
    let path = format!("/volumes/{id}");
    let before: ScrubbedVolume = get(client, &path)?.json()?;
    let reply = ask(client, Method::Post, &format!("{path}/scrub"), &[])?;
    let asked: ScrubbedVolume = reply.json()?;
    if !wait {
        return Ok(done(&format!("volume {id}: will be scrubbed")));
    }
    end_of(client, &path, before, asked)
}

/// Waits for the end of the scrub that was asked for, and reports it. One that was under way `before` does
/// not count.
fn end_of(
    client: &Client,
    path: &str,
    before: ScrubbedVolume,
    mut info: ScrubbedVolume,
) -> Result<ExitCode, ClientError> {
    let was_running = before.scrub.is_some_and(|scrub| scrub.phase == "running");
    let wanted = before.scrubs + 1 + u64::from(was_running);
    let (mut progress, mut was_absent) = (PolledProgress::new(), false);
    while info.scrubs < wanted {
        let is_absent = info.scrub.is_none();
        if is_absent && was_absent {
            progress.end();
            note(format_args!(
                "the scrub of volume {} was interrupted: the daemon was restarted",
                info.id
            ));
            return Ok(ExitCode::FAILURE);
        }
        was_absent = is_absent;
        if !["writable", "read_only", "poisoned", "lost"].contains(&&info.state[..]) {
            progress.end();
            note(format_args!("volume {} is {}, and not scrubbed", info.id, info.state));
            return Ok(ExitCode::FAILURE);
        }
        if let Some(scrub) = &info.scrub {
            progress.show(scrub.done, scrub.to_do, || progress_line(info.id, scrub));
        }
        std::thread::sleep(POLL_INTERVAL);
        info = get(client, path)?.json()?;
    }
    progress.end();
    let code = done(&end_line(&info));
    Ok(if info.found_damage == 0 { code } else { ExitCode::FAILURE })
}

fn progress_line(id: VolumeId, scrub: &RunningScrub) -> String {
    let percent = scrub.done.saturating_mul(100).checked_div(scrub.to_do).unwrap_or(0);
    match &scrub.phase[..] {
        "running" => format!("volume {id}: {percent}% verified"),
        _ => format!("volume {id}: waits"),
    }
}

fn end_line(info: &ScrubbedVolume) -> String {
    let id = info.id;
    let Some(last) = &info.last_scrub else { return format!("volume {id}: scrubbed") };
    let damage = match info.found_damage {
        0 => "no damage".to_owned(),
        1 => format!("1 damaged place (hayloft volume damage {id})"),
        places => format!("{places} damaged places (hayloft volume damage {id})"),
    };
    let healed = match last.healed {
        0 => String::new(),
        errors => format!(", {errors} errors that went away"),
    };
    let index = if last.index_compared { "" } else { "; the index was not compared with the log" };
    format!(
        "volume {id}: {} needles and {} parts verified, {} read: {damage}{healed}{index}",
        last.needles,
        last.parts,
        rounded(last.read)
    )
}

/// Lists the damage of a volume.
pub(super) fn damage(client: &Client, id: VolumeId, json: bool) -> Result<ExitCode, ClientError> {
    let reply = get(client, &format!("/volumes/{id}/damage"))?;
    if json {
        return Ok(deliver_json(&reply.json()?));
    }
    let places: Vec<DamagedPlace> = reply.json()?;
    if places.is_empty() {
        return Ok(done(&format!("volume {id}: no damage is known")));
    }
    let lines: String = places.iter().map(|place| damage_line(place) + "\n").collect();
    Ok(deliver(lines.as_bytes()))
}

fn damage_line(place: &DamagedPlace) -> String {
    let photo = match (place.key, place.alt) {
        (Some(key), Some(alt)) => format!("photo {key}/{alt}"),
        _ => "an unknown photo".to_owned(),
    };
    let how = if place.unreadable { " (the device cannot read it)" } else { "" };
    let DamagedPlace { offset, len, reason, .. } = place;
    let found = calendar::rfc3339(place.found);
    format!("byte {offset}, {len} bytes, {photo}: {reason}{how}, found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(found_damage: u64) -> ScrubbedVolume {
        let last =
            LastScrub { read: 3 << 20, needles: 12, parts: 2, healed: 0, index_compared: true };
        ScrubbedVolume {
            id: VolumeId(3),
            state: "writable".to_owned(),
            scrub: None,
            scrubs: 1,
            last_scrub: Some(last),
            found_damage,
        }
    }

    #[test]
    fn end_says_what_was_verified_and_found() {
        let start = "volume 3: 12 needles and 2 parts verified, 3.0 MiB read: ";
        assert_eq!(end_line(&scrubbed(0)), format!("{start}no damage"));
        let one = format!("{start}1 damaged place (hayloft volume damage 3)");
        assert_eq!(end_line(&scrubbed(1)), one);
        let mut info = scrubbed(2);
        let last = info.last_scrub.as_mut().unwrap();
        (last.healed, last.index_compared) = (4, false);
        let all = format!(
            "{start}2 damaged places (hayloft volume damage 3), 4 errors that went away; the index was not \
             compared with the log"
        );
        assert_eq!(end_line(&info), all);
    }

    #[test]
    fn progress_is_the_verified_part() {
        let line = |phase: &str, done, to_do| {
            progress_line(VolumeId(3), &RunningScrub { phase: phase.to_owned(), done, to_do })
        };
        assert_eq!(line("running", 50, 200), "volume 3: 25% verified");
        assert_eq!(line("running", 0, 0), "volume 3: 0% verified");
        assert_eq!(line("waiting", 0, 0), "volume 3: waits");
    }

    #[test]
    fn damaged_place_names_the_photo_and_no_cookie() {
        let place = DamagedPlace {
            offset: 65_536,
            len: 1024,
            key: Some(7),
            alt: Some(1),
            reason: "its header is damaged".to_owned(),
            unreadable: false,
            found: 1_700_000_000,
        };
        assert_eq!(
            damage_line(&place),
            "byte 65536, 1024 bytes, photo 7/1: its header is damaged, found 2023-11-14T22:13:20Z"
        );
        let unknown = DamagedPlace { key: None, alt: None, unreadable: true, ..place };
        assert_eq!(
            damage_line(&unknown),
            "byte 65536, 1024 bytes, an unknown photo: its header is damaged (the device cannot read it), \
             found 2023-11-14T22:13:20Z"
        );
    }
}
