//! `hayloft volume compact` and `hayloft volume move`: a compaction is begun, cancelled, or waited for.

use std::process::ExitCode;
use std::time::Duration;

use super::admin::{ask, done, get};
use super::listed_volume::{EndedCompaction, ListedCompaction, ListedVolume};
use super::output::note;
use super::progress::PolledProgress;
use crate::base::size::{ByteSize, rounded};
use crate::base::types::VolumeId;
use crate::commands::client::{Client, ClientError};
use crate::http::head::Method;

/// Interval between polls of a volume that is being compacted.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How a volume is to be compacted.
pub(super) struct Wanted {
    /// Size of the new file.
    pub(super) size: Option<ByteSize>,
    /// Whether data that cannot be read may be left behind.
    pub(super) accept_losses: bool,
    /// Position of another data directory.
    pub(super) disk: Option<u32>,
}

impl Wanted {
    fn body(&self) -> String {
        let mut body = serde_json::json!({"accept_losses": self.accept_losses});
        if let Some(size) = self.size {
            body["size"] = size.to_string().into();
        }
        if let Some(disk) = self.disk {
            body["disk"] = disk.into();
        }
        body.to_string()
    }
}

/// Begins a compaction; waits for its end if `wait`.
pub(super) fn compact(
    client: &Client,
    id: VolumeId,
    wanted: Wanted,
    wait: bool,
) -> Result<ExitCode, ClientError> {
    let path = format!("/volumes/{id}");
    let before: ListedVolume = get(client, &path)?.json()?;
    let body = wanted.body();
    let reply = ask(client, Method::Post, &format!("{path}/compact"), body.as_bytes())?;
    let begun: ListedVolume = reply.json()?;
    if !wait {
        return Ok(done(&begin_line(&begun)));
    }
    end_of(client, &path, before.compactions, begun)
}

/// Waits until a compaction has ended that was begun when `before` others had, and reports it.
fn end_of(
    client: &Client,
    path: &str,
    before: u64,
    mut info: ListedVolume,
) -> Result<ExitCode, ClientError> {
    let mut progress = PolledProgress::new();
    let mut was_absent = false;
    while info.compaction.is_some() || info.compactions <= before {
        let is_absent = info.compaction.is_none();
        if is_absent && was_absent {
            progress.end();
            note(format_args!(
                "the compaction of volume {} was interrupted: the daemon was restarted; see hayloft volume \
                 show {}",
                info.id, info.id
            ));
            return Ok(ExitCode::FAILURE);
        }
        was_absent = is_absent;
        if let Some(compaction) = &info.compaction {
            progress
                .show(compaction.read, compaction.to_read, || progress_line(info.id, compaction));
        }
        std::thread::sleep(POLL_INTERVAL);
        info = get(client, path)?.json()?;
    }
    progress.end();
    Ok(match end_line(info.id, info.last_compaction.as_ref()) {
        Ok(line) => done(&line),
        Err(reason) => {
            note(reason);
            ExitCode::FAILURE
        }
    })
}

/// Formats the compactions of volumes, a line each: those that wait or run, and else how the last one ended.
pub(super) fn report(volumes: &[ListedVolume]) -> String {
    let line = |info: &ListedVolume| match (&info.compaction, &info.last_compaction) {
        (Some(compaction), _) if compaction.phase == "waiting" => Some(begin_line(info)),
        (Some(compaction), _) => {
            let gain = rounded(compaction.expected_gain);
            Some(format!("{}, {gain} to come back", progress_line(info.id, compaction)))
        }
        (None, Some(end)) => Some(end_line(info.id, Some(end)).unwrap_or_else(|reason| reason)),
        (None, None) => None,
    };
    volumes.iter().filter_map(line).map(|line| line + "\n").collect()
}

/// Formats the begin of a compaction.
fn begin_line(info: &ListedVolume) -> String {
    let id = info.id;
    let Some(compaction) = &info.compaction else {
        return format!("volume {id}: compacted");
    };
    let gain = rounded(compaction.expected_gain);
    match (&compaction.phase[..], compaction.behind) {
        ("waiting", Some(other)) => {
            format!(
                "volume {id}: waits for the end of the compaction of volume {other}; {gain} to come back"
            )
        }
        ("waiting", None) => {
            format!("volume {id}: waits until background work is resumed; {gain} to come back")
        }
        _ => format!("volume {id}: being compacted, {gain} to come back"),
    }
}

fn progress_line(id: VolumeId, compaction: &ListedCompaction) -> String {
    let progress = compaction.progress();
    match compaction.rate {
        0 => format!("volume {id}: {progress}"),
        rate => format!("volume {id}: {progress}, {}/s", rounded(rate)),
    }
}

