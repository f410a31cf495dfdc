use super::*;
use proptest::prelude::*;

const DATE: &[u8; date::LEN] = b"Sat, 21 Nov 2026 00:00:00 GMT";

fn text(head: &ReplyHead) -> String {
    let mut out = [0; MAX_HEAD_LEN];
    let len = head.write(&mut out);
    assert_eq!(len, head.encoded_len());
    String::from_utf8(out[..len].to_vec()).unwrap()
}

fn object(status: Status) -> ReplyHead<'static> {
    ReplyHead {
        content_length: 70_001,
        content_type: Some(b"image/jpeg"),
        etag: Some(EntityTag::Xxh3(0xff)),
        last_modified: Some(784_111_777),
        accept_ranges: true,
        nosniff: true,
        cache_control: Some(b"public, max-age=86400"),
        volume_writable: Some(true),
        ..ReplyHead::new(status, DATE)
    }
}

#[test]
fn the_head_of_an_object_is_written_in_full() {
    let want = "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
        Content-Length: 70001\r\nETag: \"00000000000000ff\"\r\n\
        Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Cache-Control: public, max-age=86400\r\nContent-Type: image/jpeg\r\n\
        Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n\
        X-Hayloft-Volume: writable\r\n\r\n";
    assert_eq!(text(&object(Status::OK)), want);
}

#[test]
fn expiry_is_sent_with_decimals_if_it_has_any() {
    for (expires_ns, want) in [
        (1_900_000_000_000_000_000, "1900000000"),
        (1_900_000_000_000_000_050, "1900000000.000000050"),
        (0, "0"),
    ] {
        let head = ReplyHead { expires_ns: Some(expires_ns), ..object(Status::OK) };
        assert!(text(&head).contains(&format!("\r\nX-Hayloft-Expires: {want}\r\n")));
    }
    assert!(!text(&object(Status::OK)).contains("X-Hayloft-Expires"));
}

#[test]
fn content_range_is_sent_with_206_and_416() {
    let part = Some(ContentRange::Part { first: 0, last: 9, size: 100 });
    let head = ReplyHead { content_range: part, ..object(Status::PARTIAL_CONTENT) };
    assert!(text(&head).contains("\r\nContent-Range: bytes 0-9/100\r\n"));
    let none = Some(ContentRange::Unsatisfied { size: 100 });
    let head = ReplyHead { content_range: none, ..object(Status::RANGE_NOT_SATISFIABLE) };
    assert!(text(&head).contains("\r\nContent-Range: bytes */100\r\n"));
}

#[test]
fn not_modified_has_validators_and_no_length() {
    let text = text(&object(Status::NOT_MODIFIED));
    for field in ["ETag: ", "Last-Modified: ", "Cache-Control: "] {
        assert!(text.contains(field), "{text}");
    }
    assert!(!text.contains("Content-Length"), "{text}");
}

#[test]
fn content_length_is_sent_unless_the_status_forbids_it() {
    for &status in Status::ALL {
        let text = text(&ReplyHead::new(status, DATE));
        let length = text.contains("\r\nContent-Length: 0\r\n");
        assert_eq!(length, status.has_content_length(), "{text}");
    }
}

#[test]
fn location_and_retry_after_are_sent() {
    let mut head = ReplyHead::new(Status::CREATED, DATE);
    head.location = Some(b"/1/2/3/0123456789abcdef");
    assert!(text(&head).contains("\r\nLocation: /1/2/3/0123456789abcdef\r\n"));
    let mut head = ReplyHead::error(Status::SERVICE_UNAVAILABLE, "draining", DATE);
    head.retry_after = Some(5);
    head.connection = Connection::Close;
    head.volume_writable = Some(false);
    let want = "HTTP/1.1 503 Service Unavailable\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
        Content-Length: 9\r\nContent-Type: text/plain\r\nX-Hayloft-Volume: read-only\r\n\
        Retry-After: 5\r\nConnection: close\r\n\r\n";
    assert_eq!(text(&head), want);
}

#[test]
fn the_connection_field_is_sent_only_if_needed() {
    let mut head = ReplyHead::new(Status::OK, DATE);
    assert!(!text(&head).contains("Connection"));
    head.connection = Connection::KeepAlive;
    assert!(text(&head).contains("\r\nConnection: keep-alive\r\n"));
}

#[test]
fn continue_is_only_a_status_line() {
    assert_eq!(CONTINUE, [Status::CONTINUE.line(), b"\r\n"].concat());
}

#[test]
fn an_error_body_is_one_line() {
    let mut out = [0; 16];
    let len = write_error_body("no such needle", &mut out);
    assert_eq!(&out[..len], b"no such needle\n");
    let head = ReplyHead::error(Status::NOT_FOUND, "no such needle", DATE);
    assert_eq!(head.content_length, len as u64);
}

