//! Checks on requests that change data: the body must be the plain bytes of the object (or batch), and the
//! request must not come from a web page of another site.
//!
//! These rules belong to the targets of the data API, not to the framing of requests: other targets may have
//! other rules. Nothing here determines where a body ends.

use super::authority;
use super::digest::Digests;
use super::head::{Head, Method};
use super::reject::Reject;
use super::status::Status;
use super::target::Target;

/// 415 for a content coding; the reply lists the supported ones in `Accept-Encoding` (RFC 9110 section
/// 15.5.16).
pub const CODED: Reject = Reject::new(
    Status::UNSUPPORTED_MEDIA_TYPE,
    "Content-Encoding is not supported; send the photo as it is to be served, without a coding",
);
/// RFC 9110 section 14.5: a server without support for partial PUT must not store a part as the whole.
const PART: Reject = Reject::bad(
    "Content-Range is not supported with an upload, since a part would replace the whole photo; send the \
     whole photo without it",
);
const OTHER_SITE: Reject = Reject::new(
    Status::FORBIDDEN,
    "requests that change something are refused from web pages of other hosts: Origin does not match Host",
);
const REPEATED_MD5: Reject = Reject::bad("more than one Content-MD5 header");

/// Checks the header fields of an upload and returns the expected digests of its body.
///
/// # Errors
/// 403 for an `Origin` of another site; 400 for `Content-Range`; 415 ([`CODED`]) for a `Content-Encoding`
/// other than identity; 400 for malformed or contradictory digests. Of several errors, the first in this
/// order.
pub fn expected_body(head: &Head, buf: &[u8]) -> Result<Digests, Reject> {
    let (mut is_other_site, mut is_part, mut is_coded, mut has_md5) = (false, false, false, false);
    let (mut md5, mut content, mut repr) = <(Digests, Digests, Digests)>::default();
    let mut digest_result = Ok(());
    for (name, value) in head.lines(buf) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("origin") {
            is_other_site |= !is_own_site(value, head, buf);
        } else if is("content-range") {
            is_part = true;
        } else if is("content-encoding") {
            is_coded |= !is_identity(value);
        } else if is("content-digest") {
            digest_result = digest_result.and(content.take_dictionary(value));
        } else if is("repr-digest") {
            digest_result = digest_result.and(repr.take_dictionary(value));
        } else if is("content-md5") {
            let taken = if has_md5 { Err(REPEATED_MD5) } else { md5.take_content_md5(value) };
            digest_result = digest_result.and(taken);
            has_md5 = true;
        }
    }
    if is_other_site {
        return Err(OTHER_SITE);
    }
    if is_part {
        return Err(PART);
    }
    if is_coded {
        return Err(CODED);
    }
    digest_result?;
    md5.and(content)?.and(repr)
}

/// Checks that a request does not come from a web page of another site: every `Origin` must name the same
/// site as `Host` (RFC 6454 section 7.2, RFC 9110 section 7.2). A request without `Origin` passes.
///
/// # Errors
/// 403 for an `Origin` of another site.
pub fn check_origin(head: &Head, buf: &[u8]) -> Result<(), Reject> {
    let mut origins = head.lines(buf).filter(|(name, _)| name.eq_ignore_ascii_case(b"origin"));
    if origins.all(|(_, value)| is_own_site(value, head, buf)) { Ok(()) } else { Err(OTHER_SITE) }
}

fn is_own_site(origin: &[u8], head: &Head, buf: &[u8]) -> bool {
    head.host.is_some_and(|host| authority::is_origin_of(origin, host.of(buf)))
}