/// Formats the end of a compaction.
///
/// # Errors
/// The reason, if it was not completed.
fn end_line(id: VolumeId, end: Option<&EndedCompaction>) -> Result<String, String> {
    match end {
        Some(end) if end.outcome == "done" => Ok(format!(
            "volume {id}: compacted, {} freed in {:.1} s",
            rounded(end.gained),
            end.seconds
        )),
        Some(end) => {
            Err(format!("the compaction of volume {id} {}: {}", verb(&end.outcome), end.reason))
        }
        None => Err(format!("how the compaction of volume {id} ended is not known")),
    }
}

fn verb(outcome: &str) -> &str {
    if outcome == "cancelled" { "was cancelled" } else { outcome }
}

/// Cancels the compaction of a volume.
pub(super) fn cancel(client: &Client, id: VolumeId) -> Result<ExitCode, ClientError> {
    let path = format!("/volumes/{id}/cancel-compaction");
    let info: ListedVolume = ask(client, Method::Post, &path, &[])?.json()?;
    let was_done = info.last_compaction.is_some_and(|end| end.outcome == "done");
    Ok(done(&match was_done {
        true => format!("volume {id}: compacted; it was too late to cancel that"),
        false => format!("volume {id}: the compaction is cancelled"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: VolumeId = VolumeId(2);

    #[test]
    fn request_has_what_was_asked_for() {
        let body = |size, accept_losses, disk| Wanted { size, accept_losses, disk }.body();
        assert_eq!(body(None, false, None), r#"{"accept_losses":false}"#);
        let all = body(Some(ByteSize::gib(3)), true, Some(1));
        assert_eq!(all, r#"{"accept_losses":true,"disk":1,"size":"3GiB"}"#);
    }

    #[test]
    fn lines_say_what_happens_and_what_comes_back() {
        let line = |phase, behind| {
            let example = ListedCompaction::example(phase);
            let compaction = ListedCompaction { behind, expected_gain: 3 << 30, ..example };
            let example = ListedVolume::example(2, "writable");
            begin_line(&ListedVolume { compaction: Some(compaction), ..example })
        };
        assert_eq!(line("copying", None), "volume 2: being compacted, 3.0 GiB to come back");
        let waits =
            "volume 2: waits for the end of the compaction of volume 1; 3.0 GiB to come back";
        assert_eq!(line("waiting", Some(VolumeId(1))), waits);
        let waits = "volume 2: waits until background work is resumed; 3.0 GiB to come back";
        assert_eq!(line("waiting", None), waits);
        assert_eq!(begin_line(&ListedVolume::example(2, "writable")), "volume 2: compacted");
        let example = ListedCompaction::example("copying");
        let compaction = ListedCompaction { read: 7, rate: 5 << 20, ..example };
        assert_eq!(progress_line(ID, &compaction), "volume 2: copying 7%, 5.0 MiB/s");
    }

    #[test]
    fn report_has_a_line_for_each_compaction() {
        let example = |id| ListedVolume::example(id, "writable");
        let compaction = |phase| ListedCompaction {
            read: 50,
            rate: 1 << 20,
            ..ListedCompaction::example(phase)
        };
        let end = EndedCompaction {
            outcome: "failed".to_owned(),
            reason: "No room.".to_owned(),
            gained: 0,
            seconds: 0.0,
        };
        let volumes = [
            example(1),
            ListedVolume { compaction: Some(compaction("copying")), ..example(2) },
            ListedVolume { last_compaction: Some(end), ..example(3) },
        ];
        let expected = "volume 2: copying 50%, 1.0 MiB/s, 0 B to come back\n\
                        the compaction of volume 3 failed: No room.\n";
        assert_eq!(report(&volumes), expected);
    }

    #[test]
    fn end_is_a_success_or_a_reason() {
        let end = |outcome: &str, reason: &str| EndedCompaction {
            outcome: outcome.to_owned(),
            reason: reason.to_owned(),
            gained: 5 << 20,
            seconds: 12.34,
        };
        let done = end_line(ID, Some(&end("done", "")));
        assert_eq!(done, Ok("volume 2: compacted, 5.0 MiB freed in 12.3 s".to_owned()));
        let failed = end_line(ID, Some(&end("failed", "No room.")));
        assert_eq!(failed, Err("the compaction of volume 2 failed: No room.".to_owned()));
        let cancelled = end_line(ID, Some(&end("cancelled", "So.")));
        assert_eq!(cancelled, Err("the compaction of volume 2 was cancelled: So.".to_owned()));
        assert!(end_line(ID, None).is_err());
    }
}
