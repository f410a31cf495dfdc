//! What an upload to a fid asks for, from the head of its request.

use super::file_head::FileHead;
use super::origin::parse_origin;
use crate::base::cluster::Ttl;
use crate::base::types::{Cookie, NeedleId};
use crate::http::fid::{Boundary, FidName, FidQuery, FileName, collect_pairs, percent_decoded};
use crate::http::head::Head;
use crate::http::reject::Reject;
use crate::node::shard::copies::FanOut;
use crate::node::shard::object_name::ObjectName;

const TTL: Reject = Reject::bad("the ttl is not a number with one of the units m, h, d, w, M, y");
const TIME: Reject = Reject::bad("ts is a time that cannot be stored");
const NAME: Reject = Reject::bad("the file name is malformed or longer than 255 bytes");
const PART: Reject = Reject::bad("Content-Range is not supported with an upload");

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// What an upload to a fid asks for. It does not borrow the request head, whose bytes are gone when the body
/// arrives.
pub struct UploadRequest {
    /// What it names.
    pub object: ObjectName,
    /// Time of modification (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Life of the photo.
    pub ttl: Option<Ttl>,
    /// Whether the sender has stored the photo, and sends it to the other copies of the volume by itself.
    pub is_replica: bool,
    /// Version that it has on the node that sends it; of a client, that under which it is sent to other
    /// nodes.
    pub origin: Option<u64>,
    /// The other nodes to which it is sent while it is stored here; not set by the parser.
    pub fan_out: Option<FanOut>,
    /// Whether the data is a list of chunks.
    pub is_chunk_manifest: bool,
    /// Header fields to be returned, as JSON.
    pub pairs: Option<Box<[u8]>>,
    /// Boundary of the form; `None` if the body is the file itself.
    pub form: Option<Boundary>,
    /// Head of the file if the body is no form.
    pub raw: FileHead,
}

/// The object that a fid names.
pub fn object_name(fid: &FidName<'_>) -> ObjectName {
    let cookie = Cookie(u64::from(fid.cookie));
    ObjectName { volume: fid.volume, id: NeedleId::new(fid.key, 0), cookie }
}

impl UploadRequest {
    /// Parses what a PUT or POST asks for. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// 400.
    pub fn parse(
        head: &Head,
        bytes: &[u8],
        fid: &FidName<'_>,
        query: &FidQuery<'_>,
        now: u64,
    ) -> Result<Self, Reject> {
        let origin = match query.is_replica {
            true => parse_origin(head, bytes, now.saturating_mul(SECOND_NS))?,
            false => None,
        };
        let seconds = query.modified_seconds.filter(|seconds| *seconds > 0).unwrap_or(now);
        let modified_ns = seconds.checked_mul(SECOND_NS).ok_or(TIME)?;
        let content_type = head.content_type.map(|span| span.of(bytes));
        // As the stock server: PUT is never a form.
        let form = match (head.method, content_type) {
            (crate::http::head::Method::Post, Some(value)) => {
                Boundary::of_form(value).transpose()?
            }
            _ => None,
        };
        let raw = match form {
            Some(_) => FileHead::default(),
            None => raw_head(head, bytes, fid)?,
        };
        if head.lines(bytes).any(|(name, _)| name.eq_ignore_ascii_case(b"content-range")) {
            return Err(PART);
        }
        Ok(Self {
            object: object_name(fid),
            modified_ns,
            ttl: parse_ttl(&query.ttl)?,
            is_replica: query.is_replica,
            origin,
            fan_out: None,
            is_chunk_manifest: query.chunk_manifest == Some(true),
            pairs: collect_pairs(head.lines(bytes))?,
            form,
            raw,
        })
    }
}

fn parse_ttl(text: &[u8]) -> Result<Option<Ttl>, Reject> {
    if text.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(text).map_err(|_| TTL)?;
    text.parse().map(Some).map_err(|_| TTL)
}

