//! Stores a photo under a name that the store picks.

use std::io::{self, Read};

use serde::Deserialize;
use thiserror::Error;

use super::file::Input;
use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, ClientError};
use crate::http::digits::parse_hex16;
use crate::http::head::Method;
use crate::http::modified;

/// Maximum size of input that is read into memory (bytes).
const SPOOL_MAX: u64 = 64 << 20;

/// Why a photo was not stored.
#[derive(Debug, Error)]
pub enum PutError {
    /// The daemon refused, or the connection failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file cannot be read.
    #[error("it cannot be read: {0}; nothing was stored of it")]
    Read(io::Error),
    /// The input is too large to be read into memory.
    #[error("standard input has more than 64 MiB; write it to a file and name that")]
    TooLong,
    /// The stored bytes differ from the bytes that were read.
    #[error(
        "the checksum that the daemon reports is not that of the bytes read; delete {url} and store it again"
    )]
    Different {
        /// URL of the stored photo.
        url: String,
    },
}

/// Reads input that cannot be read twice into memory, at most 64 MiB.
///
/// # Errors
/// [`PutError::Read`], [`PutError::TooLong`].
pub fn spool(reader: impl Read) -> Result<Input, PutError> {
    let mut bytes = Vec::new();
    reader.take(SPOOL_MAX + 1).read_to_end(&mut bytes).map_err(PutError::Read)?;
    if bytes.len() as u64 > SPOOL_MAX { Err(PutError::TooLong) } else { Ok(Input::Bytes(bytes)) }
}

#[derive(Deserialize)]
struct Created {
    url: String,
    etag: String,
}

/// Stores a photo in `volume`, or in one that the store picks, and returns its full URL. It expires at
/// `expires_ns` (nanoseconds since 1970).
///
/// # Errors
/// [`PutError`].
pub fn put(
    client: &Client,
    volume: Option<VolumeId>,
    content_type: Option<&str>,
    expires_ns: Option<u64>,
    input: &Input,
) -> Result<String, PutError> {
    let modified = match input {
        Input::File(file) => Some(modified::format(file.stamp().modified_ns)),
        Input::Bytes(_) => None,
    };
    let expires = expires_ns.map(modified::format);
    let mut headers = Vec::new();
    headers.extend(content_type.map(|value| ("Content-Type", value)));
    headers.extend(modified.as_deref().map(|value| (modified::HEADER, value)));
    headers.extend(expires.as_deref().map(|value| (modified::EXPIRES_HEADER, value)));
    let path = volume.map_or_else(|| "/".to_owned(), |volume| format!("/{volume}"));
    let reply = match client.request(Method::Post, &path, &headers, Body::Source(input)) {
        Err(ClientError::Source(error)) => return Err(PutError::Read(error)),
        other => other?.expect(&[201])?,
    };
    let Created { url, etag } = reply.json()?;
    let url = format!("{}{url}", client.address());
    if input.digest() != parse_hex16(etag.trim_matches('"').as_bytes()) {
        return Err(PutError::Different { url });
    }
    Ok(url)
}
