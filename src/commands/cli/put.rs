//! `hayloft put`: stores files in a running daemon.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{announce, fail, note};
use super::volume_id::volume_id;
use crate::base::sys;
use crate::base::types::VolumeId;
use crate::commands::client::{Client, ClientError, ServerAddress};
use crate::commands::transfer::file::{Input, SourceFile, content_type, sniffed_type};
use crate::commands::transfer::put::{PutError, put, spool};
use crate::http::modified;
use crate::http::reply::valid_content_type;
use crate::node::config::TimeSpan;

const PUT_EXAMPLES: &str = "\
Examples:
  hayloft put photo.jpg
      prints the photo's URL, at which it can be read from now on
  hayloft put --volume 2 *.png
      a URL for each, in this order
  convert photo.jpg -resize 25% webp:- | hayloft put -
      the output of a command

The media type comes from the file's extension, else from the first bytes. The time of \
modification is kept. Each photo is durable when its URL is printed. Run again, it stores the \
photos again, under other names; to store a directory exactly once, even if interrupted, use \
hayloft import.

Exit codes: 0 all are stored; 1 a file is not stored, or a URL could not be written to standard \
output: it is on standard error then, and no further file is stored; 2 the daemon cannot be reached.";

/// Flags of `hayloft put`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = PUT_EXAMPLES)]
pub struct PutArgs {
    /// Files to store; - is standard input (at most 64 MiB)
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Volume to store them in [default: one that takes writes and has room]
    #[arg(long, value_name = "N", value_parser = volume_id())]
    pub volume: Option<VolumeId>,

    /// Media type of all of them [default: by the extension, else by the first bytes of images, video and
    /// audio, else application/octet-stream]
    #[arg(long, value_name = "TYPE", value_parser = parse_content_type)]
    pub content_type: Option<String>,

    /// When all of them expire: after a span of time, such as 30d or 12h, or at a time in seconds since 1970
    /// [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
    pub expires: Option<u64>,

    /// The daemon's data API, HOST:PORT or http://HOST:PORT; no unix sockets, no TLS
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub server: ServerAddress,
}

fn parse_content_type(text: &str) -> Result<String, String> {
    match valid_content_type(text.as_bytes()) && text.trim() == text {
        true => Ok(text.to_owned()),
        false => Err("write 1 to 255 visible characters, such as image/jpeg".to_owned()),
    }
}

/// Parses a span of time from now on, or a time, to nanoseconds since 1970.
fn parse_expiry(text: &str) -> Result<u64, String> {
    let at = match text.parse::<TimeSpan>() {
        Ok(span) => Some(sys::wall_ns().saturating_add(span.nanos())),
        Err(_) => modified::parse(text.as_bytes()),
    };
    at.ok_or_else(|| {
        "write a span of time, such as 30d, or a time in seconds since 1970".to_owned()
    })
}

/// Returns advice about a refusal, where the daemon's reason contains none.
fn advice(error: &PutError) -> &'static str {
    match error {
        PutError::Client(ClientError::Refused { status: 507, .. }) => {
            "; create a volume with hayloft volume create"
        }
        PutError::Client(ClientError::Refused { status: 404 | 503, .. }) => {
            "; hayloft volume list shows which volumes take photos"
        }
        _ => "",
    }
}

impl PutArgs {
    /// Stores one file after the other. A failure of one file does not stop the others, unless the daemon
    /// cannot be reached or a URL cannot be printed.
    pub(super) fn run(self) -> ExitCode {
        let client = Client::new(self.server.clone(), "--server");
        let mut failed = false;
        for path in &self.files {
            match self.put(&client, path) {
                // Further URLs would be lost as well.
                Ok(url) if !announce(&url) => return ExitCode::FAILURE,
                Ok(_) => {}
                // The other files would fail in the same way.
                Err(PutError::Client(error @ ClientError::Unreachable { .. })) => {
                    return fail(&error);
                }
                Err(error) => {
                    note(format_args!("{}: {error}{}", path.display(), advice(&error)));
                    failed = true;
                }
            }
        }
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn put(&self, client: &Client, path: &Path) -> Result<String, PutError> {
        let (input, suggested) = if path.as_os_str() == "-" {
            sys::open_at_start(0).map_err(PutError::Read)?;
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                note("reading the photo from the terminal; end it with Ctrl-D");
            }
            let input = spool(stdin.lock())?;
            let sniffed = match &input {
                Input::Bytes(bytes) => sniffed_type(bytes),
                Input::File(_) => None,
            };
            (input, sniffed)
        } else {
            let file = SourceFile::open(path).map_err(PutError::Read)?;
            let suggested = match content_type(path) {
                Some(suggested) => Some(suggested),
                None => sniffed_type(&file.head().map_err(PutError::Read)?),
            };
            (Input::File(file), suggested)
        };
        let content_type = self.content_type.as_deref().or(suggested);
        put(client, self.volume, content_type, self.expires, &input)
    }
}