/// Refuses a PUT, POST or DELETE with the media type of a form, and a multi-delete with any other than
/// `text/plain`; the reason shows the correct command.
///
/// # Errors
/// 415 for the media type of a form ([`is_form`]), and for a multi-delete that is not text.
pub fn check_type(head: &Head, buf: &[u8], target: Target) -> Result<(), Reject> {
    let is_write = !matches!(head.method, Method::Get | Method::Head);
    let content_type = head.content_type.map_or(&b""[..], |span| span.of(buf));
    let is_refused = match target {
        Target::MultiDelete { .. } if head.method == Method::Post => !is_plain_text(content_type),
        _ => is_form(content_type),
    };
    if !is_write || !is_refused {
        return Ok(());
    }
    let reason = match (target, head.method) {
        (_, Method::Delete) => {
            "the Content-Type is that of a form; send no body and no type: curl -X DELETE URL"
        }
        (Target::Object { .. }, _) => {
            "the Content-Type is that of a form; send the photo itself, with its own type: curl -T \
             photo.jpg -H 'Content-Type: image/jpeg' URL"
        }
        (Target::Root | Target::Volume { .. }, _) => {
            "the Content-Type is that of a form; send the photo itself, with its own type: curl \
             --data-binary @photo.jpg -H 'Content-Type: image/jpeg' URL"
        }
        (Target::Batch { .. }, _) => {
            "the Content-Type is that of a form; send the tar itself, with its own type: curl \
             --data-binary @batch.tar -H 'Content-Type: application/x-tar' URL"
        }
        (Target::MultiDelete { .. }, _) => {
            "the Content-Type is not text/plain; send one key/alt/cookie a line: curl --data-binary \
             @photos.txt -H 'Content-Type: text/plain' URL"
        }
    };
    Err(Reject::new(Status::UNSUPPORTED_MEDIA_TYPE, reason))
}

/// Returns whether a list of content codings has no other coding than `identity` (RFC 9110 section 8.4). List
/// elements may be empty (section 5.6.1).
fn is_identity(codings: &[u8]) -> bool {
    let mut codings = codings.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

/// Returns whether `media_type` is that of a form (`application/x-www-form-urlencoded`) or any `multipart/`
/// type: the object would be wrapped. Text after the type is ignored, also if it is not separated as RFC 9110
/// section 8.3.1 requires.
#[must_use]
pub fn is_form(media_type: &[u8]) -> bool {
    const URL_ENCODED: &[u8] = b"application/x-www-form-urlencoded";
    const MULTIPART: &[u8] = b"multipart/";
    let media_type = without_parameters(media_type);
    let start = media_type.get(..MULTIPART.len());
    media_type.eq_ignore_ascii_case(URL_ENCODED)
        || start.is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART))
}

/// Returns whether `media_type` is `text/plain`, with any parameters.
fn is_plain_text(media_type: &[u8]) -> bool {
    without_parameters(media_type).eq_ignore_ascii_case(b"text/plain")
}

/// Returns a media type without the text after it, also if that is not separated as RFC 9110 section 8.3.1
/// requires.
fn without_parameters(media_type: &[u8]) -> &[u8] {
    let end = media_type.iter().position(|byte| b";, \t".contains(byte));
    &media_type[..end.unwrap_or(media_type.len())]
}

#[cfg(test)]
mod tests {
    use super::super::head::{HeadLimits, HeadProgress, parse};
    use super::*;
    use crate::base::types::VolumeId;
    use proptest::prelude::*;

    const MD5: &str = "kAFQmDzST7DWlj99KOF/cg==";

    fn head(method: &str, fields: &str) -> (Head, Vec<u8>) {
        let text =
            format!("{method} /1 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 0\r\n{fields}\r\n");
        let parsed = parse(text.as_bytes(), &HeadLimits::DEFAULT, &mut HeadProgress::default());
        (parsed.unwrap().unwrap(), text.into_bytes())
    }

    const MULTI_DELETE: Target = Target::MultiDelete { volume: VolumeId(1) };

    /// The status of the refusal; for accepted fields, 0 without and 1 with digests to verify.
    fn result_of(fields: &str) -> u16 {
        let (head, buf) = head("PUT", fields);
        match expected_body(&head, &buf) {
            Ok(digests) => u16::from(digests.verifier().is_some()),
            Err(reject) => reject.status.code(),
        }
    }

