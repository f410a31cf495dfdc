//! What came back.

use std::io::{self, Read};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;

use super::ClientError;
use super::error::shown;
use crate::http::date;
use crate::http::digits;
use crate::http::head::Method;

/// The longest answer that is read into memory (bytes): a status of many volumes.
const TEXT_MAX: u64 = 16 << 20;
/// The longest reason that is shown (characters).
const REASON_SHOWN: usize = 300;

/// An error of the admin API.
#[derive(Deserialize)]
struct Told {
    error: String,
}

/// An answer, whose body is still to be read.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    response: Response<ureq::Body>,
    /// Method and path, for errors.
    request: String,
}

impl Reply {
    pub(super) fn new(method: Method, path: &str, response: Response<ureq::Body>) -> Self {
        Self { status: response.status().as_u16(), response, request: shown(method, path) }
    }

    /// A header, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// `Content-Length` (bytes).
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        digits::parse_decimal(self.header("Content-Length")?.as_bytes()).ok()
    }

    /// The entity tag as a number: the XXH3-64 of the photo.
    #[must_use]
    pub fn etag(&self) -> Option<u64> {
        let tag = self.header("ETag")?.strip_prefix('"')?.strip_suffix('"')?;
        digits::parse_hex16(tag.as_bytes())
    }

    /// `Last-Modified` (seconds since 1970).
    #[must_use]
    pub fn last_modified(&self) -> Option<u64> {
        // The time matters to a form of dates only that nobody has sent for decades.
        date::parse(self.header("Last-Modified")?.as_bytes(), 0)
    }

    /// When to come back, if the daemon cannot answer now.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if self.status != 503 {
            return None;
        }
        let seconds = digits::parse_decimal(self.header("Retry-After")?.as_bytes()).ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The body as it comes. A body shorter than announced ends in an error.
    #[must_use]
    pub fn into_reader(self) -> impl Read {
        self.response.into_body().into_reader()
    }

    /// The whole body, of at most 16 MiB, as text; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// [`ClientError::Garbled`].
    pub fn text(&mut self) -> Result<String, ClientError> {
        let mut bytes = Vec::new();
        let reader = self.response.body_mut().as_reader();
        match reader.take(TEXT_MAX).read_to_end(&mut bytes) {
            Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(self.garbled(&error)),
        }
    }

    /// The whole body as JSON.
    ///
    /// # Errors
    /// [`ClientError::Garbled`].
    pub fn json<T: DeserializeOwned>(mut self) -> Result<T, ClientError> {
        let text = self.text()?;
        serde_json::from_str(&text).map_err(|error| self.garbled(&error))
    }

    /// The answer as an error, with the daemon's reason.
    #[must_use]
    pub fn refused(mut self) -> ClientError {
        let reason = self.text().unwrap_or_default();
        // The admin API's sentence, or the data API's line.
        let sentence = serde_json::from_str::<Told>(&reason).map(|told| told.error);
        let reason = sentence.unwrap_or(reason);
        let line = reason.lines().next().unwrap_or_default();
        let visible = line.chars().filter(|character| !character.is_control());
        let mut reason: String = visible.take(REASON_SHOWN).collect();
        if reason.is_empty() {
            reason = "no reason given".to_owned();
        }
        ClientError::Refused { request: self.request, status: self.status, reason }
    }

    /// The answer as an error, because something is wrong with it.
    #[must_use]
    pub fn garbled(&self, what: &dyn std::fmt::Display) -> ClientError {
        ClientError::Garbled { request: self.request.clone(), what: what.to_string() }
    }

    /// The answer if its status is one of these, else an error.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn expect(self, statuses: &[u16]) -> Result<Self, ClientError> {
        if statuses.contains(&self.status) { Ok(self) } else { Err(self.refused()) }
    }

    /// Reads what is left of the body, so that the connection can be used on.
    ///
    /// # Errors
    /// What the connection says.
    pub fn drain(&mut self) -> io::Result<()> {
        io::copy(&mut self.response.body_mut().as_reader(), &mut io::sink()).map(drop)
    }
}
