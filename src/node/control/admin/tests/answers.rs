//! Responses of each route.

use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{RawReply, get, raw, request};
use super::{TestNode, fake_clock};
use crate::base::types::VolumeId;
use crate::node::board::{DiskState, VolumeState};
use crate::node::control::admin::AdminLimits;
use crate::node::control::cluster::{ClusterNode, ClusterState};
use crate::node::metrics::exposition::Exposition;
use crate::node::metrics::{MethodGroup, MethodLabel};

fake_clock!(hung_shard);
fake_clock!(still);

pub(super) fn still_node() -> TestNode {
    TestNode::new(still::now_ns, AdminLimits::default())
}

#[test]
fn hung_shard_makes_the_node_unhealthy_until_it_iterates() {
    let node = TestNode::new(hung_shard::now_ns, AdminLimits::default());
    let (admin, addr) = node.start();
    let turn = |shard: usize| node.metrics.board.shards[shard].turn(hung_shard::now_ns());

    let fresh = get(addr, "/healthz");
    assert_eq!((fresh.status, fresh.body.as_str()), (200, "ok\n"), "just started");
    turn(0);
    turn(1);
    hung_shard::advance_seconds(4);
    turn(0);
    assert_eq!(get(addr, "/healthz").status, 200, "4 s of silence are no hang");

    hung_shard::advance_seconds(3);
    let sick = get(addr, "/healthz");
    assert_eq!(sick.status, 503);
    assert_eq!(sick.json()["shards"], json!([{"id": 1, "core": 3, "silent_ms": 7000}]));
    assert_eq!(sick.error(), "1 of 2 shards have not turned for 5000 ms.");

    turn(1);
    assert_eq!(get(addr, "/healthz").status, 200, "it turns again");
    hung_shard::advance_seconds(5);
    assert_eq!(get(addr, "/healthz").json()["shards"].as_array().map(Vec::len), Some(2));
    admin.shutdown().expect("stops");
}

/// Returns the statuses of `/readyz` and `/readyz?strict`, and the response of the former.
fn readiness(addr: std::net::SocketAddr) -> (u16, u16, RawReply) {
    let (plain, strict) = (get(addr, "/readyz"), get(addr, "/readyz?strict"));
    for reply in [&plain, &strict] {
        let retry = reply.header("retry-after").is_some();
        assert_eq!(retry, reply.status == 503, "{reply:?}");
        assert_eq!(reply.json()["ready"], json!(reply.status == 200), "{reply:?}");
        assert_eq!(reply.json()["error"].is_string(), reply.status == 503, "{reply:?}");
    }
    (plain.status, strict.status, plain)
}

#[test]
fn readiness_follows_the_volume_states() {
    let node = still_node();
    let (admin, addr) = node.start();

    let (plain, strict, reply) = readiness(addr);
    assert_eq!((plain, strict), (503, 503), "no volume at all");
    assert_eq!(reply.error(), "No volume serves.");

    let one = node.volume(1, VolumeState::Recovering);
    let two = node.volume(2, VolumeState::Recovering);
    one.board.state.set(VolumeState::Writable);
    let (plain, strict, reply) = readiness(addr);
    assert_eq!((plain, strict), (503, 503), "one of two still recovers");
    assert_eq!(reply.json()["volumes"], json!([{"id": 2, "state": "recovering"}]));
    assert_eq!(reply.error(), "1 of 2 volumes are recovering.");

    for (state, want, serving) in [
        (VolumeState::Writable, (200, 200), 2),
        (VolumeState::ReadOnly, (200, 200), 2),
        (VolumeState::Poisoned, (200, 503), 2),
        (VolumeState::Failed, (200, 503), 1),
    ] {
        two.board.state.set(state);
        let (plain, strict, reply) = readiness(addr);
        assert_eq!((plain, strict), want, "{state:?}");
        assert_eq!(reply.json()["serving"], json!(serving), "{state:?}");
    }
    two.board.state.set(VolumeState::ReadOnly);
    one.board.full.set(1);
    let (plain, strict, reply) = readiness(addr);
    assert_eq!((plain, strict), (200, 503), "no volume takes photos");
    let listed = json!([{"id": 1, "state": "full"}, {"id": 2, "state": "read_only"}]);
    assert_eq!(reply.json()["volumes"], listed);
    assert_eq!(get(addr, "/readyz?strict").error(), "No volume takes photos: 1 full, 1 read_only.");
    two.board.state.set(VolumeState::Writable);
    assert_eq!(readiness(addr).1, 200, "one of them full is how a store grows");
    one.board.full.set(0);
    one.board.state.set(VolumeState::ReadOnly);
    two.board.state.set(VolumeState::ReadOnly);
    assert_eq!((readiness(addr).0, readiness(addr).1), (200, 503), "all read-only on purpose");
    one.board.state.set(VolumeState::Failed);
    two.board.state.set(VolumeState::Failed);
    assert_eq!(readiness(addr).0, 503, "all failed");
    one.board.state.set(VolumeState::Poisoned);
    assert_eq!(readiness(addr).0, 200, "a poisoned volume can be read");
    admin.shutdown().expect("stops");
}

