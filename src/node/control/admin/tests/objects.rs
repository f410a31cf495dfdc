//! Lists of objects: a stream that is made while it is read.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::answers::still_node;
use super::client::{connect, get, raw};
use super::{TestNode, fake_clock};
use crate::base::stream_position::StreamPosition;
use crate::base::types::{NeedleId, VolumeId};
use crate::node::control::admin::AdminLimits;
use crate::node::control::{
    ControlRequest, ListAnswer, ListRequest, ListedObject, ListedPiece, ListedState, Refused,
};

fake_clock!(still);

fn object(key: u64) -> ListedObject {
    ListedObject {
        state: ListedState::Live,
        id: NeedleId::new(key, 0),
        version: key + 1,
        modified_ns: Some(0),
        expires_ns: None,
        size: Some(1),
        content_type: None,
        is_large: false,
        digest: Some(key + 16),
    }
}

/// A piece of `count` objects behind `version`.
pub(super) fn piece(version: u64, count: u64, is_end: bool) -> ListedPiece {
    let next = StreamPosition { version: version + count, place: None };
    ListedPiece { objects: (version..version + count).map(object).collect(), next, is_end }
}

/// Runs a main thread that answers each request with `answer`.
pub(super) fn main_thread(
    requests: Receiver<ControlRequest>,
    mut answer: impl FnMut(&ListRequest) -> ListAnswer + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        while let Ok(request) = requests.recv() {
            let ControlRequest::List(request) = request else { panic!("{request:?}") };
            let answered = answer(&request);
            request.answer(answered);
        }
    })
}

/// Returns the lines of a chunked body; `None` if it was cut short.
pub(super) fn lines(body: &str) -> Option<Vec<String>> {
    let (mut rest, mut text) = (body, String::new());
    loop {
        let (len, after) = rest.split_once("\r\n")?;
        let len = usize::from_str_radix(len, 16).ok()?;
        if len == 0 {
            return Some(text.lines().map(str::to_owned).collect());
        }
        text += after.get(..len)?;
        rest = after.get(len..)?.strip_prefix("\r\n")?;
    }
}

