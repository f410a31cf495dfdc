//! `hayloft get`: downloads a photo from a running daemon.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{fail, note, stdout};
use super::photo_url::photo_url;
use crate::commands::client::{Client, ClientError, ServerAddress};
use crate::commands::transfer::get::{GetError, Photo};

const GET_EXAMPLES: &str = "\
Examples:
  hayloft get -o photo.jpg http://127.0.0.1:8080/1/42/0/0123456789abcdef
      the photo as a file, with its time of modification
  hayloft get /1/42/0/0123456789abcdef | identify -
      to another command

Length and checksum are compared with those that the daemon announces. A file is written \
completely or not at all; standard output may be truncated if the exit code is not 0.";

/// Flags of `hayloft get`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = GET_EXAMPLES)]
pub struct GetArgs {
    /// The photo: a whole URL, or its path /VOLUME/KEY/ALT/COOKIE
    #[arg(value_name = "URL")]
    pub url: String,

    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Replace FILE if it exists
    #[arg(long, requires = "output")]
    pub force: bool,

    /// The daemon's data API, HOST:PORT or http://HOST:PORT; no unix sockets, no TLS. A whole URL has its own
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub server: ServerAddress,
}

impl GetArgs {
    /// Downloads the photo to the file or to standard output.
    pub(super) fn run(self) -> ExitCode {
        let (server, name) = match photo_url(&self.url, &self.server) {
            Ok(target) => target,
            Err(error) => return fail(&error),
        };
        let output = self.output.as_deref().filter(|path| path.as_os_str() != "-");
        // Fails before the download. `Photo::save` checks again, atomically.
        if let Some(path) = output.filter(|path| !self.force && path.symlink_metadata().is_ok()) {
            return fail(&GetError::Exists(path.to_owned()));
        }
        match get(&Client::new(server, "--server"), &name.to_string(), output, self.force) {
            Ok(()) => ExitCode::SUCCESS,
            Err(GetError::Client(error @ ClientError::Unreachable { .. })) => fail(&error),
            Err(error @ (GetError::Exists(_) | GetError::Write { .. })) => fail(&error),
            Err(error) => {
                note(error);
                ExitCode::FAILURE
            }
        }
    }
}

fn get(client: &Client, path: &str, output: Option<&Path>, force: bool) -> Result<(), GetError> {
    let photo = Photo::request(client, path)?;
    if let Some(output) = output {
        return photo.save(output, force);
    }
    if std::io::stdout().is_terminal() && !photo.is_text() {
        return Err(GetError::Write {
            path: "the terminal".into(),
            error: std::io::Error::other("it cannot show a photo"),
        });
    }
    let to = Path::new("standard output");
    let mut out = stdout().map_err(|error| GetError::Write { path: to.to_owned(), error })?;
    photo.copy(&mut out, to)
}
