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
use crate::node::control::{
    CompactionJob, CompactionOrigin, ControlRequest, Creations, NewVolume, Refused, VolumeChange,
    WantedCompaction,
};

fn post(addr: SocketAddr, target: &str, extra: &str, body: &str) -> RawReply {
    let len = body.len();
    raw(
        addr,
        &format!("POST {target} HTTP/1.1\r\nHost: t\r\n{extra}Content-Length: {len}\r\n\r\n{body}"),
    )
}

/// Runs a main thread that answers each request with `answer`, and returns the requests when it ends.
fn main_thread(
    requests: std::sync::mpsc::Receiver<ControlRequest>,
    answer: impl Fn(VolumeChange) -> Result<VolumeId, Refused> + Send + 'static,
) -> JoinHandle<Vec<VolumeChange>> {
    thread::spawn(move || {
        let mut seen = Vec::new();
        while let Ok(request) = requests.recv() {
            let ControlRequest::Change(request) = request else { panic!("{request:?}") };
            seen.push(request.change.clone());
            let answered = answer(request.change.clone());
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
        VolumeChange::Delete(id)
        | VolumeChange::DeleteIfEmpty(id)
        | VolumeChange::CloseForCluster { id, .. }
        | VolumeChange::OpenForCluster(id)
        | VolumeChange::SetReadOnly { id, .. }
        | VolumeChange::Compact { id, .. }
        | VolumeChange::CancelCompaction(id)
        | VolumeChange::Scrub(id)
        | VolumeChange::Clear(id)
        | VolumeChange::MakeReplica(id) => Ok(id),
    });
    drop(node.state);

    let reply =
        post(addr, "/volumes", "", r#"{"id": 3, "size": "100GiB", "disk": 1, "replica": true}"#);
    assert_eq!((reply.status, reply.header("location")), (201, Some("/volumes/3")));
    assert_eq!(reply.json()["id"], json!(3));
    assert_eq!(post(addr, "/volumes", "", r#"{"size": 1048576}"#).status, 201);
    assert_eq!(post(addr, "/volumes", "", "").status, 201);
    let reply = post(addr, "/volumes/3/read-only", "", "");
    assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(3)));
    assert_eq!(post(addr, "/volumes/3/writable", "", "").status, 200);
    let reply = post(addr, "/volumes/3/scrub", "", "");
    assert_eq!((reply.status, reply.header("location")), (202, Some("/volumes/3")));
    assert_eq!(post(addr, "/volumes/3/clear", "", "").status, 200);
    assert_eq!(post(addr, "/volumes/3/replica", "", "").status, 200);
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
    for target in ["", "/3/read-only", "/3/writable", "/3/scrub", "/3/clear", "/3/replica"] {
        let target = &format!("/volumes{target}");
        let reply = post(addr, target, "Origin: http://evil.example\r\n", "");
        assert_eq!(reply.status, 403, "{target}");
        assert!(reply.error().contains("web pages"), "{}", reply.error());
    }
    assert_eq!(request(addr, "DELETE", "/volumes/03").status, 404);

    admin.shutdown().expect("stops");
    let new = |id, size, disk| {
        VolumeChange::Create(NewVolume {
            id,
            size,
            disk,
            replica: id == Some(VolumeId(3)),
            cluster: None,
        })
    };
    let expected = [
        new(Some(VolumeId(3)), Some(ByteSize::gib(100)), Some(1)),
        new(None, Some(ByteSize::mib(1)), None),
        new(None, None, None),
        VolumeChange::SetReadOnly { id: VolumeId(3), read_only: true },
        VolumeChange::SetReadOnly { id: VolumeId(3), read_only: false },
        VolumeChange::Scrub(VolumeId(3)),
        VolumeChange::Clear(VolumeId(3)),
        VolumeChange::MakeReplica(VolumeId(3)),
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
        (Refused::Exists("It is there.".into()), 409),
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

#[test]
fn compaction_requests_reach_the_main_thread_and_show_what_waits() {
    let node = still_node();
    let volume = node.volume(3, VolumeState::Writable);
    volume.board.dead_bytes.set(700);
    volume.board.kept_bytes.set(200);
    let (admin, addr) = node.start();
    let compactions = Arc::clone(&node.state.compactions);
    let main = main_thread(node.requests, move |change| match change {
        VolumeChange::Compact { id: VolumeId(4), .. } => Err(Refused::NoSpace("No room.".into())),
        VolumeChange::Compact { id, wanted } => {
            let job = CompactionJob {
                origin: CompactionOrigin::Operator,
                is_begun: false,
                waits_for: Some(VolumeId(1)),
                disk: wanted.disk.unwrap_or(0),
                size: 99,
                expected_gain: 500,
            };
            compactions.set_job(id, Some(job));
            Ok(id)
        }
        VolumeChange::CancelCompaction(id) => {
            compactions.set_job(id, None);
            Ok(id)
        }
        other => panic!("{other:?}"),
    });
    drop(node.state);
    let wanted = r#"{"accept_losses": true, "size": "100GiB", "disk": 1}"#;
    let reply = post(addr, "/volumes/3/compact", "", wanted);
    assert_eq!((reply.status, reply.header("location")), (202, Some("/volumes/3")));
    let shown = reply.json();
    assert_eq!((&shown["id"], &shown["reclaimable"]), (&json!(3), &json!(500)));
    let compaction = &shown["compaction"];
    assert_eq!((&compaction["phase"], &compaction["behind"]), (&json!("waiting"), &json!(1)));
    assert_eq!((&compaction["by"], &compaction["disk"]), (&json!("operator"), &json!(1)));
    let reply = post(addr, "/volumes/3/cancel-compaction", "", "");
    assert_eq!((reply.status, &reply.json()["compaction"]), (200, &json!(null)));
    assert_eq!(post(addr, "/volumes/3/compact", "", "").status, 202);
    let reply = post(addr, "/volumes/4/compact", "", "");
    assert_eq!((reply.status, reply.error().as_str()), (507, "No room."));
    // None of the following requests reaches the main thread.
    for body in ["[]", r#"{"disk": "a"}"#, r#"{"sise": 1}"#, r#"{"accept_losses": 1}"#] {
        let reply = post(addr, "/volumes/3/compact", "", body);
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.error().contains("each of them optional"), "{}", reply.error());
    }
    assert_eq!(post(addr, "/volumes/03/compact", "", "").status, 404);
    for target in ["/volumes/3/compact", "/volumes/3/cancel-compaction"] {
        let reply = post(addr, target, "Origin: http://evil.example\r\n", "");
        assert_eq!(reply.status, 403, "{target}");
        assert_eq!(request(addr, "GET", target).status, 405, "{target}");
    }
    admin.shutdown().expect("stops");
    let compact = |id, wanted| VolumeChange::Compact { id: VolumeId(id), wanted };
    let expected = [
        compact(
            3,
            WantedCompaction { accept_losses: true, size: Some(ByteSize::gib(100)), disk: Some(1) },
        ),
        VolumeChange::CancelCompaction(VolumeId(3)),
        compact(3, WantedCompaction::default()),
        compact(4, WantedCompaction::default()),
    ];
    assert_eq!(main.join().expect("ends"), expected);
}

#[test]
fn background_work_is_paused_and_resumed_by_the_main_thread() {
    let node = still_node();
    let (admin, addr) = node.start();
    let requests = node.requests;
    let main = thread::spawn(move || {
        let mut seen = Vec::new();
        while let Ok(ControlRequest::Pause(request)) = requests.recv() {
            seen.push(request.paused);
            request.answer();
        }
        seen
    });
    drop(node.state);
    let reply = post(addr, "/background/pause", "", "");
    assert_eq!((reply.status, reply.json()), (200, json!({"paused": true})));
    let reply = post(addr, "/background/resume", "", "");
    assert_eq!((reply.status, reply.json()), (200, json!({"paused": false})));
    for target in ["/background/pause", "/background/resume"] {
        let reply = post(addr, target, "Origin: http://evil.example\r\n", "");
        assert_eq!(reply.status, 403, "{target}");
    }
    admin.shutdown().expect("stops");
    assert_eq!(main.join().expect("ends"), [true, false]);
}