#[test]
fn node_of_a_cluster_is_ready_before_it_has_volumes() {
    let mut node = still_node();
    let cluster = (Arc::new(cluster_node()), Arc::<ClusterState>::default());
    node.state = node.state.with_cluster(Some(cluster));
    let (admin, addr) = node.start();
    assert_eq!((readiness(addr).0, readiness(addr).1), (200, 200));
    node.metrics.board.disks[1].state.set(DiskState::Missing);
    assert_eq!((readiness(addr).0, readiness(addr).1), (200, 503));
    node.metrics.board.disks[1].state.set(DiskState::Ok);
    node.volume(1, VolumeState::Failed);
    assert_eq!((readiness(addr).0, readiness(addr).1), (503, 503), "none of those it has serves");
    node.metrics.remove_volume(VolumeId(1));
    node.metrics.board.set_draining();
    assert_eq!((readiness(addr).0, readiness(addr).1), (503, 503));
    admin.shutdown().expect("stops");
}

fn cluster_node() -> ClusterNode {
    ClusterNode {
        masters: vec!["m:9333".parse().unwrap()],
        ip: "10.0.0.8".to_owned(),
        port: 8080,
        grpc_port: 18_080,
        public_url: "10.0.0.8:8080".to_owned(),
        data_center: "dc1".to_owned(),
        rack: "r1".to_owned(),
        volumes_max: None,
        directories: Vec::new(),
    }
}

#[test]
fn status_shows_the_node_in_its_cluster() {
    let mut node = still_node();
    let (admin, addr) = node.start();
    assert_eq!(get(addr, "/status").json()["cluster"], Value::Null);
    admin.shutdown().expect("stops");
    let cluster = (Arc::new(cluster_node()), Arc::<ClusterState>::default());
    node.state = node.state.with_cluster(Some(cluster));
    let (admin, addr) = node.start();
    let expected = json!({
        "node": "10.0.0.8:8080", "grpc_port": 18080, "data_center": "dc1", "rack": "r1",
        "masters": ["m:9333"], "master": null, "since": 0, "last_error": null,
        "volume_size_limit": null,
    });
    assert_eq!(get(addr, "/status").json()["cluster"], expected);
    admin.shutdown().expect("stops");
}

#[test]
fn missing_disk_fails_strict_readiness_and_draining_both() {
    let node = still_node();
    node.volume(1, VolumeState::Writable);
    let (admin, addr) = node.start();

    node.metrics.board.disks[1].state.set(DiskState::Missing);
    let (plain, strict, reply) = readiness(addr);
    assert_eq!((plain, strict), (200, 503));
    assert_eq!(reply.json()["disks"], json!([{"path": "/data/b", "state": "missing"}]));
    node.metrics.board.disks[1].state.set(DiskState::Ok);
    assert_eq!(readiness(addr).1, 200);

    node.metrics.board.set_draining();
    let (plain, strict, reply) = readiness(addr);
    assert_eq!((plain, strict), (503, 503));
    assert_eq!(reply.error(), "The daemon is draining.");
    assert_eq!(get(addr, "/healthz").status, 200, "draining is not ill");
    admin.shutdown().expect("stops");
}

