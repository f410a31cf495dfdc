//! Conditional requests (RFC 9110 section 13): preconditions and the validators of an object into
//! a decision.
//!
//! Reads and writes differ in what a value that cannot be parsed does. A read may ignore it: at
//! worst the client is sent what it has. A write may not: the condition was there to keep data
//! from being overwritten, so the request is refused.
//!
//! This module does not know where the validators come from. That 404 and 409 go before 412 is up
//! to the caller, who knows them.

use super::date;
use super::digits;
use super::head::{Head, Method, Span};
use super::reject::Reject;

/// What tells one state of an object from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validators {
    /// The number that the strong `ETag` shows in hex.
    pub etag: u64,
    /// `Last-Modified`, in seconds since 1970.
    pub modified_seconds: u64,
}

/// What the conditions of a read come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Send the object.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client wanted.
    Failed,
}

/// Decides a GET or HEAD of an object that exists, in the order of RFC 9110 section 13.2.2; `now`
/// is in seconds since 1970.
#[must_use]
pub fn read(head: &Head, buf: &[u8], object: Validators, now: u64) -> ReadOutcome {
    let value = |span: Option<Span>| span.map(|span| span.of(buf));
    // A list that cannot be parsed names no tag; a date that cannot be must be ignored.
    if let Some(list) = value(head.if_match) {
        if !Tags::parse(list).is_some_and(|tags| tags.contain_strong(object.etag)) {
            return ReadOutcome::Failed;
        }
    } else if let Some(date) = value(head.if_unmodified_since).and_then(|v| date::parse(v, now))
        && object.modified_seconds > date
    {
        return ReadOutcome::Failed;
    }
    if let Some(list) = value(head.if_none_match) {
        if Tags::parse(list).is_some_and(|tags| tags.contain_weak(object.etag)) {
            return ReadOutcome::NotModified;
        }
    } else if let Some(date) = value(head.if_modified_since).and_then(|v| date::parse(v, now))
        && object.modified_seconds <= date
    {
        return ReadOutcome::NotModified;
    }
    ReadOutcome::Proceed
}

/// The `Range` value that counts for a read that proceeds: only with GET (RFC 9110 section 14.2),
/// and only if `If-Range` holds (section 13.1.5).
#[must_use]
pub fn applicable_range<'b>(
    head: &Head,
    buf: &'b [u8],
    object: Validators,
    now: u64,
) -> Option<&'b [u8]> {
    let range = head.range.filter(|_| head.method == Method::Get)?;
    let holds = head.if_range.is_none_or(|span| if_range(span.of(buf), object, now));
    holds.then(|| range.of(buf))
}

/// RFC 9110 section 13.1.5: the strong tag itself, or exactly the date of the last change. That the
/// date is strong (taken at least a second after the change) is for the client to know.
fn if_range(value: &[u8], object: Validators, now: u64) -> bool {
    match value {
        [b'"', tag @ .., b'"'] => tag == digits::hex16(object.etag),
        _ => date::parse(value, now) == Some(object.modified_seconds),
    }
}

/// The preconditions of a PUT, POST or DELETE. They borrow the request head; keep it until the
/// object's state is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteConditions<'a> {
    if_match: Option<Tags<'a>>,
    if_unmodified_since: Option<u64>,
    if_none_match: Option<Tags<'a>>,
}

impl<'a> WriteConditions<'a> {
    /// Reads the preconditions in `head`. One that cannot be parsed is refused with 400, also a
    /// date, which RFC 9110 section 13.1.4 would have ignored. `If-Modified-Since` is for reads
    /// only (section 13.1.3), and `If-Unmodified-Since` does not count beside `If-Match` (section
    /// 13.1.4).
    pub fn parse(head: &Head, buf: &'a [u8], now: u64) -> Result<Self, Reject> {
        let tags = |span: Option<Span>, reason| match span {
            None => Ok(None),
            Some(span) => Tags::parse(span.of(buf)).ok_or(Reject::bad(reason)).map(Some),
        };
        let if_match = tags(head.if_match, "If-Match is malformed")?;
        let if_none_match = tags(head.if_none_match, "If-None-Match is malformed")?;
        let if_unmodified_since = match head.if_unmodified_since.filter(|_| if_match.is_none()) {
            None => None,
            Some(span) => {
                let date = date::parse(span.of(buf), now);
                Some(date.ok_or(Reject::bad("If-Unmodified-Since is malformed"))?)
            }
        };
        Ok(Self { if_match, if_unmodified_since, if_none_match })
    }

