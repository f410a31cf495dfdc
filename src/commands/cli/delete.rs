//! `hayloft delete`: deletes photos of a running daemon.

use std::process::ExitCode;

use clap::Args;

use super::output::{announce, fail, note};
use super::photo_url::photo_urls;
use crate::commands::client::{Client, ClientError, ServerAddress};
use crate::commands::transfer::delete;
use crate::commands::transfer::name::PhotoName;
use crate::commands::transfer::photo_group::{PhotoGroup, group};

const DELETE_EXAMPLES: &str = "\
Examples:
  hayloft delete http://127.0.0.1:8080/1/42/0/0123456789abcdef
      one photo
  hayloft delete /1/42/0/0123456789abcdef /1/42/1/0123456789abcdef
      all sizes of one
  hayloft delete - < urls.txt
      the URLs in a file, one a line; empty lines are ignored

Photos of the same volume are deleted together, up to 1,000 with one request: all of them or none, \
also if the power fails. For each photo a line is printed: deleted, not found or failed, and its \
URL. A deletion is durable when its line is printed. A photo whose cookie is another one is not \
found. If a URL is malformed, nothing is deleted.

Exit codes: 0 all are deleted; 1 a photo was not found or is not deleted, or a line could not be \
written to standard output: it is on standard error then, and no further photo is deleted; 2 the \
command line is wrong, or a daemon cannot be reached.";

/// Flags of `hayloft delete`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = DELETE_EXAMPLES)]
pub struct DeleteArgs {
    /// The photos: whole URLs, or their paths /VOLUME/KEY/ALT/COOKIE; - reads them from standard input, one
    /// a line
    #[arg(value_name = "URL", required = true)]
    pub urls: Vec<String>,

    /// The daemon's data API, HOST:PORT or http://HOST:PORT; no unix sockets, no TLS. A whole URL has its own
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub server: ServerAddress,
}

/// Photos of one daemon.
struct ServerPhotos {
    server: ServerAddress,
    photos: Vec<PhotoName>,
}

/// How the photos of a daemon were deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deletion {
    Complete,
    /// A photo was not found, or is not deleted.
    Incomplete,
    /// The daemon cannot be reached.
    Unreachable,
    /// A line could not be printed.
    Unprinted,
}

impl DeleteArgs {
    /// Deletes the photos, daemon by daemon and volume by volume. A request that fails does not stop the
    /// others, unless the daemon cannot be reached or a line cannot be printed.
    pub(super) fn run(self) -> ExitCode {
        let servers = match self.servers() {
            Ok(servers) => servers,
            Err(error) => return fail(&error),
        };
        let mut code = ExitCode::SUCCESS;
        let mut is_reachable = true;
        for photos in servers {
            match delete(photos) {
                Deletion::Complete => {}
                Deletion::Incomplete => code = ExitCode::FAILURE,
                Deletion::Unreachable => is_reachable = false,
                Deletion::Unprinted => return ExitCode::FAILURE,
            }
        }
        if is_reachable { code } else { ExitCode::from(2) }
    }

    /// Returns the photos of each daemon, in the order in which they are named.
    fn servers(&self) -> Result<Vec<ServerPhotos>, String> {
        let mut servers: Vec<ServerPhotos> = Vec::new();
        photo_urls(&self.urls, &self.server, "deleted", |server, photo| {
            match servers.iter_mut().find(|known| known.server == server) {
                Some(known) => known.photos.push(photo),
                None => servers.push(ServerPhotos { server, photos: vec![photo] }),
            }
        })?;
        Ok(servers)
    }
}

fn delete(ServerPhotos { server, photos }: ServerPhotos) -> Deletion {
    let client = Client::new(server, "--server");
    let mut result = Deletion::Complete;
    for group in group(&photos) {
        // The daemon would not answer the other requests either.
        let sent = match result {
            Deletion::Unreachable => None,
            _ => Some(delete::delete(&client, &group)),
        };
        match &sent {
            Some(Err(error @ ClientError::Unreachable { .. })) => {
                note(error);
                result = Deletion::Unreachable;
            }
            Some(Err(error)) => {
                note(error);
                result = Deletion::Incomplete;
            }
            Some(Ok(existed)) if existed.contains(&false) => result = Deletion::Incomplete,
            Some(Ok(_)) | None => {}
        }
        let existed = sent.and_then(Result::ok);
        if !report(&client, &group, existed.as_deref()) {
            return Deletion::Unprinted;
        }
    }
    result
}

/// Prints a line for each photo of a request; `existed` is `None` if the request failed. Returns whether all
/// could be printed.
fn report(client: &Client, group: &PhotoGroup, existed: Option<&[bool]>) -> bool {
    let lines = group.photos().iter().enumerate().map(|(n, photo)| {
        let outcome = match existed.map(|existed| existed[n]) {
            Some(true) => "deleted",
            Some(false) => "not found",
            None => "failed",
        };
        format!("{outcome} {}{photo}", client.address())
    });
    // All lines, also if one cannot be printed: the photos are deleted.
    let mut is_printed = true;
    for line in lines {
        is_printed &= announce(&line);
    }
    is_printed
}
