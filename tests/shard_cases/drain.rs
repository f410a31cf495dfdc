//! Shutdown: what is in flight is completed, and new writes are refused.

use hayloft::node::metrics::{AdmissionRefusal, ReadMetric};

use crate::shard_world::{SECOND, Shards, config};
use crate::{delete, get, has_status, put, refusing_config, start_request};

#[test]
fn drain_ends_at_its_deadline_despite_a_slow_upload() {
    let limited = || {
        crate::shard_world::config_with(|config| {
            config.drain_ns = 3 * SECOND;
            config.deadlines.body = 600 * SECOND;
        })
    };
    let mut shards = Shards::start(2, limited);
    let slow = start_request(&shards, 0, put(1, 100_000, 10_000));
    shards.run_until("the upload to begin", SECOND, |shards| {
        shards.metrics.board.shards[0].connections.get() == 1
    });
    shards.run_for(SECOND);
    shards.metrics.board.set_draining();
    let began = shards.world.now();
    shards.run_for(2 * SECOND);
    assert!(shards.is_running(0) && shards.is_running(1), "requests in flight may complete");
    shards.run_until("both shards to end", 5 * SECOND, |shards| {
        !shards.is_running(0) && !shards.is_running(1)
    });
    let took = shards.world.now() - began;
    assert!((3 * SECOND..4 * SECOND).contains(&took), "{took} ns");
    assert!(slow.taken().bytes.is_empty());
}

#[test]
fn drain_completes_requests_in_flight_and_refuses_new_writes() {
    let mut shards = Shards::start(2, config);
    let idle = start_request(&shards, 0, get(1));
    let upload = shards.connect(1);
    let sender = upload.clone();
    shards.spawn(async move {
        sender.send(put(7, 10, 5).as_bytes()).await;
        sender.pause(4 * SECOND).await;
        sender.send(b"67890").await;
        sender.take_all().await;
    });
    let asked_late = shards.connect(0);
    let sender = asked_late.clone();
    shards.spawn(async move {
        sender.send(&get(1).as_bytes()[..20]).await;
        sender.pause(3 * SECOND).await;
        sender.send(&get(1).as_bytes()[20..]).await;
        sender.take_all().await;
    });
    let deleting = shards.connect(0);
    let sender = deleting.clone();
    shards.spawn(async move {
        sender.send(&delete(1).as_bytes()[..20]).await;
        sender.pause(3 * SECOND).await;
        sender.send(&delete(1).as_bytes()[20..]).await;
        sender.take_all().await;
    });
    shards.run_for(SECOND);
    assert_eq!(idle.taken().statuses(), [404]);
    // Accepted just before the drain: one connection sends a request within a second, the other does not.
    let (fresh, silent) = (shards.connect(0), shards.connect(0));
    shards.run_for(SECOND / 10);
    let sender = fresh.clone();
    shards.spawn(async move {
        sender.pause(SECOND * 8 / 10).await;
        sender.send(get(2).as_bytes()).await;
        sender.take_all().await;
    });
    let sender = silent.clone();
    shards.spawn(async move { sender.take_all().await });
    shards.metrics.board.set_draining();
    // Nothing wakes the shards here: they check for a drain twice a second.
    shards.run_for(SECOND * 6 / 10);
    assert_eq!(idle.taken().end, Some(0), "idle connections are closed immediately");
    assert_eq!(silent.taken().end, None, "a fresh connection may still send a request");
    shards.run_for(2 * SECOND);
    assert_eq!((fresh.taken().statuses(), fresh.taken().end), (vec![404], Some(0)));
    assert!(fresh.taken().text().contains("Connection: close"));
    assert_eq!(silent.taken().end, Some(0), "the grace period has ended");
    shards.run_until("both shards to end", 10 * SECOND, |shards| {
        !shards.is_running(0) && !shards.is_running(1)
    });
    assert_eq!(upload.taken().statuses(), [201], "{}", upload.taken().text());
    assert_eq!(asked_late.taken().statuses(), [404]);
    assert_eq!(deleting.taken().statuses(), [503], "{}", deleting.taken().text());
    let refused = shards.metrics.shards[0].admission_refusals.at(AdmissionRefusal::Draining).get();
    assert_eq!(refused, 1);
}

/// The idle shard owns the volume of an upload on the other one.
#[test]
fn idle_shard_keeps_running_until_the_others_have_drained() {
    let mut shards = Shards::start(2, config);
    let upload = shards.connect(1);
    let sender = upload.clone();
    shards.spawn(async move {
        sender.send(put(7, 10, 5).as_bytes()).await;
        sender.pause(4 * SECOND).await;
        sender.send(b"67890").await;
        sender.take_all().await;
    });
    shards.run_for(SECOND);
    shards.metrics.board.set_draining();
    shards.run_for(2 * SECOND);
    assert!(shards.is_running(0), "shard 0 owns the volume");
    shards.run_until("both shards to end", 10 * SECOND, |shards| {
        !shards.is_running(0) && !shards.is_running(1)
    });
    assert_eq!(upload.taken().statuses(), [201], "{}", upload.taken().text());
}

/// A large body is sent by the shard that owns the volume: the connection moves there while that shard drains
/// and is idle.
#[test]
fn connection_moved_during_a_drain_is_served_completely() {
    let mut shards = Shards::start(2, config);
    let body = "y".repeat(3 << 20);
    let stored = start_request(&shards, 0, put(1, body.len(), 0) + &body);
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    let client = shards.connect(1);
    let sender = client.clone();
    shards.spawn(async move {
        sender.send(&get(1).as_bytes()[..20]).await;
        sender.pause(4 * SECOND).await;
        sender.send(&get(1).as_bytes()[20..]).await;
        while sender.take(60_000).await {
            sender.pause(SECOND / 10).await;
        }
    });
    shards.run_for(SECOND);
    shards.metrics.board.set_draining();
    shards.run_until("the whole body", 30 * SECOND, |_| {
        client.taken().bytes.ends_with(body.as_bytes())
    });
    shards.run_until("both shards to end", 10 * SECOND, |shards| {
        !shards.is_running(0) && !shards.is_running(1)
    });
    assert_eq!((client.taken().statuses(), client.taken().end), (vec![200], Some(0)));
}

#[test]
fn drain_waits_until_refused_clients_have_their_answer() {
    let mut shards = Shards::start(1, refusing_config);
    let client = shards.connect(0);
    let sender = client.clone();
    shards.spawn(async move {
        sender.take(1000).await;
        // A client that has not read the response yet keeps sending.
        for _ in 0..4 {
            sender.pause(SECOND / 2).await;
            assert!(sender.send(b"GET /").await, "the connection was cut");
        }
        sender.take_all().await;
        sender.close().await;
    });
    shards.run_until("the refusal", SECOND, |_| has_status(503)(&client));
    shards.metrics.board.set_draining();
    shards.run_for(SECOND);
    assert!(shards.is_running(0), "the client has not read its answer");
    shards.run_until("the shard to end", 10 * SECOND, |shards| !shards.is_running(0));
    assert_eq!(client.taken().end, Some(0), "closed without a reset");
}