    #[test]
    fn content_range_is_refused_with_any_value() {
        for value in ["bytes 0-9/10", "bytes 0-9/*", "", "x"] {
            assert_eq!(result_of(&format!("content-RANGE: {value}\r\n")), 400, "{value}");
        }
        assert_eq!(result_of("Range: bytes=0-9\r\nX-Content-Range: bytes 0-9/10\r\n"), 0);
    }

    #[test]
    fn content_codings_other_than_identity_are_refused() {
        for value in ["", "identity", "IDENTITY", "identity, Identity", ",identity\t, ,"] {
            assert_eq!(result_of(&format!("Content-Encoding: {value}\r\n")), 0, "{value:?}");
        }
        assert_eq!(result_of("Content-Encoding: identity\r\nContent-Encoding: identity\r\n"), 0);
        for value in [
            "gzip",
            "GZIP",
            "identity, gzip",
            "gzip,identity",
            "identity;q=1",
            "identity gzip",
            "\"identity\"",
            "aws-chunked",
            "*",
            "\u{e4}",
        ] {
            assert_eq!(result_of(&format!("Content-Encoding: {value}\r\n")), 415, "{value:?}");
        }
        for (one, other) in [("identity", "br"), ("br", "identity"), ("", "br")] {
            let fields = format!("Content-Encoding: {one}\r\ncontent-encoding: {other}\r\n");
            assert_eq!(result_of(&fields), 415, "{fields:?}");
        }
    }

    #[test]
    fn digests_are_combined_over_all_fields() {
        for (fields, want) in [
            (String::new(), 0),
            (format!("Content-MD5: {MD5}\r\n"), 1),
            (format!("content-digest: md5=:{MD5}:\r\n"), 1),
            (format!("Repr-Digest: md5=:{MD5}:\r\nContent-MD5: {MD5}\r\n"), 1),
            (format!("Content-Digest: foo=:AAAA:\r\nContent-Digest: md5=:{MD5}:\r\n"), 1),
            ("Content-Digest: foo=:AAAA:\r\n".to_owned(), 0),
            ("Want-Content-Digest: md5=1\r\nDigest: md5=x\r\n".to_owned(), 0),
            ("Content-MD5:\r\n".to_owned(), 400),
            ("Content-Digest:\r\n".to_owned(), 400),
            ("Repr-Digest: md5\r\n".to_owned(), 400),
            (format!("Content-Digest: md5=:{MD5}:\r\nContent-Digest: x\r\n"), 400),
            (format!("Content-Digest: x\r\nContent-Digest: md5=:{MD5}:\r\n"), 400),
            (format!("Content-MD5: {MD5}\r\nContent-MD5: {MD5}\r\n"), 400),
            (format!("Content-MD5: {MD5}\r\nRepr-Digest: md5=:AAAAAAAAAAAAAAAAAAAAAA==:\r\n"), 400),
        ] {
            assert_eq!(result_of(&fields), want, "{fields:?}");
        }
    }

    #[test]
    fn of_several_errors_the_first_in_order_is_reported() {
        let all = ["Content-MD5: x\r\n", "Content-Encoding: br\r\n", "Content-Range: x\r\n"];
        let other_site = "Origin: http://b\r\n";
        assert_eq!(result_of(&(all.concat() + other_site)), 403);
        let reason = |fields: &str| {
            let (head, buf) = head("POST", fields);
            expected_body(&head, &buf).err().unwrap()
        };
        assert_eq!(reason(&all.concat()), PART);
        assert_eq!(reason(&all[..2].concat()), CODED);
    }

    #[test]
    fn requests_from_other_sites_are_refused() {
        for (fields, want) in [
            ("", Ok(())),
            ("Origin: http://a\r\n", Ok(())),
            ("Origin: http://A:80\r\norigin: http://a\r\n", Ok(())),
            ("Origin: null\r\n", Err(OTHER_SITE)),
            ("Origin:\r\n", Err(OTHER_SITE)),
            ("Origin: http://b\r\n", Err(OTHER_SITE)),
            ("Origin: http://a\r\nORIGIN: http://b\r\n", Err(OTHER_SITE)),
        ] {
            for method in ["PUT", "POST", "DELETE"] {
                let (head, buf) = head(method, fields);
                assert_eq!(check_origin(&head, &buf), want, "{fields:?}");
            }
        }
        let text = b"DELETE /1 HTTP/1.0\r\nOrigin: http://a\r\n\r\n";
        let head = parse(text, &HeadLimits::DEFAULT, &mut HeadProgress::default());
        assert_eq!(
            check_origin(&head.unwrap().unwrap(), text),
            Err(OTHER_SITE),
            "a request without Host"
        );
    }

