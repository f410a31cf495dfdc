//! Conditional requests (RFC 9110 section 13), on small photos and multipart objects.

use super::{Headers, Store, both, put_head, with_foreign_cookie};
use crate::daemon_harness::{bytes, path};

const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Thu, 01 Jan 2099 00:00:00 GMT";
const OTHER: &str = "\"0000000000000000\"";
/// Lengths of a photo in one needle and of a multipart object (bytes).
const SIZES: [usize; 2] = [1000, (1 << 20) + 70_000];

/// Header fields and values of a condition, for a photo with this tag and date, and whether the condition
/// holds for a read (RFC 9110 section 13.1).
fn values<'a>(etag: &'a str, date: &'a str, short: &'a str) -> Vec<(&'static str, &'a str, bool)> {
    match short {
        "IM" => vec![("If-Match", etag, true), ("If-Match", OTHER, false), ("If-Match", "*", true)],
        "IUS" => vec![
            ("If-Unmodified-Since", date, true),
            ("If-Unmodified-Since", FUTURE, true),
            ("If-Unmodified-Since", PAST, false),
        ],
        "INM" => vec![
            ("If-None-Match", etag, false),
            ("If-None-Match", OTHER, true),
            ("If-None-Match", "*", false),
        ],
        _ => vec![
            ("If-Modified-Since", date, false),
            ("If-Modified-Since", PAST, true),
            ("If-Modified-Since", "yesterday", true),
        ],
    }
}

/// RFC 9110 section 13.2.2, for every combination of the four conditions, each present or absent.
#[test]
fn read_conditions_are_evaluated_in_rfc_order() {
    both(|store| {
        for size in SIZES {
            let photo = bytes(1, size);
            let name = path(size as u64);
            let etag = store.create(&name, &photo);
            let date = store.get(&name).header("last-modified").unwrap().to_owned();
            let choices = |short| {
                let mut all = vec![None];
                all.extend(values(&etag, &date, short).into_iter().map(Some));
                all
            };
            let mut client = store.connect();
            for im in choices("IM") {
                for ius in choices("IUS") {
                    for inm in choices("INM") {
                        for ims in choices("IMS") {
                            let all = [im, ius, inm, ims];
                            let headers: Vec<(&str, &str)> = all
                                .iter()
                                .flatten()
                                .map(|(name, value, _)| (*name, *value))
                                .collect();
                            let holds = |c: Option<(&str, &str, bool)>| c.is_none_or(|c| c.2);
                            let proceeds = if im.is_some() { holds(im) } else { holds(ius) };
                            let fresh = if inm.is_some() { holds(inm) } else { holds(ims) };
                            let want = match (proceeds, fresh) {
                                (false, _) => 412,
                                (true, false) => 304,
                                (true, true) => 200,
                            };
                            // HEAD for the multipart object, to save time.
                            let method = if size < 10_000 { "GET" } else { "HEAD" };
                            let got = client.request(method, &name, &headers, None).unwrap();
                            assert_eq!(got.status, want, "{method} {headers:?}");
                            if want == 304 {
                                assert_eq!(got.header("etag"), Some(&etag[..]));
                                assert!(got.header("cache-control").is_some());
                                assert!(got.header("content-length").is_none());
                            }
                        }
                    }
                }
            }
            for (header, value, want) in [
                ("If-None-Match", &etag[..], 304),
                ("If-None-Match", OTHER, 200),
                ("If-Match", OTHER, 412),
                ("If-Modified-Since", &date, 304),
                ("If-Unmodified-Since", PAST, 412),
            ] {
                let got = store.ask("GET", &name, &[(header, value)], None);
                assert_eq!(got.status, want, "{header}");
                assert_eq!(want == 200, got.body == photo, "{header}");
            }
        }
    });
}

#[test]
fn lists_weak_and_malformed_tags_are_handled() {
    both(|store| {
        for size in SIZES {
            let name = path(size as u64);
            let etag = store.create(&name, &bytes(1, size));
            let list = format!("\"x\" ,{etag}");
            let weak = format!("W/{etag}");
            let weak_list = format!("\"x\", W/{etag}");
            for (header, value, want) in [
                ("If-None-Match", &list[..], 304),
                ("If-None-Match", &weak, 304),
                ("If-None-Match", &weak_list, 304),
                ("If-None-Match", "x", 200),
                ("If-None-Match", "\"", 200),
                ("If-Match", &list, 200),
                // If-Match uses the strong comparison.
                ("If-Match", &weak, 412),
                ("If-Match", "x", 412),
                ("If-Unmodified-Since", "x", 200),
                ("If-Modified-Since", "x", 200),
            ] {
                let got = store.ask("HEAD", &name, &[(header, value)], None);
                assert_eq!(got.status, want, "{header}: {value}");
            }
            // A write with a malformed condition is refused.
            for method in ["PUT", "DELETE"] {
                for header in ["If-Match", "If-None-Match", "If-Unmodified-Since"] {
                    let body = (method == "PUT").then_some(&b"x"[..]);
                    let got = store.ask(method, &name, &[(header, "x")], body);
                    assert_eq!(got.status, 400, "{method} {header}");
                }
            }
            assert_eq!(store.ask("HEAD", &name, &[], None).header("etag"), Some(&etag[..]));
        }
    });
}

