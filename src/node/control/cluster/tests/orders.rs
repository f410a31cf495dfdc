//! The calls of the protocol, and what reaches the main thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use hayloft_proto::volume_server_pb as pb;
use hayloft_proto::volume_server_pb::volume_server_client::VolumeServerClient;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::fake_master::{FakeMaster, limit};
use super::fake_node::FakeNode;
use crate::base::host_port::HostPort;
use crate::base::types::VolumeId;
use crate::node::board::{CompactionEnd, CompactionOutcome, VolumeState};
use crate::node::control::{
    CompactionJob, CompactionOrigin, ControlRequest, FidDeleted, Refused, VolumeChange,
    WantedCompaction,
};
use crate::node::metrics::{ClusterCall, ClusterCallResult, ReadMetric};

/// A client of the orders.
struct Caller {
    runtime: Runtime,
    client: VolumeServerClient<Channel>,
}

/// Calls a method with a request, and returns the answer.
macro_rules! call {
    ($caller:expr, $method:ident, $request:expr) => {{
        let Caller { runtime, client } = &mut $caller;
        runtime.block_on(client.$method($request)).map(tonic::Response::into_inner)
    }};
}

impl Caller {
    fn new(address: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(VolumeServerClient::connect(format!("http://{address}")));
        Self { runtime, client: client.unwrap() }
    }
}

/// What reached the main thread, as text.
type Seen = JoinHandle<Vec<String>>;

/// Runs a main thread that answers each request with `answer`, and returns the requests when it ends.
fn main_thread(
    node: &mut FakeNode,
    answer: impl Fn(&str) -> Result<(), Refused> + Send + 'static,
) -> Seen {
    let requests = node.requests.take().unwrap();
    thread::spawn(move || {
        let mut seen = Vec::new();
        while let Ok(request) = requests.recv() {
            let text = match request {
                ControlRequest::Allocate(request) => {
                    let (new, reply) = request.into_parts();
                    let cluster = new.cluster.clone().unwrap();
                    let text = format!(
                        "allocate {} {} {:?} {} {:?}",
                        new.id.unwrap(),
                        new.size.unwrap(),
                        cluster.collection.as_str(),
                        cluster.placement,
                        cluster.ttl.map(|ttl| ttl.to_string()),
                    );
                    reply.answer(answer(&text));
                    text
                }
                ControlRequest::Change(request) => {
                    let text = format!("{:?}", request.change);
                    let result = answer(&text).map(|()| VolumeId(0));
                    request.answer(result);
                    text
                }
                ControlRequest::DeleteFids(request) => {
                    let text = format!("delete {:?}", request.photos);
                    // One result for each key.
                    let deleted = request.photos.iter().map(|photo| match photo.key {
                        1 => FidDeleted::Deleted(77),
                        2 => FidDeleted::Absent,
                        3 => FidDeleted::OtherCookie,
                        4 => FidDeleted::NoVolume,
                        _ => FidDeleted::Failed("why".to_owned()),
                    });
                    let deleted = deleted.collect();
                    request.answer(deleted);
                    text
                }
                other => panic!("{other:?}"),
            };
            seen.push(text);
        }
        seen
    })
}

/// A node that does not know a master, its caller and its main thread.
fn node_of(volumes: &[(u32, &str)]) -> FakeNode {
    let master: HostPort = "127.0.0.1:1".parse().unwrap();
    let node = FakeNode::new(&[&master]);
    for (id, collection) in volumes {
        node.volume(*id, collection);
    }
    node
}

/// Ends a node, and returns what reached its main thread.
fn seen(node: FakeNode, main: Seen) -> Vec<String> {
    drop(node);
    main.join().unwrap()
}

fn allocation(id: u32) -> pb::AllocateVolumeRequest {
    pb::AllocateVolumeRequest {
        volume_id: id,
        collection: "photos".to_owned(),
        replication: "001".to_owned(),
        ttl: "5m".to_owned(),
        ..pb::AllocateVolumeRequest::default()
    }
}

fn delete(id: u32, only_empty: bool) -> pb::VolumeDeleteRequest {
    pb::VolumeDeleteRequest { volume_id: id, only_empty, ..pb::VolumeDeleteRequest::default() }
}

fn is_missing(status: &Status, id: u32) -> bool {
    status.code() == Code::NotFound && status.message() == format!("not found volume id {id}")
}

