//! Request heads: the parser against a second one that was written from the rules, and against
//! `httparse`, however the bytes arrive.
//!
//! Input: a byte that chooses limits and grammars, then the bytes of a connection.

use hayloft::http::conditional::{Validators, WriteConditions, read};
use hayloft::http::entity_tag::EntityTag;
use hayloft::http::head::{self, Dialects, Head, HeadLimits, HeadProgress, Span};
use hayloft::http::scan::{Event, Scan};
use hayloft::http::{range, target, upload};

use crate::http_oracle::{Seen, oracle_as, path_of_target, seen, sent_target};

/// Small, so that short inputs reach them.
const SMALL: HeadLimits = HeadLimits { head_bytes_max: 400, fields_max: 8, target_bytes_max: 40 };
/// The second parser takes time with the square of the length.
const STREAM_MAX: usize = 600;
/// 2026-11-21, for dates with two digits of the year.
const NOW: u64 = 1_795_219_200;

/// A request, or status and reason of its refusal.
type Verdict = Result<Option<Seen>, (u16, &'static str)>;

/// Runs the target.
pub fn run(data: &[u8]) {
    let Some((&choice, stream)) = data.split_first() else { return };
    let limits = if choice & 1 == 0 { &HeadLimits::DEFAULT } else { &SMALL };
    let dialects = if choice & 2 == 0 { Dialects::Own } else { Dialects::WithFids };
    let stream = &stream[..stream.len().min(STREAM_MAX)];

    let whole = verdict(stream, &[stream.len()], limits, dialects);
    let bytes: Vec<usize> = (0..=stream.len()).collect();
    assert_eq!(verdict(stream, &bytes, limits, dialects), whole, "byte by byte");
    let status = whole.clone().map_err(|(status, _)| status);
    assert_eq!(oracle_as(stream, limits, dialects), status, "the second parser");
    if let Ok(Some(seen)) = whole {
        accepted_by_httparse(stream, &seen, limits);
        accepted(stream, limits, dialects);
    }
}

/// Our verdict on a stream that arrives up to each of `ends` in turn.
fn verdict(stream: &[u8], ends: &[usize], limits: &HeadLimits, dialects: Dialects) -> Verdict {
    let mut progress = HeadProgress::default();
    for &end in ends {
        match head::parse_as(&stream[..end], limits, dialects, &mut progress) {
            Ok(None) => {}
            Ok(Some(head)) => return Ok(Some(seen(&head, &stream[..end]))),
            Err(reject) => return Err((reject.status.code(), reject.reason)),
        }
    }
    Ok(None)
}

fn fields(stream: &[u8], limits: &HeadLimits) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut scan, mut fields) = (Scan::default(), Vec::new());
    while let Event::Field(field) = scan.step(stream, limits).expect("was accepted") {
        fields.push((field.name.of(stream).to_vec(), field.value.of(stream).to_vec()));
    }
    fields
}

/// Whatever we accept, `httparse` accepts, and sees the same in it.
fn accepted_by_httparse(stream: &[u8], seen: &Seen, limits: &HeadLimits) {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    assert_eq!(request.parse(stream), Ok(httparse::Status::Complete(seen.len)));
    assert_eq!(request.method, Some(seen.method.as_str()));
    let target = request.path.expect("a head that is complete").as_bytes();
    assert_eq!(target, sent_target(stream));
    assert_eq!(path_of_target(target), seen.target);
    assert_eq!(request.version, Some(u8::from(!seen.http10)));
    let theirs = request.headers.iter();
    let theirs = theirs.map(|header| (header.name.as_bytes().to_vec(), header.value.to_vec()));
    assert_eq!(theirs.collect::<Vec<_>>(), fields(stream, limits));
}

/// What is promised of a request that was accepted, and what is asked of it next.
fn accepted(stream: &[u8], limits: &HeadLimits, dialects: Dialects) {
    let parsed = head::parse_as(stream, limits, dialects, &mut HeadProgress::default());
    let Ok(Some(head)) = parsed else { unreachable!("it was accepted before") };
    let path = head.target.of(stream);
    assert!(head.len <= stream.len() && head.len <= usize::from(limits.head_bytes_max));
    assert!(stream[..head.len].ends_with(b"\r\n\r\n"));
    assert!(path.starts_with(b"/") && path.len() <= usize::from(limits.target_bytes_max));
    let length = head.content_length;
    assert!(!head.is_chunked || head.is_fid && length.is_none() && head.method.has_body());
    let is_delimited = length.is_some() || head.is_chunked;
    assert!(if head.method.has_body() { is_delimited } else { length.unwrap_or(0) == 0 });
    for value in values(&head) {
        let value = value.of(stream);
        assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)), "{}", value.escape_ascii());
        assert!(!value.starts_with(b" ") && !value.ends_with(b" "));
    }
    spelled(path);
    uploads(&head, stream, limits);
    let object = Validators { etag: EntityTag::Xxh3(1), modified_seconds: NOW };
    let _ = read(&head, stream, object, NOW);
    if let Ok(conditions) = WriteConditions::parse(&head, stream, NOW) {
        assert!(!conditions.is_empty() || conditions.hold(Some(object)) && conditions.hold(None));
    }
    if let Some(value) = head.range {
        for size in [0, 1, 1000, u64::MAX] {
            if let range::RangeResult::Satisfiable { first, last } =
                range::parse(value.of(stream), size)
            {
                assert!(first <= last && last < size);
            }
        }
    }
}

fn values(head: &Head) -> impl Iterator<Item = Span> {
    let fields = [
        head.content_type,
        head.x_hayloft_modified,
        head.x_hayloft_expires,
        head.x_hayloft_attributes,
        head.range,
        head.if_range,
        head.if_match,
        head.if_none_match,
        head.if_modified_since,
        head.if_unmodified_since,
    ];
    fields.into_iter().flatten()
}

/// The rules for uploads see the fields that the parser saw, and panic at none of them.
fn uploads(head: &Head, stream: &[u8], limits: &HeadLimits) {
    let lines = head.lines(stream).map(|(name, value)| (name.to_vec(), value.to_vec()));
    assert_eq!(lines.collect::<Vec<_>>(), fields(stream, limits));
    let foreign = upload::check_origin(head, stream).is_err();
    match upload::expected_body(head, stream) {
        Ok(digests) => {
            assert!(!foreign);
            if let Some(mut verifier) = digests.verifier() {
                verifier.update(stream);
                let _ = verifier.finish();
            }
        }
        Err(reject) => assert_eq!(foreign, reject.status.code() == 403),
    }
    let _ = upload::check_type(head, stream, target::Target::Root);
}

/// A name has one spelling.
fn spelled(path: &[u8]) {
    if let Ok(target::Target::Object { volume, key, alt, cookie }) = target::parse(path) {
        let mut out = [0; target::OBJECT_PATH_MAX];
        let len = target::write_object(volume, key, alt, cookie, &mut out);
        assert_eq!(&out[..len], path);
    }
}
