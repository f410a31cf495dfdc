//! Answers to requests.

use std::io::{self, Read};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;

use super::error::{ClientError, shown};
use crate::http::date;
use crate::http::digits;
use crate::http::head::Method;

/// Maximum size of an answer that is read into memory (bytes): the status of many volumes fits.
const TEXT_MAX: u64 = 16 << 20;
/// Maximum length of a reason that is shown (characters).
const REASON_SHOWN: usize = 300;

/// An error of the admin API.
#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

/// An answer, whose body is still to be read.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    response: Response<ureq::Body>,
    /// Method and path, for errors.
    request: String,
}

/// An answer that was read into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header fields that are visible ASCII.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns a header field, if it is present.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the body as text; invalid UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Reply {
    pub(super) fn new(method: Method, path: &str, response: Response<ureq::Body>) -> Self {
        Self { status: response.status().as_u16(), response, request: shown(method, path) }
    }

    /// Returns a header field, if it is present and visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Returns `Content-Length` (bytes).
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        digits::parse_decimal(self.header("Content-Length")?.as_bytes()).ok()
    }

    /// Returns the entity tag as a number: the XXH3-64 of the photo.
    #[must_use]
    pub fn etag(&self) -> Option<u64> {
        let tag = self.header("ETag")?.strip_prefix('"')?.strip_suffix('"')?;
        digits::parse_hex16(tag.as_bytes())
    }

    /// Returns `Last-Modified` (seconds since 1970).
    #[must_use]
    pub fn last_modified(&self) -> Option<u64> {
        // The current time matters only to obsolete dates with a two-digit year (RFC 9110 section 5.6.7).
        date::parse(self.header("Last-Modified")?.as_bytes(), 0)
    }

    /// Returns `Retry-After` of a 503.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if self.status != 503 {
            return None;
        }
        let seconds = digits::parse_decimal(self.header("Retry-After")?.as_bytes()).ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// Returns a reader of the body. A body shorter than announced ends in an error.
    #[must_use]
    pub fn into_reader(self) -> impl Read {
        self.response.into_body().into_reader()
    }

    /// Reads the rest of the answer into memory, whatever its length. A body shorter than announced is an
    /// error.
    ///
    /// # Errors
    /// [`ClientError::Garbled`] if the body cannot be read.
    pub fn read(mut self) -> Result<Answer, ClientError> {
        let mut body = Vec::new();
        if let Err(error) = self.response.body_mut().as_reader().read_to_end(&mut body) {
            return Err(self.garbled(&error));
        }
        let fields = self.response.headers().iter();
        let fields = fields.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let headers = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Answer { status: self.status, headers, body })
    }

    /// Reads the body as text, at most 16 MiB of it; invalid UTF-8 is replaced.
    ///
    /// # Errors
    /// [`ClientError::Garbled`] if the body cannot be read.
    pub fn text(&mut self) -> Result<String, ClientError> {
        let mut bytes = Vec::new();
        let reader = self.response.body_mut().as_reader();
        match reader.take(TEXT_MAX).read_to_end(&mut bytes) {
            Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(self.garbled(&error)),
        }
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// [`ClientError::Garbled`] if the body cannot be read or parsed.
    pub fn json<T: DeserializeOwned>(mut self) -> Result<T, ClientError> {
        let text = self.text()?;
        serde_json::from_str(&text).map_err(|error| self.garbled(&error))
    }

    /// Turns the answer into [`ClientError::Refused`], with the daemon's reason.
    #[must_use]
    pub fn refused(mut self) -> ClientError {
        let reason = self.text().unwrap_or_default();
        // The admin API gives the reason as JSON, the data API as a line of text.
        let sentence = serde_json::from_str::<ErrorBody>(&reason).map(|body| body.error);
        let reason = sentence.unwrap_or(reason);
        let line = reason.lines().next().unwrap_or_default();
        let visible = line.chars().filter(|character| !character.is_control());
        let mut reason: String = visible.take(REASON_SHOWN).collect();
        if reason.is_empty() {
            reason = "no reason given".to_owned();
        }
        ClientError::Refused { request: self.request, status: self.status, reason }
    }

    /// Returns [`ClientError::Garbled`] for this answer; `what` describes the fault.
    #[must_use]
    pub fn garbled(&self, what: &dyn std::fmt::Display) -> ClientError {
        ClientError::Garbled { request: self.request.clone(), what: what.to_string() }
    }

    /// Returns the answer if its status is one of `statuses`.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for any other status.
    pub fn expect(self, statuses: &[u16]) -> Result<Self, ClientError> {
        if statuses.contains(&self.status) { Ok(self) } else { Err(self.refused()) }
    }

    /// Reads and discards the rest of the body, so that the connection can be reused.
    ///
    /// # Errors
    /// The error of the connection.
    pub fn drain(&mut self) -> io::Result<()> {
        io::copy(&mut self.response.body_mut().as_reader(), &mut io::sink()).map(drop)
    }
}