#[test]
fn volume_is_allocated_with_its_properties_once_the_size_is_known() {
    let mut node = node_of(&[]);
    let main = main_thread(&mut node, |text| match text {
        text if text.starts_with("allocate 8 ") => Err(Refused::Exists("There.".to_owned())),
        text if text.starts_with("allocate 9 ") => Err(Refused::NoSpace("Full.".to_owned())),
        _ => Ok(()),
    });
    let mut caller = Caller::new(node.serve());
    let early = call!(caller, allocate_volume, allocation(7)).unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    node.state.set_volume_size_limit(256 << 20);
    call!(caller, allocate_volume, allocation(7)).unwrap();
    let there = call!(caller, allocate_volume, allocation(8)).unwrap_err();
    assert_eq!((there.code(), there.message()), (Code::AlreadyExists, "There."));
    let full = call!(caller, allocate_volume, allocation(9)).unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    let wrong = pb::AllocateVolumeRequest { ttl: "x".to_owned(), ..allocation(10) };
    let wrong = call!(caller, allocate_volume, wrong).unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    node.state.leave();
    let late = call!(caller, allocate_volume, allocation(11)).unwrap_err();
    assert_eq!(late.code(), Code::Unavailable);
    let calls = |result| {
        let calls = node.metrics.cluster.calls(result);
        calls.at(ClusterCall::AllocateVolume).get()
    };
    assert_eq!([ClusterCallResult::Done, ClusterCallResult::Refused].map(calls), [1, 5]);
    let allocated = |id| format!("allocate {id} 512MiB \"photos\" 001 Some(\"5m\")");
    assert_eq!(seen(node, main), [7, 8, 9].map(allocated));
}

#[test]
fn number_of_volumes_has_a_bound() {
    let mut node = node_of(&[(1, ""), (2, "")]);
    Arc::get_mut(&mut node.node).unwrap().volumes_max = Some(2);
    node.own_volume(3);
    let main = main_thread(&mut node, |_| Ok(()));
    let mut caller = Caller::new(node.serve());
    node.state.set_volume_size_limit(256 << 20);
    let full = call!(caller, allocate_volume, allocation(7)).unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    node.metrics.remove_volume(VolumeId(1));
    call!(caller, allocate_volume, allocation(7)).unwrap();
    assert_eq!(seen(node, main).len(), 1);
}

#[test]
fn volumes_of_the_cluster_are_changed_and_others_do_not_exist() {
    let mut node = node_of(&[(7, ""), (8, "")]);
    node.own_volume(3);
    node.volume(9, "").board.state.set(VolumeState::Recovering);
    let main = main_thread(&mut node, |text| match text {
        "DeleteIfEmpty(VolumeId(8))" => Err(Refused::Conflict("Not empty.".to_owned())),
        _ => Ok(()),
    });
    let mut caller = Caller::new(node.serve());
    call!(caller, volume_delete, delete(7, false)).unwrap();
    let kept = call!(caller, volume_delete, delete(8, true)).unwrap_err();
    assert_eq!((kept.code(), kept.message()), (Code::FailedPrecondition, "Not empty."));
    let readonly = |id, can_delete| pb::VolumeMarkReadonlyRequest {
        volume_id: id,
        can_delete,
        ..pb::VolumeMarkReadonlyRequest::default()
    };
    let writable = |id| pb::VolumeMarkWritableRequest { volume_id: id };
    call!(caller, volume_mark_readonly, readonly(7, true)).unwrap();
    call!(caller, volume_mark_writable, writable(7)).unwrap();
    for id in [3, 4] {
        assert!(is_missing(&call!(caller, volume_delete, delete(id, false)).unwrap_err(), id));
        let status = call!(caller, volume_mark_readonly, readonly(id, false)).unwrap_err();
        assert!(is_missing(&status, id));
        assert!(is_missing(&call!(caller, volume_mark_writable, writable(id)).unwrap_err(), id));
        let asked = pb::VolumeStatusRequest { volume_id: id };
        assert!(is_missing(&call!(caller, volume_status, asked).unwrap_err(), id));
    }
    let opening = call!(caller, volume_delete, delete(9, false)).unwrap_err();
    assert_eq!(opening.code(), Code::Unavailable, "it is not known whose volume it is");
    let expected = [
        "Delete(VolumeId(7))",
        "DeleteIfEmpty(VolumeId(8))",
        "CloseForCluster { id: VolumeId(7), takes_deletes: true }",
        "OpenForCluster(VolumeId(7))",
    ];
    assert_eq!(seen(node, main), expected);
}