    #[test]
    fn the_refusal_of_a_form_shows_the_right_command() {
        let object = Target::Object { volume: VolumeId(1), key: 2, alt: 3, cookie: 4 };
        let batch = Target::Batch { volume: VolumeId(1) };
        for (method, target, command) in [
            ("PUT", object, "curl -T photo.jpg "),
            ("POST", object, "curl -T photo.jpg "),
            ("POST", Target::Root, "curl --data-binary @photo.jpg "),
            ("POST", Target::Volume { volume: VolumeId(1) }, "curl --data-binary @photo.jpg "),
            ("POST", batch, "curl --data-binary @batch.tar "),
            ("POST", MULTI_DELETE, "curl --data-binary @photos.txt "),
            ("DELETE", object, "curl -X DELETE URL"),
        ] {
            for media_type in [
                "multipart/form-data; boundary=x",
                "Multipart/Form-Data;boundary=x",
                "multipart/form-data",
                "multipart/form-data boundary=x",
                "multipart/form-data, image/jpeg",
                "multipart/related; type=x",
                "multipart/",
                "application/x-www-form-urlencoded",
                "APPLICATION/X-WWW-FORM-URLENCODED ; charset=utf-8",
            ] {
                let (head, buf) = head(method, &format!("Content-Type: {media_type}\r\n"));
                let reject = check_type(&head, &buf, target).unwrap_err();
                assert_eq!(reject.status.code(), 415, "{media_type}");
                assert!(reject.reason.contains(command), "{}", reject.reason);
            }
        }
    }

    #[test]
    fn media_types_other_than_forms_are_accepted() {
        for media_type in [
            "",
            "image/jpeg",
            "text/plain",
            "application/x-tar",
            "application/x-www-form-urlencoded2",
            "x-multipart/form-data",
            "multipart",
            "image/jpeg; x=multipart/form-data",
        ] {
            let (head, buf) = head("PUT", &format!("Content-Type: {media_type}\r\n"));
            assert_eq!(check_type(&head, &buf, Target::Root), Ok(()), "{media_type}");
        }
        let (head, buf) = head("GET", "Content-Type: multipart/form-data\r\n");
        assert_eq!(check_type(&head, &buf, Target::Root), Ok(()), "a read has no body");
    }

    #[test]
    fn multi_delete_is_plain_text() {
        let result_of = |method: &str, fields: &str| {
            let (head, buf) = head(method, fields);
            check_type(&head, &buf, MULTI_DELETE).map_err(|reject| reject.status.code())
        };
        for media_type in ["text/plain", "Text/PLAIN", "text/plain;charset=UTF-8", "text/plain ; x"]
        {
            assert_eq!(result_of("POST", &format!("Content-Type: {media_type}\r\n")), Ok(()));
        }
        assert_eq!(result_of("POST", ""), Err(415));
        for media_type in ["text/html", "text/plain2", "application/json", "text", "*/*", ""] {
            let fields = format!("Content-Type: {media_type}\r\n");
            assert_eq!(result_of("POST", &fields), Err(415), "{media_type:?}");
            assert_eq!(result_of("PUT", &fields), Ok(()), "the method is not allowed");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(
            name in prop::sample::select(&["Origin", "Content-Digest", "Content-MD5", "Content-Type"]),
            value in "[ -~\t]{0,40}",
        ) {
            let (head, buf) = head("PUT", &format!("{name}: {value}\r\n"));
            let _ = (expected_body(&head, &buf).is_ok(), check_type(&head, &buf, Target::Root));
        }
    }
}
