//! Conditional requests (RFC 9110 section 13): evaluates preconditions against the validators of an
//! object.
//!
//! Reads and writes treat a malformed value differently. A read ignores it: at worst the client receives
//! data that it already has. A write is refused: the condition was there to prevent an overwrite.
//!
//! This module does not know where the validators come from. The caller makes sure that 404 and 409 take
//! precedence over 412.

use super::date;
use super::digits;
use super::entity_tag::{EntityTag, TAG_MAX};
use super::head::{Head, Method, Span};
use super::reject::Reject;

/// Validators of an object (RFC 9110 section 8.8): they distinguish its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validators {
    /// The strong `ETag`.
    pub etag: EntityTag,
    /// `Last-Modified`, in seconds since 1970.
    pub modified_seconds: u64,
}

/// Result of the preconditions of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Send the object.
    Proceed,
    /// 304: the client has the current version.
    NotModified,
    /// 412: a precondition is false.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD of an existing object, in the order of RFC 9110 section
/// 13.2.2; `now` is in seconds since 1970.
#[must_use]
pub fn read(head: &Head, buf: &[u8], object: Validators, now: u64) -> ReadOutcome {
    let value = |span: Option<Span>| span.map(|span| span.of(buf));
    // A malformed list contains no tag; a malformed date must be ignored.
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

/// Returns the value of `Range` if it applies to a read that proceeds: only to GET (RFC 9110 section 14.2),
/// and only if `If-Range` is true (section 13.1.5).
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

/// RFC 9110 section 13.1.5: the strong tag itself, or exactly the date of the last change. The client is
/// responsible for using a strong date (one at least a second after the change).
fn if_range(value: &[u8], object: Validators, now: u64) -> bool {
    match value {
        [b'"', tag @ .., b'"'] => object.etag.is(tag),
        _ => date::parse(value, now) == Some(object.modified_seconds),
    }
}

/// Preconditions of a PUT, POST or DELETE. They do not borrow the request head, which is gone when the
/// object's state is known. Only lists of entity tags allocate.
#[derive(Clone, Debug, Default)]
pub struct WriteConditions {
    if_match: Option<OwnedTags>,
    if_unmodified_since: Option<u64>,
    if_none_match: Option<OwnedTags>,
}

impl WriteConditions {
    /// Parses the preconditions in `head`; `now` is in seconds since 1970. `If-Modified-Since` applies to
    /// reads only (RFC 9110 section 13.1.3), and `If-Unmodified-Since` is ignored if there is an `If-Match`
    /// (section 13.1.4).
    ///
    /// # Errors
    /// 400 for a malformed value, also for a malformed date, which section 13.1.4 says to ignore.
    pub fn parse(head: &Head, buf: &[u8], now: u64) -> Result<Self, Reject> {
        let tags = |span: Option<Span>, reason| match span {
            None => Ok(None),
            Some(span) => OwnedTags::parse(span.of(buf)).ok_or(Reject::bad(reason)).map(Some),
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

    /// The precondition that the object, if it exists, has other bytes than those with this tag.
    #[must_use]
    pub fn unless_same(etag: u64) -> Self {
        let tags = OwnedTags::List([OwnedTag { weak: false, etag }].into());
        Self { if_none_match: Some(tags), ..Self::default() }
    }

    /// Returns whether there are no preconditions, so that the object's state does not matter.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.if_match.is_none()
            && self.if_unmodified_since.is_none()
            && self.if_none_match.is_none()
    }

    /// Returns the preconditions, or `None` if there are none.
    #[must_use]
    pub fn non_empty(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    /// Returns whether all preconditions are true; otherwise the reply is 412. `object` is `None` if no
    /// such object exists.
    ///
    /// `If-Unmodified-Since` is ignored then, since there is no date of a last change (RFC 9110 section
    /// 13.1.4).
    #[must_use]
    pub fn hold(&self, object: Option<Validators>) -> bool {
        let matches = self
            .if_match
            .as_ref()
            .is_none_or(|tags| object.is_some_and(|object| tags.contain_strong(object.etag)));
        let unmodified = self
            .if_unmodified_since
            .is_none_or(|date| object.is_none_or(|object| object.modified_seconds <= date));
        let none_matches = self
            .if_none_match
            .as_ref()
            .is_none_or(|tags| object.is_none_or(|object| !tags.contain_weak(object.etag)));
        matches && unmodified && none_matches
    }
}

/// A well-formed value of `If-Match` or `If-None-Match`.
#[derive(Clone, Copy, Debug)]
enum Tags<'a> {
    /// `*`: any version of the object.
    Any,
    /// A list of entity tags.
    List(&'a [u8]),
}

impl<'a> Tags<'a> {
    /// Parses `"*" / #entity-tag`. A list without a tag, which the grammar allows, is refused as
    /// meaningless.
    fn parse(value: &'a [u8]) -> Option<Self> {
        if value == b"*" {
            return Some(Self::Any);
        }
        let mut count = 0;
        each_tag(value, |_| count += 1)?;
        (count > 0).then_some(Self::List(value))
    }

    /// RFC 9110 section 8.8.3.2, strong comparison: a weak tag equals no other.
    fn contain_strong(self, etag: EntityTag) -> bool {
        self.any(etag, |tag| !tag.weak)
    }

    /// RFC 9110 section 8.8.3.2, weak comparison: compares only the text between the quotes.
    fn contain_weak(self, etag: EntityTag) -> bool {
        self.any(etag, |_| true)
    }

    fn any(self, etag: EntityTag, is_comparable: impl Fn(Tag) -> bool) -> bool {
        let Self::List(list) = self else { return true };
        let mut text = [0; TAG_MAX];
        let own = etag.text(&mut text);
        let mut found = false;
        let parsed = each_tag(list, |tag| found |= tag.opaque == own && is_comparable(tag));
        parsed.is_some() && found
    }
}

/// A well-formed value of `If-Match` or `If-None-Match` that does not borrow the request head.
#[derive(Clone, Debug)]
enum OwnedTags {
    /// `*`: any version of the object.
    Any,
    /// Entity tags that an object can have. Others are omitted, since they match nothing.
    List(Box<[OwnedTag]>),
}

/// An entity tag that an object can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnedTag {
    weak: bool,
    etag: u64,
}

impl OwnedTags {
    /// Parses what [`Tags::parse`] accepts.
    fn parse(value: &[u8]) -> Option<Self> {
        let Tags::List(list) = Tags::parse(value)? else { return Some(Self::Any) };
        let mut tags = Vec::new();
        each_tag(list, |Tag { weak, opaque }| {
            tags.extend(digits::parse_hex16(opaque).map(|etag| OwnedTag { weak, etag }));
        })?;
        Some(Self::List(tags.into()))
    }

    /// See [`Tags::contain_strong`].
    fn contain_strong(&self, etag: EntityTag) -> bool {
        self.any(etag, |tag| !tag.weak)
    }

    /// See [`Tags::contain_weak`].
    fn contain_weak(&self, etag: EntityTag) -> bool {
        self.any(etag, |_| true)
    }

    fn any(&self, etag: EntityTag, is_comparable: impl Fn(&OwnedTag) -> bool) -> bool {
        let is_own = |tag: &OwnedTag| EntityTag::Xxh3(tag.etag) == etag && is_comparable(tag);
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(is_own),
        }
    }
}

/// An entity tag (RFC 9110 section 8.8.3).
#[derive(Clone, Copy)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

/// Calls `each` with every tag of a list; empty elements are skipped (RFC 9110 section 5.6.1). Returns
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
        let (opaque, after) = rest.split_at(rest.iter().position(|&byte| byte == b'"')?);
        if !opaque.iter().all(|&byte| is_etagc(byte)) {
            return None;
        }
        each(Tag { weak, opaque });
        rest = &after[1..];
        // A comma separates elements.
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
    const OBJECT: Validators =
        Validators { etag: EntityTag::Xxh3(0xff), modified_seconds: 784_111_777 };

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
    fn a_request_without_preconditions_proceeds() {
        assert_eq!(get(&[]), 200);
        assert_eq!(put(&[], None), 200);
        let (head, buf) = request("PUT", &[("If-Modified-Since", "x")]);
        assert!(WriteConditions::parse(&head, &buf, NOW).unwrap().is_empty());
        let (head, buf) = request("PUT", &[("If-Match", "*")]);
        assert!(!WriteConditions::parse(&head, &buf, NOW).unwrap().is_empty());
    }

    #[test]
    fn if_none_match_compares_weakly_on_reads() {
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
        // A malformed list matches nothing, and the date is ignored as beside a well-formed list.
        let broken = format!("{OURS}, x");
        assert_eq!(get(&[("If-None-Match", &broken), ("If-Modified-Since", AFTER)]), 200);
    }

    #[test]
    fn of_all_field_bytes_only_space_and_quote_break_a_tag() {
        for byte in (b' '..=u8::MAX).filter(|byte| *byte != 0x7f) {
            let value = [b"\"", &[byte][..], b"\", ", OURS.as_bytes()].concat();
            let mut buf = b"GET / HTTP/1.1\r\nHost:\r\nIf-None-Match: ".to_vec();
            buf.extend_from_slice(&value);
            buf.extend_from_slice(b"\r\n\r\n");
            let head = head::parse(&buf, &HeadLimits::DEFAULT, &mut HeadProgress::default());
            let outcome = read(&head.unwrap().unwrap(), &buf, OBJECT, NOW);
            // A space and a quotation mark make the whole list malformed.
            let expected = match byte {
                b' ' | b'"' => ReadOutcome::Proceed,
                _ => ReadOutcome::NotModified,
            };
            assert_eq!(outcome, expected, "{byte:#x}");
        }
    }

    /// No request has one: a head with this byte is refused before.
    #[test]
    fn delete_character_breaks_a_tag() {
        assert!(Tags::parse(b"\"\x7f\"").is_none());
        assert!(OwnedTags::parse(b"\"\x7f\"").is_none());
        assert!(Tags::parse(b"\"~\"").is_some() && OwnedTags::parse(b"\"~\"").is_some());
    }

    #[test]
    fn if_match_compares_strongly_on_reads() {
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
    fn dates_are_compared_on_reads_and_ignored_if_malformed() {
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
    fn reads_evaluate_preconditions_in_the_order_of_the_rfc() {
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
    fn writes_evaluate_preconditions_with_and_without_an_object() {
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
    fn a_write_with_a_malformed_precondition_is_refused() {
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
        // With If-Match the date is ignored, even a malformed one.
        let fields = [("If-Unmodified-Since", "x"), ("If-Match", OURS)];
        assert_eq!(put(&fields, Some(OBJECT)), 200);
    }

    #[test]
    fn a_range_applies_to_get_if_if_range_is_true() {
        let range = ("Range", "bytes=0-1");
        let applies = |method, fields: &[(&str, &str)]| {
            let (head, buf) = request(method, fields);
            applicable_range(&head, &buf, OBJECT, NOW).is_some()
        };
        let weak = format!("W/{OURS}");
        assert!(applies("GET", &[range]));
        assert!(!applies("HEAD", &[range]));
        assert!(!applies("GET", &[]) && !applies("GET", &[("If-Range", OURS)]));
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
            assert_eq!(applies("GET", &[range, ("If-Range", value)]), want, "{value:?}");
        }
        let list = format!("{OURS}, {OURS}");
        assert!(!applies("GET", &[range, ("If-Range", &list)]));
    }

    proptest! {
        /// A generated list contains exactly the tags that it was made of.
        #[test]
        fn lists_contain_exactly_their_tags(
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
            let etag = EntityTag::Xxh3(etag);
            prop_assert_eq!((parsed.contain_weak(etag), parsed.contain_strong(etag)), (weak, strong));
            let owned = OwnedTags::parse(list.as_bytes()).unwrap();
            prop_assert_eq!((owned.contain_weak(etag), owned.contain_strong(etag)), (weak, strong));
        }

        #[test]
        fn no_list_panics(list in "[Ww/\", *a\u{e4}]{0,12}") {
            let (borrowed, owned) =
                (Tags::parse(list.as_bytes()), OwnedTags::parse(list.as_bytes()));
            prop_assert_eq!(borrowed.is_some(), owned.is_some());
        }
    }
}