pub(super) fn list(addr: SocketAddr, target: &str) -> Option<Vec<String>> {
    let reply = raw(addr, &format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(reply.header("connection"), Some("close"));
    lines(&reply.body)
}

#[test]
fn list_is_made_of_pieces_and_ends_with_its_position() {
    let node = still_node();
    let (admin, addr) = node.start();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let main = main_thread(node.requests, move |request| {
        let ListRequest { id, from, deletions, objects_max, .. } = request;
        seen.lock().unwrap().push((*id, from.version, *deletions, *objects_max));
        let count = 3.min(*objects_max as u64);
        Ok(piece(from.version, count, from.version >= 6))
    });
    drop(node.state);

    let all = list(addr, "/volumes/4/objects").expect("it is whole");
    assert_eq!(all.len(), 9 + 3, "{all:?}");
    assert_eq!(all[3], r#"{"position":"3"}"#);
    assert_eq!(all[11], r#"{"position":"9","end":true}"#);
    let page = list(addr, "/volumes/4/objects?since=1&limit=4&deleted").expect("it is whole");
    assert_eq!(page.len(), 4 + 2, "{page:?}");
    assert_eq!(page[5], r#"{"position":"5","end":false}"#);
    let reply = raw(addr, "HEAD /volumes/4/objects HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!((reply.status, &reply.body[..]), (200, ""));

    admin.shutdown().expect("stops");
    main.join().expect("ends");
    let asked = asked.lock().unwrap();
    let four = VolumeId(4);
    let expected = [(four, 0, false, 2000), (four, 3, false, 2000), (four, 6, false, 2000)];
    assert_eq!(asked[..3], expected);
    assert_eq!(asked[3..5], [(four, 1, true, 4), (four, 4, true, 1)]);
}

#[test]
fn refusals_of_the_first_piece_have_a_status() {
    let node = still_node();
    let (_admin, addr) = node.start();
    let refusals = [
        (Refused::NoSuchVolume(VolumeId(0)), 404),
        (Refused::Gone("Behind.".into()), 410),
        (Refused::Unavailable("No buffer.".into()), 503),
        (Refused::Conflict("Recovering.".into()), 409),
    ];
    let all = refusals.clone();
    main_thread(node.requests, move |request| Err(all[request.id.0 as usize].0.clone()));
    for (n, (refused, status)) in refusals.iter().enumerate() {
        let reply = get(addr, &format!("/volumes/{n}/objects"));
        assert_eq!(reply.status, *status);
        assert_eq!(reply.error(), refused.to_string());
    }
    let reply = get(addr, "/volumes/1/objects?cookies");
    assert_eq!(reply.status, 400);
    assert!(reply.error().contains("not cookies"), "{}", reply.error());
}

#[test]
fn list_that_cannot_go_on_is_cut_and_waits_for_buffers_before() {
    let limits = AdminLimits {
        stream_attempts: 3,
        stream_pause: Duration::from_millis(1),
        ..AdminLimits::default()
    };
    let node = TestNode::new(still::now_ns, limits);
    let (_admin, addr) = node.start();
    let mut answers = 0;
    main_thread(node.requests, move |request| {
        answers += 1;
        match (request.id.0, answers) {
            // Three times no buffer is free, then the list goes on.
            (1, 2..=4) => Err(Refused::Unavailable("No buffer.".into())),
            (1, _) => Ok(piece(request.from.version, 1, answers > 4)),
            (_, _) if request.from.version > 0 => Err(Refused::Failed("Broke.".into())),
            _ => Ok(piece(0, 1, false)),
        }
    });
    assert_eq!(list(addr, "/volumes/1/objects").expect("it is whole").len(), 4);
    assert_eq!(list(addr, "/volumes/2/objects"), None, "it is cut short");
}

#[test]
fn client_that_does_not_read_stops_the_list_and_is_cut() {
    let limits = AdminLimits {
        streams: 2,
        connection_lifetime: Duration::from_millis(700),
        stream_silence: Duration::from_millis(700),
        ..AdminLimits::default()
    };
    let node = TestNode::new(still::now_ns, limits);
    let (_admin, addr) = node.start();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    main_thread(node.requests, move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(piece(request.from.version, 2000, false))
    });
    let mut silent: Vec<_> = (0..2).map(|_| connect(addr)).collect();
    for stream in &mut silent {
        stream.write_all(b"GET /volumes/1/objects HTTP/1.1\r\nHost: t\r\n\r\n").expect("sends");
        stream.read_exact(&mut [0; 12]).expect("it has begun");
    }
    let reply = get(addr, "/volumes/1/objects");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")));
    assert!(reply.error().starts_with("Too many lists"), "{}", reply.error());
    assert_eq!(get(addr, "/healthz").status, 200, "meanwhile");
    // The silent ones are cut, and their turns are free again.
    let begun = Instant::now();
    let is_free = || {
        let request = "GET /volumes/1/objects?limit=1 HTTP/1.1\r\nHost: t\r\n\r\n";
        raw(addr, request).status == 200
    };
    while !is_free() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the silent ones are still there");
        thread::sleep(Duration::from_millis(20));
    }
    let most = asked.load(Ordering::SeqCst);
    assert!(most < 1000, "{most} pieces were read although nobody took them");
}

#[test]
fn list_lives_longer_than_other_connections_while_it_is_read() {
    let limits = AdminLimits {
        connection_lifetime: Duration::from_millis(300),
        stream_silence: Duration::from_millis(300),
        ..AdminLimits::default()
    };
    let node = TestNode::new(still::now_ns, limits);
    let (_admin, addr) = node.start();
    main_thread(node.requests, move |request| {
        thread::sleep(Duration::from_millis(100));
        Ok(piece(request.from.version, 1, request.from.version >= 12))
    });
    let all = list(addr, "/volumes/1/objects").expect("it is whole after more than a second");
    assert_eq!(all.len(), 26);
}