    /// Whether there is none, so that the object's state does not matter.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.if_match.is_none()
            && self.if_unmodified_since.is_none()
            && self.if_none_match.is_none()
    }

    /// Whether the write may go ahead; otherwise 412. `None`: there is no such object now.
    ///
    /// Without an object there is no date of its last change, and RFC 9110 section 13.1.4 has
    /// `If-Unmodified-Since` ignored.
    #[must_use]
    pub fn hold(&self, object: Option<Validators>) -> bool {
        let matches = self
            .if_match
            .is_none_or(|tags| object.is_some_and(|object| tags.contain_strong(object.etag)));
        let unmodified = self
            .if_unmodified_since
            .is_none_or(|date| object.is_none_or(|object| object.modified_seconds <= date));
        let none_matches = self
            .if_none_match
            .is_none_or(|tags| object.is_none_or(|object| !tags.contain_weak(object.etag)));
        matches && unmodified && none_matches
    }
}

/// The value of `If-Match` or `If-None-Match`, checked.
#[derive(Clone, Copy, Debug)]
enum Tags<'a> {
    /// `*`: whatever there is.
    Any,
    /// A list of entity tags.
    List(&'a [u8]),
}

impl<'a> Tags<'a> {
    /// `"*" / #entity-tag`. A list without a tag, which the grammar allows, says nothing and is
    /// refused.
    fn parse(value: &'a [u8]) -> Option<Self> {
        if value == b"*" {
            return Some(Self::Any);
        }
        let mut count = 0;
        each_tag(value, |_| count += 1)?;
        (count > 0).then_some(Self::List(value))
    }

    /// RFC 9110 section 8.8.3.2, strong comparison: no weak tag is equal to any.
    fn contain_strong(self, etag: u64) -> bool {
        self.any(etag, |tag| !tag.weak)
    }

    /// RFC 9110 section 8.8.3.2, weak comparison: only what is in the quotes counts.
    fn contain_weak(self, etag: u64) -> bool {
        self.any(etag, |_| true)
    }

    fn any(self, etag: u64, counts: impl Fn(Tag) -> bool) -> bool {
        let Self::List(list) = self else { return true };
        let own = digits::hex16(etag);
        let mut found = false;
        let parsed = each_tag(list, |tag| found |= tag.opaque == own && counts(tag));
        parsed.is_some() && found
    }
}

/// An entity tag (RFC 9110 section 8.8.3).
#[derive(Clone, Copy)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

/// Calls `each` with every tag of a list (RFC 9110 section 5.6.1: empty elements are passed over).
/// `None` if the list is malformed.
fn each_tag<'a>(list: &'a [u8], mut each: impl FnMut(Tag<'a>)) -> Option<()> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut rest = list;
    loop {
        let skipped = rest.iter().take_while(|byte| blank(byte) || **byte == b',').count();
        rest = &rest[skipped..];
        if rest.is_empty() {
            return Some(());
        }
        let weak = rest.starts_with(b"W/");
        rest = rest.strip_prefix(b"W/").unwrap_or(rest).strip_prefix(b"\"")?;
        let (opaque, behind) = rest.split_at(rest.iter().position(|&byte| byte == b'"')?);
        if !opaque.iter().all(|&byte| is_etagc(byte)) {
            return None;
        }
        each(Tag { weak, opaque });
        rest = &behind[1..];
        // The next element begins behind a comma.
        let next = rest.iter().find(|byte| !blank(byte));
        if next.is_some_and(|&byte| byte != b',') {
            return None;
        }
    }
}