#[test]
fn if_range_applies_only_to_the_same_photo() {
    both(|store| {
        for size in SIZES {
            let (name, photo) = (path(size as u64), bytes(1, size));
            let etag = store.create(&name, &photo);
            let date = store.get(&name).header("last-modified").unwrap().to_owned();
            let weak = format!("W/{etag}");
            for (value, status) in [
                (&etag[..], 206),
                (&date, 206),
                (OTHER, 200),
                (&weak, 200),
                (PAST, 200),
                (FUTURE, 200),
                ("x", 200),
            ] {
                let headers = [("Range", "bytes=-3"), ("If-Range", value)];
                let got = store.ask("GET", &name, &headers, None);
                assert_eq!(got.status, status, "{value}");
                let want = if status == 206 { &photo[size - 3..] } else { &photo };
                assert!(got.body == want, "{value}");
                // An unsatisfiable range is ignored if If-Range does not match.
                let headers = [("Range", "bytes=9999999-"), ("If-Range", value)];
                let want = if status == 206 { 416 } else { 200 };
                assert_eq!(store.ask("GET", &name, &headers, None).status, want, "{value}");
            }
            // Conditions take precedence over ranges.
            let headers = [("Range", "bytes=0-0"), ("If-None-Match", &etag)];
            assert_eq!(store.ask("GET", &name, &headers, None).status, 304);
            let headers = [("Range", "bytes=9999999-"), ("If-Match", OTHER)];
            assert_eq!(store.ask("GET", &name, &headers, None).status, 412);
        }
    });
}

/// Statuses of a PUT and a DELETE of an existing photo under these conditions, then of a DELETE and a PUT of
/// an absent one.
fn write(store: &Store, name: &str, size: usize, headers: Headers) -> [u16; 4] {
    let new = bytes(2, size);
    let absent = path(999_999);
    let there = [
        store.ask("PUT", name, headers, Some(&new)).status,
        store.ask("DELETE", name, headers, None).status,
    ];
    let gone = [
        store.ask("DELETE", &absent, headers, None).status,
        store.ask("PUT", &absent, headers, Some(&new)).status,
    ];
    for name in [name, &absent] {
        store.ask("DELETE", name, &[], None);
    }
    [there[0], there[1], gone[0], gone[1]]
}

#[test]
fn write_conditions_decide_put_and_delete() {
    both(|store| {
        for size in SIZES {
            let (old, name) = (bytes(1, 500), path(size as u64));
            let new_tag = super::etag_of(&bytes(2, size));
            let old_tag = super::etag_of(&old);
            let either = format!("{old_tag}, {new_tag}");
            let cases: [(Headers, [u16; 4]); 10] = [
                (&[], [204, 204, 404, 201]),
                (&[("If-None-Match", "*")], [412, 412, 404, 201]),
                (&[("If-None-Match", OTHER)], [204, 204, 404, 201]),
                (&[("If-None-Match", &old_tag)], [412, 412, 404, 201]),
                (&[("If-Match", &either)], [204, 204, 404, 412]),
                (&[("If-Match", "*")], [204, 204, 404, 412]),
                (&[("If-Match", OTHER)], [412, 412, 404, 412]),
                (&[("If-Unmodified-Since", FUTURE)], [204, 204, 404, 201]),
                (&[("If-Unmodified-Since", PAST)], [412, 412, 404, 201]),
                // The tag takes precedence over the date; a condition for reads only is ignored.
                (
                    &[
                        ("If-Match", &either),
                        ("If-Unmodified-Since", PAST),
                        ("If-Modified-Since", FUTURE),
                    ],
                    [204, 204, 404, 412],
                ),
            ];
            for (headers, want) in cases {
                store.create(&name, &old);
                assert_eq!(write(store, &name, size, headers), want, "{headers:?}");
            }
            store.create(&name, &old);
            let refused = [("If-None-Match", "*")];
            assert_eq!(store.ask("PUT", &name, &refused, Some(&bytes(2, size))).status, 412);
            assert_eq!(store.get(&name).body, old, "nothing changed");
        }
    });
}

#[test]
fn wrong_name_takes_precedence_over_condition() {
    both(|store| {
        for size in SIZES {
            let (name, photo) = (path(size as u64), bytes(1, size));
            store.create(&name, &photo);
            let foreign = with_foreign_cookie(&name);
            let elsewhere = format!("/9{}", &name[2..]);
            for headers in [[("If-Match", OTHER)], [("If-None-Match", "*")]] {
                for method in ["GET", "HEAD", "DELETE"] {
                    for absent in [&foreign, &elsewhere, &path(5)] {
                        let status = store.ask(method, absent, &headers, None).status;
                        assert_eq!(status, 404, "{method} {absent}");
                    }
                }
                assert_eq!(store.ask("PUT", &foreign, &headers, Some(&photo)).status, 409);
            }
            let head = put_head(&elsewhere, size as u64, "If-Match: \"x\"\r\n");
            let mut client = store.connect();
            client.send(head.as_bytes()).unwrap();
            assert_eq!(client.reply(false).unwrap().status, 404);
        }
    });
}