#[test]
fn unknown_query_of_readyz_is_rejected() {
    let node = still_node();
    node.volume(1, VolumeState::Writable);
    let (admin, addr) = node.start();
    assert_eq!(get(addr, "/readyz?strict=true").status, 200);
    assert_eq!(get(addr, "/readyz?").status, 200);
    let reply = get(addr, "/readyz?strikt");
    assert_eq!(reply.status, 400);
    assert!(reply.error().contains("?strikt"), "{reply:?}");
    admin.shutdown().expect("stops");
}

#[test]
fn prometheus_text_has_the_same_samples_as_openmetrics() {
    let node = still_node();
    node.volume(9, VolumeState::Writable).needles.set(3);
    let (admin, addr) = node.start();
    let text = get(addr, "/metrics");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(text.header("vary"), Some("Accept"));
    let accept = "Accept: application/openmetrics-text";
    let other = raw(addr, &format!("GET /metrics HTTP/1.1\r\nHost: t\r\n{accept}\r\n\r\n"));
    let samples = |reply: &RawReply| -> Vec<String> {
        let lines = reply.body.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(samples(&text), samples(&other));
    assert!(samples(&text).contains(&"hayloft_volume_needles{volume=\"9\"} 3".to_owned()));
    for line in [
        "# TYPE hayloft_requests_total counter",
        "# TYPE hayloft_build_info gauge",
        "# TYPE hayloft_request_duration_seconds histogram",
    ] {
        assert!(text.body.lines().any(|found| found == line), "{line}: {}", text.body);
    }
    for part in ["# EOF", "# UNIT", "TYPE hayloft_requests counter", " info\n"] {
        assert!(!text.body.contains(part), "{part}: {}", text.body);
    }
    admin.shutdown().expect("stops");
}

#[test]
fn openmetrics_text_has_the_current_values() {
    let node = still_node();
    node.volume(9, VolumeState::Writable).needles.set(3);
    let (admin, addr) = node.start();
    let shard = &node.metrics.shards[1];
    let scrape = || {
        let accept = "Accept: application/openmetrics-text; version=1.0.0";
        let reply = raw(addr, &format!("GET /metrics HTTP/1.1\r\nHost: t\r\n{accept}\r\n\r\n"));
        assert_eq!(reply.status, 200);
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(reply.header("content-type"), Some(content_type));
        Exposition::parse(&reply.body).unwrap_or_else(|e| panic!("{e}\n{}", reply.body))
    };
    for n in 1..=3_u64 {
        shard.requests.at(MethodLabel::Get).inc();
        shard.device_reads.inc();
        shard.request_latency.at(MethodGroup::Get).record(n * 80_000);
        let seen = scrape();
        for (name, labels) in [
            ("hayloft_requests_total", "shard=1,method=get"),
            ("hayloft_device_reads_total", "shard=1"),
            ("hayloft_request_duration_seconds_count", "shard=1,method=get"),
            ("hayloft_request_duration_seconds_bucket", "shard=1,method=get,le=+Inf"),
        ] {
            assert_eq!(seen.value(name, labels), Some(n as f64), "{name}");
        }
        assert_eq!(seen.value("hayloft_volume_needles", "volume=9"), Some(3.0));
    }
    admin.shutdown().expect("stops");
}

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    object.keys().map(String::as_str).collect()
}