/// etagc = %x21 / %x23-7E / obs-text
fn is_etagc(byte: u8) -> bool {
    byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{self, HeadLimits, HeadProgress};
    use proptest::prelude::*;

    const NOW: u64 = 1_795_219_200;
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const OURS: &str = "\"00000000000000ff\"";
    const OBJECT: Validators = Validators { etag: 0xff, modified_seconds: 784_111_777 };

    fn request(method: &str, fields: &[(&str, &str)]) -> (Head, Vec<u8>) {
        let fields: String = fields.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let text = format!("{method} / HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n{fields}\r\n");
        let buf = text.into_bytes();
        let head = head::parse(&buf, &HeadLimits::DEFAULT, &mut HeadProgress::default());
        (head.unwrap().unwrap(), buf)
    }

    fn get(fields: &[(&str, &str)]) -> u16 {
        let (head, buf) = request("GET", fields);
        let outcome = read(&head, &buf, OBJECT, NOW);
        assert_eq!(
            outcome,
            read(&request("HEAD", fields).0, &request("HEAD", fields).1, OBJECT, NOW)
        );
        match outcome {
            ReadOutcome::Proceed => 200,
            ReadOutcome::NotModified => 304,
            ReadOutcome::Failed => 412,
        }
    }

    fn put(fields: &[(&str, &str)], object: Option<Validators>) -> u16 {
        let (head, buf) = request("PUT", fields);
        match WriteConditions::parse(&head, &buf, NOW) {
            Err(reject) => reject.status.code(),
            Ok(conditions) if conditions.hold(object) => 200,
            Ok(_) => 412,
        }
    }

    #[test]
    fn no_condition() {
        assert_eq!(get(&[]), 200);
        assert_eq!(put(&[], None), 200);
        let (head, buf) = request("PUT", &[("If-Modified-Since", "x")]);
        assert!(WriteConditions::parse(&head, &buf, NOW).unwrap().is_empty());
        let (head, buf) = request("PUT", &[("If-Match", "*")]);
        assert!(!WriteConditions::parse(&head, &buf, NOW).unwrap().is_empty());
    }

    #[test]
    fn if_none_match_on_reads() {
        let weak = format!("W/{OURS}");
        let list = format!("\"x\" ,, W/\"y,z\",{OURS}");
        for (value, want) in [
            (OURS, 304),
            (&weak, 304),
            (&list, 304),
            ("*", 304),
            ("\"x\"", 200),
            ("\"\"", 200),
            ("\"00000000000000FF\"", 200),
            ("00000000000000ff", 200),
        ] {
            assert_eq!(get(&[("If-None-Match", value)]), want, "{value:?}");
        }
        // Malformed as a whole: matches nothing, and a date beside it still does not count.
        let broken = format!("{OURS}, x");
        assert_eq!(get(&[("If-None-Match", &broken), ("If-Modified-Since", AFTER)]), 200);
    }

    #[test]
    fn if_match_on_reads() {
        let weak = format!("W/{OURS}");
        let list = format!("\"x\", {OURS}");
        for (value, want) in [
            (OURS, 200),
            (&list, 200),
            ("*", 200),
            (&weak, 412),
            ("\"x\"", 412),
            ("", 412),
            ("x", 412),
        ] {
            assert_eq!(get(&[("If-Match", value)]), want, "{value:?}");
        }
    }

    #[test]
    fn dates_on_reads() {
        for (value, since, unless) in
            [(BEFORE, 200, 412), (SAME, 304, 200), (AFTER, 304, 200), ("yesterday", 200, 200)]
        {
            assert_eq!(get(&[("If-Modified-Since", value)]), since, "{value:?}");
            assert_eq!(get(&[("If-Unmodified-Since", value)]), unless, "{value:?}");
        }
        assert_eq!(get(&[("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT")]), 304);
        assert_eq!(get(&[("If-Modified-Since", "Sun Nov  6 08:49:37 1994")]), 304);
    }

    /// RFC 9110 section 13.2.2, step by step.
    #[test]
    fn precedence_on_reads() {
        let (no, yes) = ("\"x\"", OURS);
        for (fields, want) in [
            ([("If-Match", yes), ("If-Unmodified-Since", BEFORE)], 200),
            ([("If-Match", no), ("If-None-Match", yes)], 412),
            ([("If-Match", yes), ("If-None-Match", yes)], 304),
            ([("If-Unmodified-Since", BEFORE), ("If-None-Match", yes)], 412),
            ([("If-Unmodified-Since", AFTER), ("If-Modified-Since", AFTER)], 304),
            ([("If-None-Match", no), ("If-Modified-Since", AFTER)], 200),
            ([("If-None-Match", yes), ("If-Modified-Since", BEFORE)], 304),
        ] {
            assert_eq!(get(&fields), want, "{fields:?}");
        }
    }

    #[test]
    fn conditions_on_writes() {
        let weak = format!("W/{OURS}");
        for (name, value, there, absent) in [
            ("If-None-Match", "*", 412, 200),
            ("If-None-Match", OURS, 412, 200),
            ("If-None-Match", &weak, 412, 200),
            ("If-None-Match", "\"x\"", 200, 200),
            ("If-Match", "*", 200, 412),
            ("If-Match", OURS, 200, 412),
            ("If-Match", &weak, 412, 412),
            ("If-Match", "\"x\"", 412, 412),
            ("If-Unmodified-Since", BEFORE, 412, 200),
            ("If-Unmodified-Since", SAME, 200, 200),
            ("If-Modified-Since", AFTER, 200, 200),
            ("If-Modified-Since", "x", 200, 200),
        ] {
            assert_eq!(put(&[(name, value)], Some(OBJECT)), there, "{name}: {value}");
            assert_eq!(put(&[(name, value)], None), absent, "{name}: {value}");
        }
        let both = [("If-Match", OURS), ("If-None-Match", OURS)];
        assert_eq!(put(&both, Some(OBJECT)), 412);
        assert_eq!(put(&[("If-Match", OURS), ("If-Unmodified-Since", BEFORE)], Some(OBJECT)), 200);
    }

    #[test]
    fn a_write_with_a_broken_condition_is_refused() {
        for value in [
            "",
            ",",
            "x",
            "\"x",
            "x\"",
            "\"a\" \"b\"",
            "\"a\", b",
            "w/\"a\"",
            "W/ \"a\"",
            "*, \"a\"",
            "\"a\", *",
            "**",
            "'a'",
            "\"a b\"",
            "\"a\"\"b\"",
            "W/",
        ] {
            for name in ["If-Match", "If-None-Match"] {
                assert_eq!(put(&[(name, value)], Some(OBJECT)), 400, "{name}: {value:?}");
                assert_eq!(put(&[(name, value)], None), 400, "{name}: {value:?}");
            }
        }
        for value in ["", "yesterday", "Sun, 32 Nov 1994 08:49:37 GMT"] {
            assert_eq!(put(&[("If-Unmodified-Since", value)], None), 400, "{value:?}");
        }
        // Beside If-Match the date does not count, whatever it is.
        let fields = [("If-Unmodified-Since", "x"), ("If-Match", OURS)];
        assert_eq!(put(&fields, Some(OBJECT)), 200);
    }

    #[test]
    fn when_a_range_counts() {
        let range = ("Range", "bytes=0-1");
        let counts = |method, fields: &[(&str, &str)]| {
            let (head, buf) = request(method, fields);
            applicable_range(&head, &buf, OBJECT, NOW).is_some()
        };
        let weak = format!("W/{OURS}");
        assert!(counts("GET", &[range]));
        assert!(!counts("HEAD", &[range]));
        assert!(!counts("GET", &[]) && !counts("GET", &[("If-Range", OURS)]));
        for (value, want) in [
            (OURS, true),
            (SAME, true),
            ("Sunday, 06-Nov-94 08:49:37 GMT", true),
            (BEFORE, false),
            (AFTER, false),
            (&weak, false),
            ("\"x\"", false),
            ("*", false),
            ("\"", false),
            ("", false),
        ] {
            assert_eq!(counts("GET", &[range, ("If-Range", value)]), want, "{value:?}");
        }
        let list = format!("{OURS}, {OURS}");
        assert!(!counts("GET", &[range, ("If-Range", &list)]));
    }

    proptest! {
        /// A list made of known tags is found to hold just these.
        #[test]
        fn lists_hold_what_they_name(
            tags in proptest::collection::vec((any::<bool>(), 0u64..4), 1..6),
            gaps in proptest::collection::vec("[ \t]{0,2}(,[ \t]?){1,2}", 6),
            etag in 0u64..4,
        ) {
            let mut list = String::new();
            for ((weak, tag), gap) in tags.iter().zip(&gaps) {
                let weak = if *weak { "W/" } else { "" };
                list += &format!("{weak}\"{tag:016x}\"{gap}");
            }
            let parsed = Tags::parse(list.as_bytes()).unwrap();
            let weak = tags.iter().any(|(_, tag)| *tag == etag);
            let strong = tags.iter().any(|(weak, tag)| !weak && *tag == etag);
            prop_assert_eq!((parsed.contain_weak(etag), parsed.contain_strong(etag)), (weak, strong));
        }

        #[test]
        fn no_list_panics(list in "[Ww/\", *a\u{e4}]{0,12}") {
            let _ = Tags::parse(list.as_bytes());
        }
    }
}