/// Sets every field to its longest value: `MAX_HEAD_LEN` is exact.
#[test]
fn the_longest_head_has_the_maximum_length() {
    let (size, location) = (u64::MAX, [b'x'; OBJECT_PATH_MAX]);
    let head = ReplyHead {
        status: Status::HEADER_FIELDS_TOO_LARGE,
        date: DATE,
        content_length: u64::MAX,
        content_type: Some(&[b'x'; CONTENT_TYPE_MAX]),
        etag: Some(EntityTag::Xxh3(u64::MAX)),
        last_modified: Some(u64::MAX),
        accept_ranges: true,
        nosniff: true,
        cache_control: Some(&[b'x'; CACHE_CONTROL_MAX]),
        expires_ns: None,
        content_range: Some(ContentRange::Part { first: size, last: size, size }),
        volume_writable: Some(false),
        location: Some(&location),
        retry_after: Some(u32::MAX),
        allow: Some(super::super::target::ALLOW_ANY),
        accept_identity: true,
        instance: Some(u64::MAX),
        more: b"",
        connection: Connection::KeepAlive,
    };
    assert_eq!(text(&head).len(), MAX_HEAD_LEN);
    for &status in Status::ALL {
        assert!(ReplyHead { status, ..head }.encoded_len() <= MAX_HEAD_LEN);
        let expiring = ReplyHead { location: None, expires_ns: Some(u64::MAX), ..head };
        assert!(ReplyHead { status, ..expiring }.encoded_len() <= MAX_HEAD_LEN);
    }
}

#[test]
fn write_before_writes_the_same_head_right_aligned() {
    let mut head = object(Status::OK);
    for length in [0, 9, 10, 999_999, u64::MAX] {
        head.content_length = length;
        let mut buf = [b'#'; MAX_HEAD_LEN + 20];
        let start = head.write_before(&mut buf, MAX_HEAD_LEN + 10);
        assert_eq!(&buf[start..MAX_HEAD_LEN + 10], text(&head).as_bytes());
        assert!(buf[..start].iter().chain(&buf[MAX_HEAD_LEN + 10..]).all(|b| *b == b'#'));
    }
}

#[test]
#[should_panic(expected = "room for the response head")]
fn a_head_that_does_not_fit_panics() {
    let _ = object(Status::OK).write_before(&mut [0; 1024], 50);
}

#[test]
#[should_panic(expected = "unchecked content type")]
fn a_field_value_with_a_line_end_panics() {
    let mut head = ReplyHead::new(Status::OK, DATE);
    head.content_type = Some(b"a/b\r\nX: y");
    let _ = head.write(&mut [0; MAX_HEAD_LEN]);
}

#[test]
fn content_types_and_cache_control_are_printable_and_bounded() {
    for good in ["a", "image/jpeg", "text/plain; charset=\"utf-8\"", "a\tb", &"x".repeat(255)] {
        assert!(valid_content_type(good.as_bytes()), "{good:?}");
    }
    for bad in ["", "a\r\nb", "a\0", "\x7f", "\u{e4}", &"x".repeat(256)] {
        assert!(!valid_content_type(bad.as_bytes()), "{bad:?}");
    }
    assert!(valid_cache_control(&[b'x'; 128]) && !valid_cache_control(&[b'x'; 129]));
}

#[test]
fn further_fields_are_whole_lines() {
    let head = ReplyHead { more: b"A: b\r\nC:\r\n", ..ReplyHead::new(Status::OK, DATE) };
    let mut out = [0; MAX_HEAD_LEN];
    let len = head.write(&mut out);
    assert!(out[..len].ends_with(b"\r\nA: b\r\nC:\r\n\r\n"));
    for lines in ["", "A: b\r\n", "A: \u{e4}\r\nB:c\r\n"] {
        assert!(is_lines(lines.as_bytes()), "{lines:?}");
    }
    for lines in
        ["A", "A: b", "A: b\n", "A: b\r", ": b\r\n", "b\r\n", "\r\n", "A: b\r\n\r\n", "A: \0\r\n"]
    {
        assert!(!is_lines(lines.as_bytes()), "{lines:?}");
    }
}

proptest! {
    /// Both ways of writing agree, and `httparse` parses the result.
    #[test]
    fn every_head_is_well_formed(
        status in proptest::sample::select(Status::ALL),
        content_length: u64,
        content_type in proptest::option::of("[ -~]{1,255}"),
        etag: Option<u64>,
        last_modified: Option<u64>,
        volume_writable: Option<bool>,
        retry_after: Option<u32>,
        accept_ranges: bool,
        end in MAX_HEAD_LEN..2 * MAX_HEAD_LEN,
    ) {
        let etag = etag.map(EntityTag::Xxh3);
        let head = ReplyHead {
            content_length, etag, last_modified, volume_writable, retry_after, accept_ranges,
            content_type: content_type.as_ref().map(|text| text.as_bytes()),
            ..ReplyHead::new(status, DATE)
        };
        let mut buf = [0; 2 * MAX_HEAD_LEN];
        let start = head.write_before(&mut buf, end);
        prop_assert_eq!(buf[start..end].to_vec(), text(&head).into_bytes());
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(&buf[start..end]).unwrap();
        prop_assert_eq!(parsed, httparse::Status::Complete(end - start));
        prop_assert_eq!(response.code, Some(status.code()));
        let count = 1 + usize::from(status.has_content_length()) + usize::from(accept_ranges)
            + [content_type.is_some(), etag.is_some(), last_modified.is_some(),
                volume_writable.is_some(), retry_after.is_some()]
                .into_iter().filter(|&is_set| is_set).count();
        prop_assert_eq!(response.headers.len(), count);
    }
}