#[test]
fn collection_is_deleted_with_all_of_its_volumes_and_no_others() {
    let mut node = node_of(&[(1, "photos"), (2, ""), (3, "photos"), (4, "photo")]);
    node.own_volume(5);
    let main = main_thread(&mut node, |text| match text {
        "Delete(VolumeId(1))" => Err(Refused::Busy),
        _ => Ok(()),
    });
    let mut caller = Caller::new(node.serve());
    let collection = |name: &str| pb::DeleteCollectionRequest { collection: name.to_owned() };
    let failed = call!(caller, delete_collection, collection("photos")).unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    call!(caller, delete_collection, collection("none")).unwrap();
    call!(caller, delete_collection, collection("")).unwrap();
    let deleted = [1, 3, 2].map(|id| format!("Delete(VolumeId({id}))"));
    assert_eq!(seen(node, main), deleted, "the others are deleted although one was not");
}

#[test]
fn state_of_volumes_and_of_the_node_is_answered() {
    let mut node = node_of(&[(7, "")]);
    let board = Arc::clone(&node.metrics.volume(VolumeId(7)).unwrap().board);
    node.metrics.volume(VolumeId(7)).unwrap().needles.set(4);
    board.used_bytes.set(65_536 + 4096 + 1000);
    board.full.set(1);
    let mut caller = Caller::new(node.serve());
    let asked = pb::VolumeStatusRequest { volume_id: 7 };
    let status = call!(caller, volume_status, asked).unwrap();
    assert_eq!((status.is_read_only, status.volume_size, status.file_count), (true, 1008, 4));
    let status = call!(caller, volume_server_status, pb::VolumeServerStatusRequest {}).unwrap();
    assert_eq!((status.version.as_str(), status.rack.as_str()), ("hayloft 1.2.3", "r1"));
    let [disk] = &status.disk_statuses[..] else { panic!("{status:?}") };
    assert_eq!((disk.dir.as_str(), disk.all, disk.free), ("/data/a", 20_000 << 20, 10_000 << 20));
    assert!((disk.percent_free - 50.0).abs() < 0.1 && (disk.percent_used - 50.0).abs() < 0.1);
}

#[test]
fn photos_are_deleted_one_by_one() {
    let mut node = node_of(&[(7, "")]);
    let main = main_thread(&mut node, |_| Ok(()));
    let mut caller = Caller::new(node.serve());
    let fids =
        ["7,0100000001", "7,0200000001", "no fid", "7,03ffffffff", "8,0400000001", "7,0500000001"];
    for (skip, expected) in [
        (false, [(202, 77), (404, 0), (400, 0), (400, 0), (404, 0), (500, 0)]),
        (true, [(202, 77), (304, 0), (400, 0), (400, 0), (404, 0), (500, 0)]),
    ] {
        let asked = pb::BatchDeleteRequest {
            file_ids: fids.map(str::to_owned).into(),
            skip_cookie_check: skip,
        };
        let results = call!(caller, batch_delete, asked).unwrap().results;
        let found: Vec<_> = results.iter().map(|it| (it.status, it.size)).collect();
        assert_eq!(found, expected, "{skip}");
        let named: Vec<_> = results.iter().map(|it| it.file_id.as_str()).collect();
        assert_eq!(named, fids);
        assert_eq!(results[5].error, "why");
    }
    drop(caller);
    let seen = seen(node, main);
    assert!(seen[0].contains("key: 3, cookie: Some(4294967295)"), "{seen:?}");
    assert!(seen[1].contains("key: 3, cookie: None"), "{seen:?}");
}

#[test]
fn only_the_node_itself_and_masters_are_asked_for_their_time() {
    let master = FakeMaster::start(vec![limit(1)]);
    let mut node = FakeNode::new(&[&master.address]);
    let mut caller = Caller::new(node.serve());
    let ping = |target: &str, kind: &str| pb::PingRequest {
        target: target.to_owned(),
        target_type: kind.to_owned(),
    };
    let own = call!(caller, ping, ping("", "")).unwrap();
    assert!(own.start_time_ns > 0 && own.start_time_ns <= own.stop_time_ns);
    let address = master.address.to_string();
    let asked = call!(caller, ping, ping(&address, "master")).unwrap();
    assert_eq!(asked.remote_time_ns, 77);
    for (target, kind) in [("10.0.0.1:9333", "master"), (&address[..], "filer"), ("?", "master")] {
        let refused = call!(caller, ping, ping(target, kind)).unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{target} {kind}");
    }
    drop(master);
    let gone = call!(caller, ping, ping(&address, "master")).unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable);
}