#[test]
fn status_has_the_documented_fields() {
    let node = still_node();
    let volume = node.volume(4, VolumeState::Poisoned);
    volume.board.size_bytes.set(1 << 30);
    volume.damaged_records.add(2);
    node.metrics.shards[0].turns.inc();
    node.metrics.board.shards[0].turn(super::STARTED_NS);
    node.metrics.board.shards[0].connections.set(6);
    node.metrics.set_registered_buffers(true);
    node.metrics.board.disks[0].size_bytes.set(4000);
    node.metrics.board.disks[0].free_bytes.set(3000);
    node.metrics.board.disks[1].slow.set(1);
    let (admin, addr) = node.start();

    let status = get(addr, "/status").json();
    for (key, value) in [
        ("version", json!("1.2.3")),
        ("uptime_seconds", json!(0)),
        ("durable", json!(true)),
        ("draining", json!(false)),
        ("registered_buffers", json!(true)),
        ("listen", json!(["127.0.0.1:8080"])),
        ("limits", json!({"largest_body": 64 << 20, "largest_batch": 8 << 20})),
    ] {
        assert_eq!(status[key], value, "{key}");
    }
    assert_eq!(
        status["disks"],
        json!([
            {"path": "/data/a", "state": "ok", "size": 4000, "free": 3000, "slow": false},
            {"path": "/data/b", "state": "ok", "size": 0, "free": 0, "slow": true},
        ])
    );
    assert_eq!(
        status["shards"][0],
        json!({
            "id": 0, "core": 2, "port": 8180, "turns": 1, "silent_ms": 0, "connections": 6,
            "ops_in_flight": 0, "background_paused": false, "false_candidates": 0,
            "buffer_bytes_used": 0, "buffer_bytes_total": 0,
        })
    );
    assert_eq!(status["shards"][1]["port"], Value::Null);
    let v = &status["volumes"][0];
    for key in [
        "id",
        "shard",
        "disk",
        "state",
        "full",
        "size",
        "used",
        "live",
        "dead",
        "oldest_dead",
        "expired",
        "needles",
        "extents",
        "index_bytes",
        "index_bytes_per_needle",
        "index_load",
        "index_overflow",
        "index_steps",
        "index_step_max",
        "damage",
    ] {
        assert!(keys(v).contains(&key), "{key} missing in {v}");
    }
    assert_eq!((&v["id"], &v["state"]), (&json!(4), &json!("poisoned")));
    assert_eq!((&v["size"], &v["damage"]), (&json!(1 << 30), &json!(2)));
    admin.shutdown().expect("stops");
}

#[test]
fn volumes_are_listed_by_id_and_found_by_id() {
    let node = still_node();
    let (admin, addr) = node.start();
    assert_eq!(get(addr, "/volumes").json(), json!([]));
    node.volume(12, VolumeState::Writable);
    node.volume(3, VolumeState::ReadOnly);

    let list = get(addr, "/volumes").json();
    assert_eq!((&list[0]["id"], &list[1]["id"]), (&json!(3), &json!(12)), "by rising id");
    let one = get(addr, "/volumes/3");
    assert_eq!((one.status, one.json()), (200, list[0].clone()));
    for target in ["/volumes/4", "/volumes/03", "/volumes/x", "/volumes/99999999999"] {
        let reply = get(addr, target);
        assert_eq!(reply.status, 404, "{target}");
        let id = target.trim_start_matches("/volumes/");
        assert_eq!(reply.error(), format!("There is no volume {id}."));
    }
    node.metrics.remove_volume(VolumeId(3));
    assert_eq!(get(addr, "/volumes/3").status, 404, "removed");
    admin.shutdown().expect("stops");
}

#[test]
fn unknown_paths_and_methods_are_answered_as_json() {
    let (admin, addr) = still_node().start();
    for target in ["/", "/nope", "/healthz/", "/metrics/x", "/volumes/1/2"] {
        let reply = get(addr, target);
        assert_eq!(reply.status, 404, "{target}");
        assert_eq!(reply.error(), format!("There is nothing at {target}."));
    }
    for (method, target, allowed) in [
        ("DELETE", "/healthz", "GET,HEAD"),
        ("PUT", "/volumes/1", "GET,HEAD,DELETE"),
        ("DELETE", "/volumes", "GET,HEAD,POST"),
        ("GET", "/volumes/1/read-only", "POST"),
        ("POST", "/metrics", "GET,HEAD"),
    ] {
        let reply = request(addr, method, target);
        assert_eq!(reply.status, 405, "{method} {target}");
        assert_eq!(reply.error(), format!("{method} is not possible here."));
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {target}");
    }
    let body = "POST /status HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(raw(addr, body).status, 405, "with a body too");
    admin.shutdown().expect("stops");
}

#[test]
fn head_answers_like_get_without_the_body() {
    let (admin, addr) = still_node().start();
    let reply = request(addr, "HEAD", "/healthz");
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(reply.header("content-length"), Some("3"));
    admin.shutdown().expect("stops");
}
