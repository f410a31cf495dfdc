//! `hayloft undelete`: takes deleted photos of a running daemon back.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::admin::answered;
use super::export_online::token_of;
use super::output::{announce, fail, note};
use super::photo_url::photo_urls;
use super::progress::PolledProgress;
use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, ClientError, ServerAddress};
use crate::commands::transfer::photo_group::{PhotoGroup, group};
use crate::http::head::Method;

/// First interval between polls of an order, and the longest; each is twice as long as the one before.
const POLL_INTERVALS: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(500)];
/// Units of the progress display.
const PROGRESS_UNITS: f64 = 1000.0;

const UNDELETE_EXAMPLES: &str = "\
Examples:
  hayloft undelete /1/42/0/0123456789abcdef
      one photo
  hayloft undelete http://photos.example/1/42/0/0123456789abcdef
      the same: of a whole URL, only the path counts
  hayloft undelete - < urls.txt
      the URLs in a file, one a line; empty lines are ignored

Deleted photos can be taken back within compaction.undelete_within, which is 0 and has to be set \
for that, as long as no compaction has dropped their bytes. The daemon looks for them in the log \
of their volume, from its end, for up to 1,000 photos at once, and goes on serving meanwhile. A \
photo comes back with its old URL, times and attributes. For each a line is printed, volume by \
volume: restored, or why not, and its URL. A photo is durable when its line is printed. An \
interruption of this command does not interrupt the daemon: the same command says later that the \
name is in use. If a URL is malformed, nothing is taken back.

Exit codes: 0 all are restored; 1 a photo is not, or a line could not be written to standard \
output; 2 the command line is wrong, or the daemon cannot be reached.";

/// Flags of `hayloft undelete`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = UNDELETE_EXAMPLES)]
pub struct UndeleteArgs {
    /// The photos: whole URLs, or their paths /VOLUME/KEY/ALT/COOKIE; - reads them from standard input, one
    /// a line
    #[arg(value_name = "URL", required = true)]
    pub urls: Vec<String>,

    /// Admin API of the running daemon, HOST:PORT
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin: ServerAddress,

    /// File with the admin token of the daemon, for one on another machine
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// An order to take photos back, as the admin API describes it.
#[derive(Clone, Debug, Deserialize)]
struct Undelete {
    operation: String,
    state: String,
    progress: f64,
    photos: Vec<UndeletedPhoto>,
}

/// A photo that is to be taken back.
#[derive(Clone, Debug, Deserialize)]
struct UndeletedPhoto {
    key: u64,
    alt: u32,
    /// The result; `None` while it is being done.
    status: Option<u16>,
    message: Option<String>,
}

/// The daemon whose photos are taken back.
struct Daemon {
    client: Client,
    /// Header field with the token.
    bearer: Option<String>,
}

impl UndeleteArgs {
    /// Takes the photos back. One that cannot be taken back does not stop the others, unless the daemon
    /// cannot be reached or a line cannot be printed.
    pub(super) fn run(self) -> ExitCode {
        let token = match self.token_file.as_deref().map(token_of).transpose() {
            Ok(token) => token,
            Err(error) => return fail(&error),
        };
        let mut photos = Vec::new();
        let read = photo_urls(&self.urls, &self.admin, "taken back", |_, photo| photos.push(photo));
        if let Err(error) = read {
            return fail(&error);
        }
        let client = Client::new(self.admin, "--admin");
        let daemon = Daemon { client, bearer: token.map(|token| format!("Bearer {token}")) };
        let mut code = ExitCode::SUCCESS;
        for group in group(&photos) {
            let undeleted = match daemon.undelete(&group) {
                Ok(undelete) => undelete.photos,
                Err(ClientError::Refused { reason, .. }) => {
                    note(reason);
                    Vec::new()
                }
                Err(error) => return fail(&error),
            };
            match report(&group, &undeleted) {
                None => return ExitCode::FAILURE,
                Some(true) => {}
                Some(false) => code = ExitCode::FAILURE,
            }
        }
        code
    }
}

/// Prints a line for each photo of an order; `undeleted` is empty if it was refused. Returns whether all are
/// restored; `None` if a line cannot be printed.
fn report(group: &PhotoGroup, undeleted: &[UndeletedPhoto]) -> Option<bool> {
    // All lines, also if one cannot be printed: the photos are back.
    let (mut are_restored, mut is_printed) = (true, true);
    for (n, photo) in group.photos().iter().enumerate() {
        let outcome = match undeleted.get(n) {
            None => FAILED,
            Some(UndeletedPhoto { status, message, .. }) => {
                let outcome = outcome(*status);
                if outcome != RESTORED {
                    note(message.as_deref().unwrap_or(UNKNOWN));
                }
                outcome
            }
        };
        are_restored &= outcome == RESTORED;
        is_printed &= announce(&format!("{outcome} {photo}"));
    }
    is_printed.then_some(are_restored)
}

const RESTORED: &str = "restored";
const FAILED: &str = "failed";
/// Message about a photo whose result is not known.
const UNKNOWN: &str = "the daemon was restarted, or takes other photos back, and does not say how this \
                       ended; run the command again";

/// Returns the first words of the line about a photo.
fn outcome(status: Option<u16>) -> &'static str {
    match status {
        Some(201) => RESTORED,
        Some(404) => "not found",
        Some(409) => "in use",
        Some(410) => "gone",
        _ => FAILED,
    }
}

