//! Digests of volumes, and lists with the digests of objects.

use super::answers::still_node;
use super::client::{get, raw};
use super::objects::{lines, list, main_thread, piece};
use crate::base::buckets::Buckets;
use crate::base::types::NeedleId;
use crate::node::control::Refused;

/// A main thread that has nine objects with the keys 0 to 8 and the digests 16 to 24.
fn nine_objects(from: u64) -> crate::node::control::ListedPiece {
    piece(from, 3, from >= 6)
}

#[test]
fn digest_is_sent_after_line_feeds_and_is_the_sum_of_all_objects() {
    let node = still_node();
    let (_admin, addr) = node.start();
    main_thread(node.requests, |request| {
        assert!(!request.deletions, "deletions have no digest");
        Ok(nine_objects(request.from.version))
    });
    let request = "GET /volumes/1/digest?buckets=1 HTTP/1.1\r\nHost: t\r\n\r\n";
    let reply = raw(addr, request);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let all = lines(&reply.body).expect("it is whole");
    let sum: u64 = (16..25).sum();
    let bucket = format!(r#"{{"objects":9,"sum":"{sum:016x}"}}"#);
    let start = r#"{"position":"9","objects":9,"damaged":0,"buckets":["#;
    let expected = format!(r#"{start}{bucket}],"end":true}}"#);
    assert_eq!(all, ["", "", &expected]);

    let reply = raw(addr, "GET /volumes/1/digest HTTP/1.1\r\nHost: t\r\n\r\n");
    let text = lines(&reply.body).expect("it is whole").concat();
    let answer: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let buckets = answer["buckets"].as_array().expect("a list");
    assert_eq!(buckets.len(), 4096);
    for key in 0..9 {
        let bucket = &buckets[Buckets::DEFAULT.of(NeedleId::new(key, 0)) as usize];
        assert!(bucket["objects"].as_u64().unwrap() > 0, "{key}");
    }
}

#[test]
fn digest_that_cannot_go_on_is_cut_and_refusals_have_a_status() {
    let node = still_node();
    let (_admin, addr) = node.start();
    main_thread(node.requests, |request| match request.from.version {
        0 if request.id.0 == 1 => Ok(piece(0, 3, false)),
        0 => Err(Refused::NoSuchVolume(request.id)),
        _ => Err(Refused::Failed("Broke.".into())),
    });
    let reply = raw(addr, "GET /volumes/1/digest HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!((reply.status, lines(&reply.body)), (200, None), "it is cut short");
    assert_eq!(get(addr, "/volumes/2/digest").status, 404);
    let reply = get(addr, "/volumes/1/digest?buckets=3");
    assert_eq!(reply.status, 400);
    assert!(reply.error().contains("a power of two"), "{}", reply.error());
}

#[test]
fn objects_are_listed_with_digests_and_of_some_buckets() {
    let node = still_node();
    let (_admin, addr) = node.start();
    main_thread(node.requests, |request| Ok(nine_objects(request.from.version)));
    let all = list(addr, "/volumes/1/objects?digest").expect("it is whole");
    assert!(all[0].ends_with(r#""large":false,"digest":"0000000000000010"}"#), "{}", all[0]);
    let plain = list(addr, "/volumes/1/objects").expect("it is whole");
    assert!(plain.iter().all(|line| !line.contains("digest")), "{plain:?}");

    let buckets = Buckets::new(4).unwrap();
    let key_of =
        |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_u64();
    for wanted in [vec![0], vec![1, 2]] {
        let names: String = wanted.iter().map(|bucket| format!("&bucket={bucket}")).collect();
        let target = format!("/volumes/1/objects?buckets=4{names}");
        let some = list(addr, &target).expect("it is whole");
        let keys: Vec<u64> = some.iter().filter_map(key_of).collect();
        let is_wanted = |key: &u64| wanted.contains(&buckets.of(NeedleId::new(*key, 0)));
        let expected: Vec<u64> = (0..9).filter(is_wanted).collect();
        assert_eq!(keys, expected);
        assert_eq!(some.last().unwrap(), r#"{"position":"9","end":true}"#);
    }
    // A page has no more objects than it may, and says where it ends.
    let page = list(addr, "/volumes/1/objects?limit=2&buckets=4&bucket=1").expect("it is whole");
    assert!(page.iter().filter_map(key_of).count() <= 2);
}

#[test]
fn digests_need_the_rights_of_records() {
    let node = still_node();
    let (_admin, addr) = node.start();
    main_thread(node.requests, |request| Ok(nine_objects(request.from.version)));
    for target in ["/volumes/1/digest", "/volumes/1/objects?digest"] {
        let from_page = format!("GET {target} HTTP/1.1\r\nHost: t\r\nSec-Fetch-Site: none\r\n\r\n");
        assert_eq!(raw(addr, &from_page).status, 403, "{target}");
        let wrong = format!("GET {target} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer x\r\n\r\n");
        assert_eq!(raw(addr, &wrong).status, 401, "{target}");
    }
    let request = "GET /volumes/1/objects HTTP/1.1\r\nHost: t\r\nSec-Fetch-Site: none\r\n\r\n";
    assert_eq!(raw(addr, request).status, 200, "a list without digests needs none");
    for target in ["/volumes/1/records?digest", "/volumes/1/records?buckets=2&bucket=1"] {
        assert_eq!(get(addr, target).status, 400, "{target}");
    }
}
