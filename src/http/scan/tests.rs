use super::*;

/// All events of `bytes`, received at once.
fn events(bytes: &[u8]) -> Result<Vec<(String, String)>, Reject> {
    let mut scan = Scan::default();
    let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
    let mut fields = Vec::new();
    loop {
        match scan.step(bytes, &HeadLimits::DEFAULT)? {
            Event::More => return Ok(fields),
            Event::Field(field) => fields.push((text(field.name), text(field.value))),
            Event::End => {
                fields.push(("end".to_owned(), scan.consumed().to_string()));
                return Ok(fields);
            }
        }
    }
}

#[test]
fn parts_of_the_request_line_are_known_when_they_have_been_seen_whole() {
    let bytes = b"GET http://a/b HTTP/1.1\r\n";
    for len in 0..=bytes.len() {
        let mut scan = Scan::default();
        let step = scan.step(&bytes[..len], &HeadLimits::DEFAULT);
        assert!(matches!(step, Ok(Event::More)));
        let text = |span: Option<Span>| span.map(|span| span.of(bytes));
        assert_eq!(text(scan.method_span()), (len >= 4).then_some(&b"GET"[..]), "{len}");
        assert_eq!(text(scan.authority_span()), (len >= 13).then_some(&b"a"[..]), "{len}");
        assert_eq!(text(scan.target_span()), (len >= 15).then_some(&b"/b"[..]), "{len}");
    }
}

#[test]
fn fields_are_returned_one_by_one_with_trimmed_values() {
    let got = events(b"GET / HTTP/1.1\r\nA:\t b c \t\r\nb-1:\r\nC:  \r\n\r\nrest").unwrap();
    let want = [("A", "b c"), ("b-1", ""), ("C", ""), ("end", "41")];
    assert_eq!(got, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn byte_classes_are_those_of_the_rfc() {
    for byte in 0..=255u8 {
        let tchar = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(is(byte, TCHAR), tchar, "{byte:#x}");
        let value = byte == b'\t' || byte == b' ' || byte.is_ascii_graphic() || byte >= 0x80;
        assert_eq!(is(byte, VALUE), value, "{byte:#x}");
        let target = byte.is_ascii_graphic() && !b"\"#<>[\\]^`{|}".contains(&byte);
        assert_eq!(is(byte, TARGET), target, "{byte:#x}");
        let host = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte);
        assert_eq!(is(byte, HOST), host, "{byte:#x}");
    }
}

#[test]
fn a_target_is_a_path_with_or_without_a_host() {
    for (target, authority, path) in [
        ("/1", None, "/1"),
        ("/http://a/", None, "/http://a/"),
        ("http://a/1/2?x", Some("a"), "/1/2?x"),
        ("HTTP://A:80/", Some("A:80"), "/"),
        ("http://[::1]:80/1", Some("[::1]:80"), "/1"),
        ("http://a//b", Some("a"), "//b"),
        ("http://a", Some("a"), "/"),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\n");
        let bytes = bytes.as_bytes();
        let mut scan = Scan::default();
        for end in 0..=bytes.len() {
            assert_eq!(scan.step(&bytes[..end], &HeadLimits::DEFAULT), Ok(Event::More));
        }
        let text = |span: Option<Span>| span.map(|span| str::from_utf8(span.of(bytes)).unwrap());
        assert_eq!(text(scan.authority_span()), authority, "{target}");
        assert_eq!(text(scan.target_span()), Some(path), "{target}");
    }
}

#[test]
fn a_discarded_blank_line_counts_toward_the_size_limit() {
    let mut head = b"\r\nGET / HTTP/1.1\r\nA: ".to_vec();
    head.resize(usize::from(HeadLimits::DEFAULT.head_bytes_max) - 4, b'a');
    for too_long in [false, true] {
        let bytes = [&head[..], if too_long { &b"a"[..] } else { b"" }, b"\r\n\r\n"].concat();
        for (mut scan, bytes) in
            [(Scan::default(), &bytes[..]), (Scan::after_blank_line(), &bytes[2..])]
        {
            let first = scan.step(bytes, &HeadLimits::DEFAULT);
            let end = first.and_then(|_| scan.step(bytes, &HeadLimits::DEFAULT));
            assert_eq!(
                end.map_err(|reject| reject.status.code()),
                if too_long { Err(431) } else { Ok(Event::End) }
            );
        }
    }
    let second = Scan::after_blank_line().step(b"\r\n", &HeadLimits::DEFAULT);
    assert_eq!(second.unwrap_err().status.code(), 400);
}

#[test]
fn an_error_is_reported_at_its_byte() {
    for (bytes, faulty) in [
        ("\x16\x03\x01", 1),
        ("\r\n\r", 3),
        ("GET\t", 4),
        ("GET  ", 5),
        ("GET ftp://", 5),
        ("GET https://", 9),
        ("GET http:///", 12),
        ("GET http://a@", 13),
        ("GET http://a?", 13),
        ("GET /a\r", 7),
        ("GET / http", 7),
        ("GET / HTTP/1.10", 15),
        ("GET / HTTP/1.1\n", 15),
        ("GET / HTTP/1.1\r\n A", 17),
        ("GET / HTTP/1.1\r\nA :", 18),
        ("GET / HTTP/1.1\r\nA: \0", 20),
        ("GET / HTTP/1.1\r\nA: \r\r", 21),
        ("GET / HTTP/1.1\r\n\r\r", 18),
    ] {
        assert!(events(&bytes.as_bytes()[..faulty - 1]).is_ok(), "{bytes:?}");
        let reject = events(&bytes.as_bytes()[..faulty]).unwrap_err();
        assert_eq!(reject.status, Status::BAD_REQUEST, "{bytes:?}");
    }
}

#[test]
fn bytes_received_one_by_one_are_consumed_at_once() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n";
    let mut scan = Scan::default();
    for end in 1..=head.len() {
        while scan.step(&head[..end], &HeadLimits::DEFAULT).unwrap() != Event::More {}
        assert_eq!(scan.consumed(), end);
    }
}