impl Daemon {
    fn ask(&self, method: Method, path: &str, body: Body<'_>) -> Result<Undelete, ClientError> {
        let header = self.bearer.as_deref().map(|bearer| ("Authorization", bearer));
        answered(self.client.request(method, path, header.as_slice(), body)?)?.json()
    }

    /// Has photos taken back, and waits for the end. Returns the state with which it ended.
    fn undelete(&self, group: &PhotoGroup) -> Result<Undelete, ClientError> {
        let volume = group.volume();
        let path = format!("/volumes/{volume}/undelete");
        let begun = self.ask(Method::Post, &path, Body::Bytes(group.body().as_bytes()))?;
        if !group.are_ids(begun.photos.iter().map(|photo| (photo.key, photo.alt))) {
            return Err(ClientError::Garbled {
                request: format!("POST {path}"),
                what: "it is about other photos than the request".to_owned(),
            });
        }
        let [mut interval, longest] = POLL_INTERVALS;
        let (mut now, mut progress) = (begun.clone(), PolledProgress::new());
        while now.state != "done" && now.operation == begun.operation {
            let (done, total) = (now.progress * PROGRESS_UNITS, PROGRESS_UNITS);
            progress.show(whole(done), whole(total), || progress_line(&now, volume));
            std::thread::sleep(interval);
            interval = (2 * interval).min(longest);
            now = match self.ask(Method::Get, &path, Body::None) {
                // After a restart the daemon knows of none.
                Err(ClientError::Refused { status: 404, .. }) => {
                    Undelete { operation: String::new(), ..now }
                }
                asked => asked?,
            };
        }
        progress.end();
        if now.operation == begun.operation { Ok(now) } else { Ok(begun) }
    }
}

fn progress_line(undelete: &Undelete, volume: VolumeId) -> String {
    let photos = undelete.photos.len();
    let ended = undelete.photos.iter().filter(|photo| photo.status.is_some()).count();
    let percent = whole(undelete.progress * 100.0);
    format!("volume {volume}: {percent}% of the log searched, {ended} of {photos} photos done")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_has_its_word() {
        for (status, word) in [
            (Some(201), "restored"),
            (Some(404), "not found"),
            (Some(409), "in use"),
            (Some(410), "gone"),
            (Some(500), "failed"),
            (Some(507), "failed"),
            (None, "failed"),
        ] {
            assert_eq!(outcome(status), word);
        }
    }

    #[test]
    fn progress_is_the_part_of_the_log_and_the_number_of_photos() {
        let photo = |status| UndeletedPhoto { key: 1, alt: 0, status, message: None };
        let undelete = Undelete {
            operation: String::new(),
            state: "running".to_owned(),
            progress: 0.256,
            photos: vec![photo(Some(201)), photo(None), photo(Some(404))],
        };
        assert_eq!(
            progress_line(&undelete, VolumeId(7)),
            "volume 7: 25% of the log searched, 2 of 3 photos done"
        );
    }
}
