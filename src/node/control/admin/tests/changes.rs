//! Changes: the requests that reach the main thread, and the responses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use serde_json::json;

use super::answers::still_node;
use super::client::{RawReply, raw, request};
use crate::base::size::ByteSize;
use crate::base::types::VolumeId;
use crate::node::board::VolumeState;
use crate::node::control::{Creations, NewVolume, Refused, VolumeChange};

fn post(addr: SocketAddr, target: &str, extra: &str, body: &str) -> RawReply {
    let len = body.len();
    raw(
        addr,
        &format!("POST {target} HTTP/1.1\r\nHost: t\r\n{extra}Content-Length: {len}\r\n\r\n{body}"),
    )
}

/// Runs a main thread that answers each request with `answer`, and returns the requests when it ends.
fn main_thread(
    requests: std::sync::mpsc::Receiver<super::ChangeRequest>,
    answer: impl Fn(VolumeChange) -> Result<VolumeId, Refused> + Send + 'static,
) -> JoinHandle<Vec<VolumeChange>> {
    thread::spawn(move || {
        let mut seen = Vec::new();
        while let Ok(request) = requests.recv() {
            seen.push(request.change);
            let answered = answer(request.change);
            request.answer(answered);
        }
        seen
    })
}

#[test]
fn valid_changes_reach_the_main_thread_and_invalid_ones_do_not() {
    let node = still_node();
    node.volume(3, VolumeState::Writable);
    let (admin, addr) = node.start();
    let main = main_thread(node.requests, |change| match change {
        VolumeChange::Create(new) => Ok(new.id.unwrap_or(VolumeId(3))),
        VolumeChange::Delete(id) | VolumeChange::SetReadOnly { id, .. } => Ok(id),
    });
    drop(node.state);

    let reply = post(addr, "/volumes", "", r#"{"id": 3, "size": "100GiB", "disk": 1}"#);
    assert_eq!((reply.status, reply.header("location")), (201, Some("/volumes/3")));
    assert_eq!(reply.json()["id"], json!(3));
    assert_eq!(post(addr, "/volumes", "", r#"{"size": 1048576}"#).status, 201);
    assert_eq!(post(addr, "/volumes", "", "").status, 201);
    let reply = post(addr, "/volumes/3/read-only", "", "");
    assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(3)));
    assert_eq!(post(addr, "/volumes/3/writable", "", "").status, 200);
    let reply = request(addr, "DELETE", "/volumes/3");
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    // None of the following requests reaches the main thread.
    for body in ["{", "[]", r#"{"sze": 1}"#, r#"{"size": "1X"}"#, r#"{"id": -1}"#] {
        let reply = post(addr, "/volumes", "", body);
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.error().contains("each of them optional"), "{}", reply.error());
    }
    let reply = post(addr, "/volumes", "", &"x".repeat(5000));
    assert_eq!((reply.status, reply.error().is_empty()), (413, false));
    for target in ["/volumes", "/volumes/3/read-only", "/volumes/3/writable"] {
        let reply = post(addr, target, "Origin: http://evil.example\r\n", "");
        assert_eq!(reply.status, 403, "{target}");
        assert!(reply.error().contains("web pages"), "{}", reply.error());
    }
    assert_eq!(request(addr, "DELETE", "/volumes/03").status, 404);

    admin.shutdown().expect("stops");
    let new = |id, size, disk| VolumeChange::Create(NewVolume { id, size, disk });
    let expected = [
        new(Some(VolumeId(3)), Some(ByteSize::gib(100)), Some(1)),
        new(None, Some(ByteSize::mib(1)), None),
        new(None, None, None),
        VolumeChange::SetReadOnly { id: VolumeId(3), read_only: true },
        VolumeChange::SetReadOnly { id: VolumeId(3), read_only: false },
        VolumeChange::Delete(VolumeId(3)),
    ];
    assert_eq!(main.join().expect("ends"), expected);
}

#[test]
fn refusals_map_to_status_and_message() {
    let node = still_node();
    let (admin, addr) = node.start();
    let refusals = [
        (Refused::NoSuchVolume(VolumeId(9)), 404),
        (Refused::Invalid("Bad.".into()), 400),
        (Refused::Conflict("Exists.".into()), 409),
        (Refused::NoSpace("Full.".into()), 507),
        (Refused::Busy, 503),
        (Refused::Failed("Broke.".into()), 500),
    ];
    let all = refusals.clone();
    let main = main_thread(node.requests, move |change| match change {
        VolumeChange::Delete(n) => Err(all[n.0 as usize].0.clone()),
        other => panic!("{other:?}"),
    });
    for (n, (refused, status)) in refusals.iter().enumerate() {
        let reply = request(addr, "DELETE", &format!("/volumes/{n}"));
        assert_eq!(reply.status, *status);
        assert_eq!(reply.error(), refused.to_string());
    }
    drop(node.state);
    admin.shutdown().expect("stops");
    main.join().expect("ends");
}

#[test]
fn creation_is_listed_until_it_has_ended() {
    let node = still_node();
    let (admin, addr) = node.start();
    let creations: Arc<Creations> = Arc::clone(&node.state.creations);
    let making = Arc::clone(&creations);
    let main = main_thread(node.requests, move |_| {
        making.begin(VolumeId(5), 1, 400);
        making.progress(VolumeId(5), 100);
        Ok(VolumeId(5))
    });
    // The creation takes longer than the handler waits.
    let reply = post(addr, "/volumes", "", "");
    assert_eq!((reply.status, reply.header("location")), (202, Some("/volumes/5")));
    let shown = request(addr, "GET", "/volumes/5").json();
    assert_eq!((&shown["state"], &shown["progress"]), (&json!("creating"), &json!(0.25)));
    assert_eq!((&shown["shard"], &shown["disk"]), (&json!(null), &json!(1)));
    assert_eq!(request(addr, "GET", "/status").json()["volumes"][0], shown);

    creations.fail(VolumeId(5), Refused::NoSpace("Full.".into()));
    let shown = request(addr, "GET", "/volumes/5").json();
    assert_eq!((&shown["state"], &shown["error"]), (&json!("creation_failed"), &json!("Full.")));

    creations.end(VolumeId(5));
    assert_eq!(request(addr, "GET", "/volumes/5").status, 404);
    drop(node.state);
    admin.shutdown().expect("stops");
    main.join().expect("ends");
}

#[test]
fn changes_are_refused_when_the_main_thread_has_ended() {
    let node = still_node();
    let (admin, addr) = node.start();
    drop(node.requests);
    let reply = request(addr, "DELETE", "/volumes/1");
    assert_eq!((reply.status, reply.error().as_str()), (503, "The daemon is stopping."));
    admin.shutdown().expect("stops");
}
