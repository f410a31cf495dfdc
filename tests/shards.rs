//! Connections and messages of simulated shards on a virtual clock: deadlines, refusals, draining, and
//! requests to a shard that does not answer.

mod fid_cases;
mod shard_cases;
mod shard_world;

use hayloft::base::types::VolumeId;
use hayloft::node::metrics::{AdmissionRefusal, ReadMetric, TimeoutKind};
use hayloft::runtime::sim::Fault;
use shard_world::{Client, SECOND, Shards, config, path};

/// Sends a request on a new connection and receives until the connection ends.
fn start_request(shards: &Shards, shard: usize, request: impl Into<String>) -> Client {
    let (client, request) = (shards.connect(shard), request.into());
    let sender = client.clone();
    shards.spawn(async move {
        sender.send(request.as_bytes()).await;
        sender.take_all().await;
    });
    client
}

fn get(key: u64) -> String {
    format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(key))
}

fn delete(key: u64) -> String {
    format!("DELETE {} HTTP/1.1\r\nHost: a\r\n\r\n", path(key))
}

/// A PUT with `sent` of `len` bytes of body.
fn put(key: u64, len: usize, sent: usize) -> String {
    let head = format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n", path(key));
    head + &"x".repeat(sent)
}

fn has_status(status: u16) -> impl Fn(&Client) -> bool {
    move |client| client.taken().statuses() == [status]
}

/// Regression, found by the simulation: the manifest of a large object was read slowly. Meanwhile its
/// generation was exchanged and the object replaced, and the answer was 404.
#[test]
fn large_object_replaced_during_an_exchange_is_never_absent() {
    let mut shards = Shards::start(1, config);
    let stored = start_request(&shards, 0, put(1, 1_300_000, 1_300_000));
    shards.run_until("the photo to be stored", 5 * SECOND, |_| has_status(201)(&stored));
    shards.run_for(5 * SECOND);
    shards.world.fail(0, Fault::Stall(3 * SECOND));
    let operations = shards.world.operations();
    let read = start_request(&shards, 0, get(1));
    shards.run_until("the read to begin", SECOND, |shards| shards.world.operations() > operations);
    shards.compact(0);
    shards.run_until("the next generation", SECOND, |shards| {
        shards.metrics.board.volume(VolumeId(1)).unwrap().generation.get() == 1
    });
    let replaced = start_request(&shards, 0, put(1, 5, 5));
    shards.run_until("the photo to be replaced", SECOND, |_| has_status(204)(&replaced));
    assert!(read.taken().bytes.is_empty(), "the read was not slow enough");
    shards.run_until("the read to end", 5 * SECOND, |_| has_status(200)(&read));
    assert!(read.taken().text().ends_with("xxxxx"));
}