#[test]
fn garbage_is_what_a_compaction_would_free() {
    let mut node = node_of(&[(7, "")]);
    let board = Arc::clone(&node.metrics.volume(VolumeId(7)).unwrap().board);
    let mut caller = Caller::new(node.serve());
    let mut ratio = || {
        let asked = pb::VacuumVolumeCheckRequest { volume_id: 7 };
        call!(caller, vacuum_volume_check, asked).unwrap().garbage_ratio
    };
    assert_eq!(ratio(), 0.0, "an empty volume");
    board.live_bytes.set(600);
    board.dead_bytes.set(400);
    assert_eq!(ratio(), 0.4);
    board.kept_bytes.set(300);
    assert_eq!(ratio(), 0.1, "without what was kept");
}

#[test]
fn compaction_is_reported_until_it_has_ended() {
    let mut node = node_of(&[(7, "")]);
    let board = Arc::clone(&node.metrics.volume(VolumeId(7)).unwrap().board);
    let (compactions, running) = (Arc::clone(&node.compactions), Arc::clone(&board));
    let job = CompactionJob {
        origin: CompactionOrigin::Operator,
        is_begun: true,
        waits_for: None,
        disk: 0,
        size: 99,
        expected_gain: 0,
    };
    let main = main_thread(&mut node, move |text| {
        let wanted = VolumeChange::Compact { id: VolumeId(7), wanted: WantedCompaction::default() };
        assert_eq!(text, format!("{wanted:?}"));
        if compactions.not_begun(VolumeId(7)).0 > 0 {
            return Err(Refused::NoSpace("Full.".to_owned()));
        }
        compactions.set_job(VolumeId(7), Some(job));
        running.compaction.begin(1, 1000);
        running.compaction.read_bytes.set(400);
        let (compactions, running) = (Arc::clone(&compactions), Arc::clone(&running));
        thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(700));
            let outcome = match running.compaction.ended() {
                0 => CompactionOutcome::Done,
                _ => CompactionOutcome::Failed,
            };
            running.compaction.end(end(outcome));
            compactions.set_job(VolumeId(7), None);
        });
        Ok(())
    });
    let mut caller = Caller::new(node.serve());
    let compact = || pb::VacuumVolumeCompactRequest { volume_id: 7, preallocate: 0 };
    let mut reports = || {
        let mut stream = call!(caller, vacuum_volume_compact, compact())?;
        let mut processed = Vec::new();
        while let Some(report) = caller.runtime.block_on(stream.message())? {
            processed.push(report.processed_bytes);
        }
        Ok::<_, Status>(processed)
    };
    let processed = reports().unwrap();
    assert!(!processed.is_empty() && processed.iter().all(|bytes| *bytes == 400), "{processed:?}");
    let failed = reports().unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::Aborted, "not compacted: no reason"));
    let unbegun = crate::node::control::NotBegun {
        outcome: CompactionOutcome::Failed,
        reason: String::new(),
        after: 2,
    };
    node.compactions.end_unbegun(VolumeId(7), unbegun);
    assert_eq!(reports().unwrap_err().code(), Code::ResourceExhausted);
    let commit = pb::VacuumVolumeCommitRequest { volume_id: 7 };
    assert!(!call!(caller, vacuum_volume_commit, commit).unwrap().is_read_only);
    call!(caller, vacuum_volume_cleanup, pb::VacuumVolumeCleanupRequest { volume_id: 7 }).unwrap();
    assert_eq!(seen(node, main).len(), 3);
}

fn end(outcome: CompactionOutcome) -> CompactionEnd {
    CompactionEnd {
        outcome,
        reason: "no reason".to_owned(),
        read_bytes: 0,
        written_bytes: 0,
        gained_bytes: 0,
        duration_ns: 0,
        gate_closed_ns: 0,
        gate_closed_max_ns: 0,
    }
}

#[test]
fn request_that_is_too_large_is_refused() {
    let mut node = node_of(&[]);
    let mut caller = Caller::new(node.serve());
    let mut large = allocation(1);
    large.collection = "x".repeat(5 << 20);
    let refused = call!(caller, allocate_volume, large).unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
}

#[test]
fn changes_are_refused_when_the_main_thread_has_ended() {
    let mut node = node_of(&[(7, "")]);
    drop(node.requests.take());
    let mut caller = Caller::new(node.serve());
    let refused = call!(caller, volume_delete, delete(7, false)).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}
