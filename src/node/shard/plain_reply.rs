//! A short reply, and the ones that errors of volumes and of the parser turn into.

use std::borrow::Cow;
use std::num::NonZeroU64;

use crate::base::limits::RETRY_AFTER_SECONDS;
use crate::http::date;
use crate::http::entity_tag::EntityTag;
use crate::http::head::Method;
use crate::http::reject::Reject;
use crate::http::reply::{Connection, ContentRange, ReplyHead, write_error_body};
use crate::http::status::Status;
use crate::http::upload;
use crate::node::metrics;
use crate::volume::{GetError, Refusal};

/// A short reply: an error with a one-line text body, or a success without a body.
#[derive(Clone, Debug)]
pub struct PlainReply {
    /// Status.
    pub status: Status,
    /// Body of an error; empty with a success.
    pub reason: Cow<'static, str>,
    /// `Allow`, with 405.
    pub allow: Option<&'static str>,
    /// Whether to send `Accept-Encoding: identity`, with 415 for a content coding.
    pub accept_identity: bool,
    /// Instance number of the daemon, which differs after each start.
    pub instance: Option<NonZeroU64>,
    /// Entity tag and modification time (seconds since 1970) of the stored object.
    pub stored: Option<(u64, u64)>,
    /// Whether the volume takes writes.
    pub writable: Option<bool>,
    /// Size of the object (bytes), with 416.
    pub unsatisfied: Option<u64>,
    /// Kind of an admission refusal, for the counters.
    pub refusal: Option<metrics::AdmissionRefusal>,
}

impl PlainReply {
    /// Creates an error reply.
    pub const fn error(status: Status, reason: &'static str) -> Self {
        Self {
            status,
            reason: Cow::Borrowed(reason),
            allow: None,
            accept_identity: false,
            instance: None,
            stored: None,
            writable: None,
            unsatisfied: None,
            refusal: None,
        }
    }

    /// Creates a success without a body.
    pub const fn success(status: Status) -> Self {
        Self::error(status, "")
    }

    /// Creates a 503 reply that is counted as `refusal`.
    pub const fn unavailable(reason: &'static str, refusal: metrics::AdmissionRefusal) -> Self {
        let mut plain = Self::error(Status::SERVICE_UNAVAILABLE, reason);
        plain.refusal = Some(refusal);
        plain
    }

    /// Writes the whole reply to the front of `out` and returns its length (bytes). For HEAD only the head
    /// is written.
    pub fn write(
        &self,
        out: &mut [u8],
        method: Method,
        connection: Connection,
        date: &[u8; date::LEN],
    ) -> usize {
        let mut head = match &*self.reason {
            "" => ReplyHead::new(self.status, date),
            reason => ReplyHead::error(self.status, reason, date),
        };
        head.connection = connection;
        head.allow = self.allow;
        head.accept_identity = self.accept_identity;
        head.instance = self.instance.map(NonZeroU64::get);
        head.volume_writable = self.writable;
        head.content_range = self.unsatisfied.map(|size| ContentRange::Unsatisfied { size });
        if self.status == Status::SERVICE_UNAVAILABLE {
            head.retry_after = Some(RETRY_AFTER_SECONDS);
        }
        if let Some((etag, modified_seconds)) = self.stored {
            head.etag = Some(EntityTag::Xxh3(etag));
            head.last_modified = Some(modified_seconds);
        }
        let len = head.write(out);
        if self.reason.is_empty() || method == Method::Head {
            return len;
        }
        len + write_error_body(&self.reason, &mut out[len..])
    }
}

impl From<Reject> for PlainReply {
    fn from(reject: Reject) -> Self {
        let mut plain = Self::error(reject.status, reject.reason);
        plain.accept_identity = reject == upload::CODED;
        plain
    }
}

impl From<GetError> for PlainReply {
    fn from(error: GetError) -> Self {
        match error {
            GetError::NotFound => Self::error(Status::NOT_FOUND, "no such photo"),
            GetError::Unreadable(..) => {
                Self::error(Status::INTERNAL_SERVER_ERROR, "the photo is damaged on disk")
            }
            GetError::NeedBuffer(_) => no_buffer(),
        }
    }
}

/// The 503 reply when no buffer is free.
pub const fn no_buffer() -> PlainReply {
    PlainReply::unavailable("no buffer is free; try again", metrics::AdmissionRefusal::Buffers)
}

impl From<Refusal> for PlainReply {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict => {
                Self::error(Status::CONFLICT, "the photo exists with another cookie")
            }
            Refusal::Precondition => {
                Self::error(Status::PRECONDITION_FAILED, "a precondition does not hold")
            }
            Refusal::NotFound => Self::error(Status::NOT_FOUND, "no such photo"),
            Refusal::Unreadable(_) => {
                Self::error(Status::INTERNAL_SERVER_ERROR, "the photo is damaged on disk")
            }
            Refusal::Full => Self::error(Status::INSUFFICIENT_STORAGE, "the volume is full"),
            Refusal::ReadOnly => {
                Self::unavailable("the volume is read-only", metrics::AdmissionRefusal::ReadOnly)
            }
            Refusal::Poisoned => Self::unavailable(
                "the volume takes no writes until the daemon is restarted: one failed, or its file was \
                 lost",
                metrics::AdmissionRefusal::ReadOnly,
            ),
            Refusal::Suspect => Self::unavailable(
                "the volume takes no writes: reads of its disk failed too often",
                metrics::AdmissionRefusal::ReadOnly,
            ),
            Refusal::Closing => Self::unavailable(
                "the daemon is shutting down",
                metrics::AdmissionRefusal::Draining,
            ),
            Refusal::NoBuffer => no_buffer(),
            Refusal::Failed(_) => Self::error(
                Status::INTERNAL_SERVER_ERROR,
                "the write failed; whether the change took effect is not known",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::buffer::{Pool, Region};

    #[test]
    fn plain_reply_has_head_and_body_and_no_body_for_head() {
        let mut out = [0; 1024];
        let plain = PlainReply::error(Status::NOT_FOUND, "no such photo");
        let date = date::format(0);
        let len = plain.write(&mut out, Method::Get, Connection::Persistent, &date);
        let text = std::str::from_utf8(&out[..len]).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 "));
        assert!(text.contains("Content-Length: 14\r\n"));
        assert!(text.ends_with("\r\n\r\nno such photo\n"));
        let len = plain.write(&mut out, Method::Head, Connection::Persistent, &date);
        assert!(std::str::from_utf8(&out[..len]).unwrap().ends_with("\r\n\r\n"));
    }

    #[test]
    fn longest_error_reply_fits_the_smallest_buffer() {
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let mut buf = pool.alloc(1).unwrap();
        for refusal in [Refusal::Poisoned, Refusal::Full, Refusal::Conflict] {
            let mut plain = PlainReply::from(refusal);
            plain.allow = Some("GET, HEAD, PUT, POST, DELETE");
            plain.stored = Some((u64::MAX, 1));
            plain.write(&mut buf, Method::Get, Connection::Close, &date::format(0));
        }
    }
}