#[test]
fn drain_ends_at_its_deadline_despite_a_slow_upload() {
    let limited = || {
        shard_world::config_with(|config| {
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
fn connections_handed_to_a_stalled_shard_are_bounded() {
    let mut shards = Shards::start_with(2, false, config);
    let most = hayloft::base::limits::HANDED_OVER_MAX;
    shards.stopped[1] = true;
    let clients: Vec<Client> = (0..2 * most + 400).map(|_| shards.connect(0)).collect();
    shards.run_until("all to be accepted", 20 * SECOND, |shards| {
        shards.metrics.shards[0].connections_accepted.get() == clients.len() as u64
    });
    let handed = shards.metrics.shards[0].handed_over.get();
    assert_eq!(handed, most as u64);
    shards.stopped[1] = false;
    shards.run_until("the handed connections to be adopted", 20 * SECOND, |shards| {
        shards.metrics.board.shards[1].connections.get() == handed
    });
    assert_eq!(shards.metrics.board.shards[0].connections.get(), clients.len() as u64 - handed);
}

/// A request to the volume of another shard does not wait for an earlier one.
#[test]
fn requests_from_another_shard_run_concurrently() {
    let mut shards = Shards::start(2, config);
    shards.world.fail(0, Fault::Stall(3 * SECOND));
    let slow = start_request(&shards, 1, put(1, 5, 5));
    shards.run_until("the write to begin", SECOND, |shards| {
        shards.metrics.shards[1].messages_sent.get() > 0
    });
    let quick: Vec<Client> = (2..8).map(|key| start_request(&shards, 1, get(key))).collect();
    shards.run_until("the others", SECOND, |_| quick.iter().all(has_status(404)));
    assert!(slow.taken().bytes.is_empty(), "its commit is in flight");
    shards.run_until("the write", 5 * SECOND, |_| has_status(201)(&slow));
}

/// Closing with unread data would reset the connection, and the client would lose the response.
#[test]
fn early_refusal_reaches_a_client_that_keeps_sending() {
    let mut shards = Shards::start(1, config);
    let client = shards.connect(0);
    let sender = client.clone();
    shards.spawn(async move {
        sender.send(put(1, 9 << 20, 0).as_bytes()).await;
        for _ in 0..20 {
            sender.send(&[b'x'; 20_000]).await;
            sender.pause(SECOND / 40).await;
        }
        sender.take_all().await;
        sender.close().await;
    });
    shards.run_until("the end", 5 * SECOND, |_| client.taken().end.is_some());
    assert_eq!((client.taken().statuses(), client.taken().end), (vec![413], Some(0)));
}

fn refusing_config() -> hayloft::node::shard::ShardConfig {
    shard_world::config_with(|config| {
        (config.connections_max, config.refusals_max) = (0, 3);
        config.deadlines.linger = 5 * SECOND;
    })
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

#[test]
fn excess_connections_get_503_up_to_a_bound_then_are_closed() {
    let mut shards = Shards::start(1, refusing_config);
    for round in 0..3 {
        let clients: Vec<Client> = (0..10).map(|_| start_request(&shards, 0, "")).collect();
        shards.run_until("all to be refused", SECOND, |_| {
            clients.iter().all(|client| client.taken().end.is_some())
        });
        let answered = clients.iter().filter(|client| has_status(503)(client)).count();
        let silent = clients.iter().filter(|client| client.taken().bytes.is_empty()).count();
        assert_eq!(
            (answered, silent),
            (3, 7),
            "round {round}: responses are bounded by refusals_max"
        );
        // Closed connections free their slots.
        for client in clients {
            shards.spawn(async move { client.close().await });
        }
        shards.run_for(SECOND);
    }
    let metrics = &shards.metrics.shards[0];
    let open = shards.metrics.board.shards[0].connections.get();
    assert_eq!((metrics.connections_refused.get(), open), (30, 0));
    assert_eq!(metrics.admission_refusals.at(AdmissionRefusal::Connections).get(), 9);
}

#[test]
fn connections_beyond_the_limit_are_refused_until_one_closes() {
    let bounded = || shard_world::config_with(|config| config.connections_max = 4);
    let mut shards = Shards::start(2, bounded);
    let held: Vec<Client> = (0..4).map(|n| start_request(&shards, n % 2, get(1))).collect();
    shards.run_until("all to be served", SECOND, |_| held.iter().all(has_status(404)));
    for round in 0..10 {
        let beyond = start_request(&shards, round % 2, "");
        shards.run_until("a refusal", SECOND, |_| has_status(503)(&beyond));
    }
    // An additional volume uses the descriptor of one connection.
    shards.shared.set_volumes_beyond(1);
    let leaving = held[0].clone();
    shards.spawn(async move { leaving.close().await });
    shards.run_for(SECOND / 2);
    let beyond = start_request(&shards, 0, get(1));
    shards.run_until("a refusal", SECOND, |_| has_status(503)(&beyond));
    shards.shared.set_volumes_beyond(0);
    let next = start_request(&shards, 0, get(1));
    shards.run_until("the next one to be served", SECOND, |_| has_status(404)(&next));
}

/// Replies have a minimum rate, too: a few bytes within each timeout are not enough.
#[test]
fn reader_below_the_minimum_rate_is_disconnected() {
    let mut shards = Shards::start(1, config);
    let (len, body) = (4 << 20, "y".repeat(4 << 20));
    let stored = start_request(&shards, 0, put(1, len, 0) + &body);
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    // In addition, the connection buffers 64 KiB.
    for (each, is_enough) in [(20 << 10, false), (120 << 10, true)] {
        let client = shards.connect(0);
        let sender = client.clone();
        shards.spawn(async move {
            sender.send(get(1).as_bytes()).await;
            while sender.take(each).await {
                sender.pause(4 * SECOND).await;
            }
        });
        let late = shards.metrics.shards[0].timeouts.at(TimeoutKind::Send).get();
        shards.run_for(100 * SECOND);
        let timeouts = shards.metrics.shards[0].timeouts.at(TimeoutKind::Send).get() - late;
        assert_eq!(timeouts, u64::from(!is_enough), "{each} bytes each 4 s");
    }
}

#[test]
fn requests_in_flight_to_a_stalled_shard_are_bounded() {
    let mut shards = Shards::start(2, config);
    shards.stopped[0] = true;
    let in_flight = u64::try_from(hayloft::base::limits::MESSAGES_IN_FLIGHT).unwrap();
    let clients: Vec<Client> =
        (0..in_flight + 20).map(|key| start_request(&shards, 1, delete(key))).collect();
    let busy = |shards: &Shards| {
        shards.metrics.shards[1].admission_refusals.at(AdmissionRefusal::Queue).get()
    };
    shards.run_until("some to be refused", 10 * SECOND, |shards| busy(shards) >= 20);
    shards.run_for(SECOND);
    let count = |status| clients.iter().filter(|client| has_status(status)(client)).count();
    assert_eq!((count(503), count(404)), (20, 0), "admitted requests wait");
    let refused = clients.iter().find(|client| has_status(503)(client)).unwrap();
    let text = refused.taken().text();
    assert!(
        text.contains("Retry-After: 1\r\n") && text.contains("too much is under way"),
        "{text}"
    );
    shards.stopped[0] = false;
    shards.run_until("the others", 10 * SECOND, |_| {
        clients.iter().filter(|client| has_status(404)(client)).count() as u64 == in_flight
    });
    let again = start_request(&shards, 1, delete(1));
    shards.run_until("one more", SECOND, |_| has_status(404)(&again));
}

#[test]
fn disconnected_clients_leak_no_connection_buffer_or_quota() {
    let mut shards = Shards::start(2, config);
    let body = "y".repeat(3 << 20);
    let stored = start_request(&shards, 0, put(1, body.len(), 0) + &body);
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    let leaving = stored.clone();
    shards.spawn(async move { leaving.close().await });
    shards.run_for(2 * SECOND);
    let used =
        |shards: &Shards| shards.pools.iter().map(hayloft::runtime::buffer::Pool::used).collect();
    let before: Vec<usize> = used(&shards);
    // More rounds than any quota has units.
    for round in 0..60_u64 {
        for shard in 0..2 {
            let requests = [
                put(2, 800_000, 300_000),
                put(3, 2 << 20, 1_300_000),
                get(1),
                get(1).replace("Host", "Range: bytes=0-100000\r\nHost"),
                "POST /1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nx".to_owned(),
                "POST /1/delete HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n\
                 Content-Length: 9000\r\n\r\nx"
                    .to_owned(),
                "GET /1".to_owned(),
            ];
            for (n, request) in requests.into_iter().enumerate() {
                let client = shards.connect(shard);
                let world = shards.world.clone();
                let sock = client.sock();
                shards.spawn(async move {
                    client.send(request.as_bytes()).await;
                    client.take(1000 * (n as u32 + 1)).await;
                });
                shards.run_for(SECOND / 200);
                world.reset(sock);
            }
        }
        shards.run_until(&format!("round {round} to leave"), 30 * SECOND, |shards| {
            shards.metrics.board.shards.iter().all(|shard| shard.connections.get() == 0)
        });
    }
    shards.run_for(SECOND);
    assert_eq!(used(&shards), before, "bytes of buffers");
    for shard in 0..2 {
        let whole = start_request(&shards, shard, get(1));
        shards.run_until("the object", 10 * SECOND, |_| {
            whole.taken().bytes.ends_with(body.as_bytes())
        });
        let again = start_request(&shards, shard, put(9, 3, 3));
        shards.run_until("an upload", 10 * SECOND, |_| {
            matches!(again.taken().statuses()[..], [201 | 204])
        });
    }
    // No message or connection counts as in transit between shards, so both drain.
    shards.metrics.board.set_draining();
    shards.run_until("both shards to end", 5 * SECOND, |shards| {
        !shards.is_running(0) && !shards.is_running(1)
    });
}

#[test]
fn head_body_and_idle_deadlines_are_independent() {
    let mut shards = Shards::start(1, config);
    // A head with one byte per second, bodies that stall, and an idle connection.
    let slow_head = shards.connect(0);
    let sender = slow_head.clone();
    shards.spawn(async move {
        for byte in get(1).bytes() {
            sender.send(&[byte]).await;
            sender.pause(SECOND).await;
        }
    });
    let sender = slow_head.clone();
    shards.spawn(async move { sender.take_all().await });
    let batch = "POST /1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\nx";
    let stalled = [
        put(1, 10, 5),
        put(1, 10, 0),
        put(1, 200_000, 70_000),
        put(1, 3 << 20, 0),
        put(1, 3 << 20, 1_100_000),
        put(1, 10, 0).replace("Host", "Expect: 100-continue\r\nHost"),
        batch.to_owned(),
    ];
    let stalled: Vec<Client> =
        stalled.into_iter().map(|begun| start_request(&shards, 0, begun)).collect();
    let idle = start_request(&shards, 0, "");
    shards.run_for(4 * SECOND);
    let is_pending = |client: &Client| matches!(client.taken().statuses()[..], [] | [100]);
    assert!(is_pending(&slow_head) && stalled.iter().all(is_pending));
    shards.run_until("the dribbling head", 2 * SECOND, |_| has_status(408)(&slow_head));
    shards.run_until("the stalled bodies", 10 * SECOND, |_| {
        stalled.iter().all(|client| client.taken().statuses().last() == Some(&408))
    });
    shards.run_for(50 * SECOND);
    assert_eq!(idle.taken().end, None);
    shards.run_until("the idle one", 30 * SECOND, |_| idle.taken().end == Some(0));
    let timeouts = &shards.metrics.shards[0].timeouts;
    let counts = [TimeoutKind::Head, TimeoutKind::Body, TimeoutKind::Idle, TimeoutKind::Send];
    assert_eq!(counts.map(|kind| timeouts.at(kind).get()), [1, 7, 1, 0]);
}

#[test]
fn body_below_the_minimum_rate_times_out_and_one_above_does_not() {
    let mut shards = Shards::start(1, config);
    // Deadline of each 64 KiB: 5 s plus their time at 16 KiB/s.
    for (each, status) in [(30_000, 201), (10_000, 408)] {
        for (key, len) in [(1, 900_000), (2, 1_500_000)] {
            let client = shards.connect(0);
            let sender = client.clone();
            shards.spawn(async move {
                sender.send(put(key + status, len, 0).as_bytes()).await;
                for piece in vec![b'x'; len].chunks(each) {
                    if !sender.send(piece).await {
                        break;
                    }
                    sender.pause(2 * SECOND).await;
                }
            });
            let sender = client.clone();
            shards.spawn(async move { sender.take_all().await });
            shards.run_until("the answer", 200 * SECOND, |_| !client.taken().bytes.is_empty());
            assert_eq!(client.taken().statuses(), [u16::try_from(status).unwrap()], "{len} bytes");
        }
    }
}

/// A blank line after a request does not begin a head.
#[test]
fn blank_line_between_requests_starts_no_head_deadline() {
    let mut shards = Shards::start(1, config);
    let client = shards.connect(0);
    let sender = client.clone();
    shards.spawn(async move {
        sender.send((get(1) + "\r\n").as_bytes()).await;
        sender.pause(SECOND).await;
        sender.send(b"\r\n").await;
        sender.pause(20 * SECOND).await;
        sender.send(get(1).as_bytes()).await;
    });
    let sender = client.clone();
    shards.spawn(async move { sender.take_all().await });
    shards.run_for(25 * SECOND);
    assert_eq!(client.taken().statuses(), [404, 400], "{}", client.taken().text());
    let client = shards.connect(0);
    let sender = client.clone();
    shards.spawn(async move {
        sender.send(get(1).as_bytes()).await;
        sender.pause(SECOND).await;
        sender.send(b"\r\n").await;
        sender.pause(20 * SECOND).await;
        sender.send(get(1).as_bytes()).await;
    });
    let sender = client.clone();
    shards.spawn(async move { sender.take_all().await });
    shards.run_for(25 * SECOND);
    assert_eq!(client.taken().statuses(), [404, 404], "{}", client.taken().text());
}

/// One blank line is allowed before a request. Regression: each blank line that arrived alone counted as the
/// first.
#[test]
fn second_blank_line_before_a_request_is_always_refused() {
    let mut shards = Shards::start(1, config);
    let second = format!("\r\n{}", get(1));
    for (pieces, status) in [
        (["\r\n".to_owned(), get(1)], 404),
        (["\r\n".to_owned(), second], 400),
        (["\r\n".to_owned(), "\r\n".to_owned()], 400),
    ] {
        let client = shards.connect(0);
        let sender = client.clone();
        shards.spawn(async move {
            for piece in pieces {
                sender.send(piece.as_bytes()).await;
                sender.pause(SECOND).await;
            }
            sender.take_all().await;
        });
        shards.run_until("the answer", 5 * SECOND, |_| has_status(status)(&client));
    }
}

/// Sends a request and reads nothing of the response.
fn request_without_reading(shards: &Shards, shard: usize, key: u64) {
    let client = shards.connect(shard);
    shards.spawn(async move {
        client.send(get(key).as_bytes()).await;
    });
}

#[test]
fn readers_leave_buffers_for_request_heads() {
    let mut shards = Shards::start(1, config);
    for (key, len) in [(1, 200_000), (2, 100_000), (3, 80_000)] {
        let stored = start_request(&shards, 0, put(key, len, len));
        shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    }
    for key in 1..=3 {
        for _ in 0..200 {
            request_without_reading(&shards, 0, key);
        }
        shards.run_for(SECOND / 10);
    }
    let (used, all) = (shards.pools[0].used(), shards.pools[0].capacity());
    assert!(used > all / 16 * 14, "{used} of {all} bytes: too few readers for this test");
    assert!(used <= all / 16 * 15, "{used} of {all} bytes");
    let refused = shards.metrics.shards[0].admission_refusals.at(AdmissionRefusal::Buffers).get();
    assert!(refused > 300, "{refused}");
    let another = start_request(&shards, 0, get(9));
    shards.run_until("another answer", SECOND, |_| has_status(404)(&another));
}

/// The buffer of a remote read is sized by the last read of that shard.
#[test]
fn remote_read_is_one_message_once_the_size_is_known() {
    let mut shards = Shards::start(2, config);
    let stored = start_request(&shards, 0, put(1, 90_000, 90_000));
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    let before = shards.metrics.shards[1].messages_sent.get();
    for _ in 0..20 {
        let got = start_request(&shards, 1, get(1));
        shards.run_until("the object", SECOND, |_| got.taken().bytes.len() > 90_000);
    }
    let asked = shards.metrics.shards[1].messages_sent.get() - before;
    assert_eq!(asked, 21, "20 reads, of which the first had too small a buffer");
}

/// Uploads may use five eighths of the buffers of a shard. Further ones wait for a short time, up to a bound,
/// and are then refused.
#[test]
fn uploads_are_admitted_up_to_the_buffer_quota_and_few_wait() {
    const LEN: usize = 1 << 20;
    let mut shards = Shards::start(1, config);
    let begin = |shards: &Shards, key: u64| {
        let client = shards.connect(0);
        let sender = client.clone();
        shards.spawn(async move {
            sender.send(put(key, LEN, 2000).as_bytes()).await;
            sender.take_all().await;
        });
        client
    };
    let finish = |shards: &Shards, client: &Client| {
        let sender = client.clone();
        shards.spawn(async move {
            sender.send(&vec![b'x'; LEN - 2000]).await;
        });
    };
    let is_refused = has_status(503);
    let mut held: Vec<Client> = (0..20).map(|key| begin(&shards, key)).collect();
    shards.run_for(SECOND / 2);
    held.retain(|client| !is_refused(client));
    assert!((10..=15).contains(&held.len()), "{}", held.len());
    let capacity = shards.pools[0].capacity();
    assert!(shards.pools[0].used() <= capacity / 8 * 5 + (1 << 20));
    let read = start_request(&shards, 0, get(99));
    shards.run_until("a concurrent read", SECOND, |_| has_status(404)(&read));
    let burst: Vec<Client> = (100..220).map(|key| begin(&shards, key)).collect();
    shards.run_for(SECOND / 20);
    let refused_immediately = burst.iter().filter(|client| is_refused(client)).count();
    assert!(
        (40..=60).contains(&refused_immediately),
        "{refused_immediately} of 120 refused immediately; 64 may wait"
    );
    shards.run_until("the others", SECOND, |_| burst.iter().all(&is_refused));
    // A waiting upload is admitted when another one finishes.
    let next = begin(&shards, 300);
    shards.run_for(SECOND / 50);
    finish(&shards, &held[0]);
    shards.run_until("the first upload", SECOND, |_| has_status(201)(&held[0]));
    finish(&shards, &next);
    shards.run_until("the next one", SECOND, |_| has_status(201)(&next));
}

#[test]
fn concurrent_large_downloads_are_bounded_by_the_buffer_quota() {
    let mut shards = Shards::start(1, config);
    let body = "y".repeat(2 << 20);
    let stored = start_request(&shards, 0, put(1, body.len(), 0) + &body);
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    for _ in 0..100 {
        request_without_reading(&shards, 0, 1);
    }
    shards.run_for(SECOND);
    let refused = shards.metrics.shards[0].admission_refusals.at(AdmissionRefusal::Buffers).get();
    assert_eq!(refused, 100 - (24 << 20) / 4 / ((64 + 8) << 10), "a quarter of the buffers");
    // They are disconnected at the send timeout, and others are served.
    shards.run_for(30 * SECOND);
    let whole = start_request(&shards, 0, get(1));
    shards.run_until("the object", 10 * SECOND, |_| whole.taken().bytes.ends_with(body.as_bytes()));
}

/// The clock of the store decides, for requests from any shard, and what has expired is published.
#[test]
fn photo_expires_by_the_clock_of_the_store() {
    const DAY: u64 = 86_400 * SECOND;
    let mut shards = Shards::start(2, config);
    let now = 1_800_000_000 / 86_400 * 86_400;
    shards.world.set_wall(now * SECOND);
    let ask = |shards: &mut Shards, shard: usize, request: String| {
        let client = start_request(shards, shard, request);
        shards.run_until("an answer", 5 * SECOND, |_| !client.taken().statuses().is_empty());
        client.taken()
    };
    let put = |shard_cookie: &str, expires: u64| {
        format!(
            "PUT /1/1/0/{shard_cookie} HTTP/1.1\r\nHost: a\r\nX-Hayloft-Expires: {expires}\r\n\
             Content-Length: 3\r\n\r\nabc"
        )
    };
    let (own, other) = ("0123456789abcdef", "fedcba9876543210");
    for shard in [1, 0] {
        let stored = ask(&mut shards, shard, put(own, now + 100));
        assert!([201, 204].contains(&stored.statuses()[0]), "{}", stored.text());
    }
    let found = ask(&mut shards, 1, get(1));
    assert_eq!(found.statuses(), [200]);
    let text = found.text();
    assert!(text.contains(&format!("X-Hayloft-Expires: {}\r\n", now + 100)), "{text}");
    let fresh = text.split("max-age=").nth(1).unwrap().split(',').next().unwrap();
    assert!((90..=100).contains(&fresh.parse::<u64>().unwrap()), "{text}");
    assert!(text.contains(", immutable\r\n"), "{text}");
    let change = |expires: &str| {
        format!(
            "POST /1/1/0/{own} HTTP/1.1\r\nHost: a\r\nX-Hayloft-Expires: {expires}\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    let later = (now + 5000).to_string();
    for (shard, expires) in [(1, "never"), (0, "never"), (1, &later), (0, &later)] {
        assert_eq!(ask(&mut shards, shard, change(expires)).statuses(), [204], "{expires}");
    }
    shards.world.set_wall((now + 4000) * SECOND);
    assert_eq!(ask(&mut shards, 1, get(1)).statuses(), [200]);
    shards.world.set_wall((now + 6000) * SECOND);
    for shard in [0, 1] {
        assert_eq!(ask(&mut shards, shard, get(1)).statuses(), [404]);
        assert_eq!(ask(&mut shards, shard, delete(1)).statuses(), [404]);
        assert_eq!(ask(&mut shards, shard, change("never")).statuses(), [404]);
    }
    let board = shards.metrics.board.volume(VolumeId(1)).unwrap();
    board.drop_expired_before_ns.set(now * SECOND);
    shards.world.set_wall(now * SECOND + DAY);
    shards.run_until("expired bytes", 60 * SECOND, |_| board.expired_bytes.get() == 1024);
    assert_eq!(board.droppable_bytes.get(), 0);
    board.drop_expired_before_ns.set(now * SECOND + DAY);
    shards.run_until("droppable bytes", 60 * SECOND, |_| board.droppable_bytes.get() == 1024);
    let stored = ask(&mut shards, 1, put(other, now + 100_000));
    assert_eq!(stored.statuses(), [201], "the name is free");
    shards.run_until("none", 60 * SECOND, |_| board.droppable_bytes.get() == 0);
    assert_eq!(ask(&mut shards, 0, get(1)).statuses(), [404], "it has another cookie");
}