/// The head of a file that is the whole body: its name is in `Content-Disposition`, else it is the last
/// segment of the path.
fn raw_head(head: &Head, bytes: &[u8], fid: &FidName<'_>) -> Result<FileHead, Reject> {
    let (mut disposition, mut is_gzip, mut content_md5) = (FileName::Absent, false, None);
    for (name, value) in head.lines(bytes) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("content-disposition") {
            disposition = FileName::parse(value);
        } else if is("content-encoding") {
            is_gzip = value.eq_ignore_ascii_case(b"gzip");
        } else if is("content-md5") && !value.is_empty() {
            content_md5 = Some(value.into());
        }
    }
    let name = match disposition {
        FileName::Named(name) => name,
        FileName::Malformed => return Err(NAME),
        FileName::Absent => {
            let segment = percent_decoded(fid.segment).ok_or(NAME)?;
            let segment = std::str::from_utf8(&segment).map_err(|_| NAME)?;
            if segment.len() > 255 || segment.chars().any(char::is_control) {
                return Err(NAME);
            }
            segment.into()
        }
    };
    let content_type = head.content_type.map(|span| span.of(bytes).into());
    let content_type = FileHead::checked_type(content_type)?;
    Ok(FileHead { name, content_type, is_gzip, content_md5 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fid::FidPath;
    use crate::http::head::{Dialects, HeadLimits, HeadProgress, parse_as};

    fn parse(line: &str, fields: &str) -> Result<UploadRequest, Reject> {
        let text = format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n{fields}\r\n");
        let mut progress = HeadProgress::default();
        let head =
            parse_as(text.as_bytes(), &HeadLimits::DEFAULT, Dialects::WithFids, &mut progress);
        let head = head.unwrap().unwrap();
        let target = head.target.of(text.as_bytes());
        let Ok(FidPath::Photo(fid)) = FidPath::parse(target) else { panic!("{target:?}") };
        UploadRequest::parse(&head, text.as_bytes(), &fid, &FidQuery::parse(target)?, 1_700_000_000)
    }

    #[test]
    fn a_form_has_a_boundary() {
        let form = parse(
            "POST /3,01637037d6?ts=5&ttl=3m&type=replicate&cm=true",
            "Content-Type: multipart/form-data; boundary=x\r\nSeaweed-Owner: bob\r\n",
        );
        let form = form.unwrap();
        assert!(form.form.is_some() && form.is_replica && form.is_chunk_manifest);
        assert_eq!(form.modified_ns, 5_000_000_000);
        assert_eq!(form.ttl.map(|ttl| ttl.to_string()).as_deref(), Some("3m"));
        assert_eq!(form.pairs.as_deref(), Some(&br#"{"Owner":"bob"}"#[..]));
        assert!(form.object.cookie.matches(Cookie(0x6370_37d6)));
    }

    #[test]
    fn a_raw_body_is_described_by_the_head() {
        let fields = "Content-Type: image/png\r\nContent-Encoding: gzip\r\nContent-MD5: x\r\n";
        let raw = parse("PUT /3/01637037d6/a%20b.png", fields).unwrap();
        assert!(raw.form.is_none() && !raw.is_replica && raw.raw.is_gzip);
        assert_eq!(&*raw.raw.name, "a b.png");
        assert_eq!(raw.raw.content_type.as_deref(), Some(&b"image/png"[..]));
        assert_eq!(raw.modified_ns, 1_700_000_000_000_000_000);
        let named = parse(
            "PUT /3/01637037d6/a.png",
            "Content-Disposition: inline; filename=c.png\r\n\
             Content-Type: multipart/form-data; boundary=x\r\n",
        );
        let named = named.unwrap();
        assert_eq!((&*named.raw.name, named.form.is_none()), ("c.png", true), "PUT is no form");
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        for (line, fields, expected) in [
            ("POST /3,01637037d6?ttl=3x", "", TTL),
            ("POST /3,01637037d6?ttl=%ff", "", TTL),
            ("POST /3,01637037d6?ts=18446744074", "", TIME),
            ("PUT /3/01637037d6/%ff", "", NAME),
            ("PUT /3/01637037d6/%0a", "", NAME),
            ("PUT /3/01637037d6/a", "Content-Disposition: x; filename=\"\r\n", NAME),
            ("PUT /3/01637037d6/a", "Content-Range: bytes 0-0/2\r\n", PART),
        ] {
            assert_eq!(parse(line, fields).map(drop), Err(expected), "{line} {fields}");
        }
    }
}
