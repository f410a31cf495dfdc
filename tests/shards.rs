//! What shards do with their connections and with each other, on a clock of the test's own: deadlines,
//! refusals, draining, and questions to a shard that does not answer.

mod shard_world;

use hayloft::node::metrics::{AdmissionRefusal, ReadMetric, TimeoutKind};
use shard_world::{Client, SECOND, Shards, config, path};

/// Begins a request and takes what is answered until the connection ends.
fn ask(shards: &Shards, shard: usize, request: impl Into<String>) -> Client {
    let (client, request) = (shards.connect(shard), request.into());
    let its = client.clone();
    shards.spawn(async move {
        its.send(request.as_bytes()).await;
        its.take_all().await;
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

#[test]
fn a_drain_ends_at_its_deadline_whoever_is_still_sending() {
    let limited = || {
        shard_world::config_with(|config| {
            config.drain_ns = 3 * SECOND;
            config.deadlines.body = 600 * SECOND;
        })
    };
    let mut shards = Shards::start(2, limited);
    let slow = ask(&shards, 0, put(1, 100_000, 10_000));
    shards.run_until("the upload to be under way", SECOND, |shards| {
        shards.metrics.board.shards[0].connections.get() == 1
    });
    shards.run_for(SECOND);
    shards.metrics.board.set_draining();
    let began = shards.world.now();
    shards.run_for(2 * SECOND);
    assert!(shards.is_running(0) && shards.is_running(1), "requests under way may go on");
    shards.run_until("both shards to end", 5 * SECOND, |shards| {
        !shards.is_running(0) && !shards.is_running(1)
    });
    let took = shards.world.now() - began;
    assert!((3 * SECOND..4 * SECOND).contains(&took), "{took} ns");
    assert!(slow.taken().bytes.is_empty());
}

#[test]
fn a_drain_waits_for_what_is_under_way_and_refuses_what_comes() {
    let mut shards = Shards::start(2, config);
    let idle = ask(&shards, 0, get(1));
    let upload = shards.connect(1);
    let its = upload.clone();
    shards.spawn(async move {
        its.send(put(7, 10, 5).as_bytes()).await;
        its.pause(4 * SECOND).await;
        its.send(b"67890").await;
        its.take_all().await;
    });
    let asked_late = shards.connect(0);
    let its = asked_late.clone();
    shards.spawn(async move {
        its.send(&get(1).as_bytes()[..20]).await;
        its.pause(3 * SECOND).await;
        its.send(&get(1).as_bytes()[20..]).await;
        its.take_all().await;
    });
    let deleting = shards.connect(0);
    let its = deleting.clone();
    shards.spawn(async move {
        its.send(&delete(1).as_bytes()[..20]).await;
        its.pause(3 * SECOND).await;
        its.send(&delete(1).as_bytes()[20..]).await;
        its.take_all().await;
    });
    shards.run_for(SECOND);
    assert_eq!(idle.taken().statuses(), [404]);
    // Accepted just before: one that asks within the second after, and one that does not.
    let (fresh, silent) = (shards.connect(0), shards.connect(0));
    shards.run_for(SECOND / 10);
    let its = fresh.clone();
    shards.spawn(async move {
        its.pause(SECOND * 8 / 10).await;
        its.send(get(2).as_bytes()).await;
        its.take_all().await;
    });
    let its = silent.clone();
    shards.spawn(async move { its.take_all().await });
    shards.metrics.board.set_draining();
    // Nobody wakes them here: they look around twice a second.
    shards.run_for(SECOND * 6 / 10);
    assert_eq!(idle.taken().end, Some(0), "idle connections are closed at once");
    assert_eq!(silent.taken().end, None, "one that may be about to ask is not");
    shards.run_for(2 * SECOND);
    assert_eq!((fresh.taken().statuses(), fresh.taken().end), (vec![404], Some(0)));
    assert!(fresh.taken().text().contains("Connection: close"));
    assert_eq!(silent.taken().end, Some(0), "its time is over");
    shards.run_until("both shards to end", 10 * SECOND, |shards| {
        !shards.is_running(0) && !shards.is_running(1)
    });
    assert_eq!(upload.taken().statuses(), [201], "{}", upload.taken().text());
    assert_eq!(asked_late.taken().statuses(), [404]);
    assert_eq!(deleting.taken().statuses(), [503], "{}", deleting.taken().text());
    let refused = shards.metrics.shards[0].admission_refusals.at(AdmissionRefusal::Draining).get();
    assert_eq!(refused, 1);
}

/// The shard that has nothing to do ends with the other one, which may still ask it.
#[test]
fn no_shard_ends_before_the_others_have_nothing_left_to_ask() {
    let mut shards = Shards::start(2, config);
    let upload = shards.connect(1);
    let its = upload.clone();
    shards.spawn(async move {
        its.send(put(7, 10, 5).as_bytes()).await;
        its.pause(4 * SECOND).await;
        its.send(b"67890").await;
        its.take_all().await;
    });
    shards.run_for(SECOND);
    shards.metrics.board.set_draining();
    shards.run_for(2 * SECOND);
    assert!(shards.is_running(0), "it owns the volume");
    shards.run_until("both shards to end", 10 * SECOND, |shards| {
        !shards.is_running(0) && !shards.is_running(1)
    });
    assert_eq!(upload.taken().statuses(), [201], "{}", upload.taken().text());
}

/// A large body is sent by the shard that owns its volume: the connection moves there, while it drains and
/// has nothing left to do.
#[test]
fn a_connection_that_moves_during_a_drain_is_served_to_its_end() {
    let mut shards = Shards::start(2, config);
    let body = "y".repeat(3 << 20);
    let stored = ask(&shards, 0, put(1, body.len(), 0) + &body);
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    let client = shards.connect(1);
    let its = client.clone();
    shards.spawn(async move {
        its.send(&get(1).as_bytes()[..20]).await;
        its.pause(4 * SECOND).await;
        its.send(&get(1).as_bytes()[20..]).await;
        while its.take(60_000).await {
            its.pause(SECOND / 10).await;
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
fn a_shard_that_does_not_run_is_handed_no_more_connections_than_so_many() {
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
    shards.run_until("them to be adopted", 20 * SECOND, |shards| {
        shards.metrics.board.shards[1].connections.get() == handed
    });
    assert_eq!(shards.metrics.board.shards[0].connections.get(), clients.len() as u64 - handed);
}

/// What one asks of another shard's volume does not wait for what somebody else has asked before.
#[test]
fn questions_from_another_shard_are_worked_on_side_by_side() {
    let mut shards = Shards::start(2, config);
    shards.world.fail(0, hayloft::runtime::sim::Fault::Stall(3 * SECOND));
    let slow = ask(&shards, 1, put(1, 5, 5));
    shards.run_until("the write to begin", SECOND, |shards| {
        shards.metrics.shards[1].messages_sent.get() > 0
    });
    let quick: Vec<Client> = (2..8).map(|key| ask(&shards, 1, get(key))).collect();
    shards.run_until("the others", SECOND, |_| quick.iter().all(has_status(404)));
    assert!(slow.taken().bytes.is_empty(), "its commit has not ended");
    shards.run_until("the write", 5 * SECOND, |_| has_status(201)(&slow));
}

/// Closing with something unread would reset the connection, and destroy the answer on its way.
#[test]
fn an_early_refusal_reaches_a_client_that_goes_on_sending() {
    let mut shards = Shards::start(1, config);
    let client = shards.connect(0);
    let its = client.clone();
    shards.spawn(async move {
        its.send(put(1, 9 << 20, 0).as_bytes()).await;
        for _ in 0..20 {
            its.send(&[b'x'; 20_000]).await;
            its.pause(SECOND / 40).await;
        }
        its.take_all().await;
        its.close().await;
    });
    shards.run_until("the end", 5 * SECOND, |_| client.taken().end.is_some());
    assert_eq!((client.taken().statuses(), client.taken().end), (vec![413], Some(0)));
}

fn refusing() -> hayloft::node::shard::ShardConfig {
    shard_world::config_with(|config| {
        (config.connections_max, config.refusals_max) = (0, 3);
        config.deadlines.linger = 5 * SECOND;
    })
}

#[test]
fn a_drain_waits_until_those_it_refused_have_their_answer() {
    let mut shards = Shards::start(1, refusing);
    let client = shards.connect(0);
    let its = client.clone();
    shards.spawn(async move {
        its.take(1000).await;
        // It goes on sending for a while, as one that has not looked yet.
        for _ in 0..4 {
            its.pause(SECOND / 2).await;
            assert!(its.send(b"GET /").await, "the connection was cut");
        }
        its.take_all().await;
        its.close().await;
    });
    shards.run_until("the refusal", SECOND, |_| has_status(503)(&client));
    shards.metrics.board.set_draining();
    shards.run_for(SECOND);
    assert!(shards.is_running(0), "the client has not read its answer");
    shards.run_until("the shard to end", 10 * SECOND, |shards| !shards.is_running(0));
    assert_eq!(client.taken().end, Some(0), "an orderly end");
}

#[test]
fn of_too_many_connections_a_few_are_told_and_the_rest_closed() {
    let mut shards = Shards::start(1, refusing);
    for round in 0..3 {
        let clients: Vec<Client> = (0..10).map(|_| ask(&shards, 0, "")).collect();
        shards.run_until("all to hear of it", SECOND, |_| {
            clients.iter().all(|client| client.taken().end.is_some())
        });
        let told = clients.iter().filter(|client| has_status(503)(client)).count();
        let silent = clients.iter().filter(|client| client.taken().bytes.is_empty()).count();
        assert_eq!((told, silent), (3, 7), "round {round}: as many as may be told at once");
        // Their places are free again when they have closed.
        for client in clients {
            shards.spawn(async move { client.close().await });
        }
        shards.run_for(SECOND);
    }
    let of = &shards.metrics.shards[0];
    let open = shards.metrics.board.shards[0].connections.get();
    assert_eq!((of.connections_refused.get(), open), (30, 0));
    assert_eq!(of.admission_refusals.at(AdmissionRefusal::Connections).get(), 9);
}

#[test]
fn connections_beyond_the_bound_are_refused_until_one_ends() {
    let bounded = || shard_world::config_with(|config| config.connections_max = 4);
    let mut shards = Shards::start(2, bounded);
    let held: Vec<Client> = (0..4).map(|n| ask(&shards, n % 2, get(1))).collect();
    shards.run_until("all to be served", SECOND, |_| held.iter().all(has_status(404)));
    for round in 0..10 {
        let beyond = ask(&shards, round % 2, "");
        shards.run_until("a refusal", SECOND, |_| has_status(503)(&beyond));
    }
    // A volume more takes the descriptor of a connection.
    shards.shared.set_volumes_beyond(1);
    let leaving = held[0].clone();
    shards.spawn(async move { leaving.close().await });
    shards.run_for(SECOND / 2);
    let beyond = ask(&shards, 0, get(1));
    shards.run_until("a refusal", SECOND, |_| has_status(503)(&beyond));
    shards.shared.set_volumes_beyond(0);
    let next = ask(&shards, 0, get(1));
    shards.run_until("the next one to be served", SECOND, |_| has_status(404)(&next));
}

/// A reply has a rate too: a few bytes in each timeout are not enough.
#[test]
fn a_client_that_takes_a_reply_below_the_least_rate_is_let_go() {
    let mut shards = Shards::start(1, config);
    let (len, body) = (4 << 20, "y".repeat(4 << 20));
    let stored = ask(&shards, 0, put(1, len, 0) + &body);
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    // The window of the connection holds 64 KiB besides.
    for (each, is_enough) in [(20 << 10, false), (120 << 10, true)] {
        let client = shards.connect(0);
        let its = client.clone();
        shards.spawn(async move {
            its.send(get(1).as_bytes()).await;
            while its.take(each).await {
                its.pause(4 * SECOND).await;
            }
        });
        let late = shards.metrics.shards[0].timeouts.at(TimeoutKind::Send).get();
        shards.run_for(100 * SECOND);
        let timeouts = shards.metrics.shards[0].timeouts.at(TimeoutKind::Send).get() - late;
        assert_eq!(timeouts, u64::from(!is_enough), "{each} bytes each 4 s");
    }
}

#[test]
fn a_shard_that_does_not_answer_is_asked_no_more_than_so_much_at_once() {
    let mut shards = Shards::start(2, config);
    shards.stopped[0] = true;
    let in_flight = u64::try_from(hayloft::base::limits::MESSAGES_IN_FLIGHT).unwrap();
    let clients: Vec<Client> =
        (0..in_flight + 20).map(|key| ask(&shards, 1, delete(key))).collect();
    let busy = |shards: &Shards| {
        shards.metrics.shards[1].admission_refusals.at(AdmissionRefusal::Queue).get()
    };
    shards.run_until("some to be refused", 10 * SECOND, |shards| busy(shards) >= 20);
    shards.run_for(SECOND);
    let count = |status| clients.iter().filter(|client| has_status(status)(client)).count();
    assert_eq!((count(503), count(404)), (20, 0), "what fits waits");
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
    let again = ask(&shards, 1, delete(1));
    shards.run_until("one more", SECOND, |_| has_status(404)(&again));
}

/// What is left when all clients have gone, however they went: nothing.
#[test]
fn clients_leave_no_connection_buffer_or_share_behind() {
    let mut shards = Shards::start(2, config);
    let body = "y".repeat(3 << 20);
    let stored = ask(&shards, 0, put(1, body.len(), 0) + &body);
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    let leaving = stored.clone();
    shards.spawn(async move { leaving.close().await });
    shards.run_for(2 * SECOND);
    let used =
        |shards: &Shards| shards.pools.iter().map(hayloft::runtime::buffer::Pool::used).collect();
    let before: Vec<usize> = used(&shards);
    // More rounds than there are shares of anything.
    for round in 0..60_u64 {
        for shard in 0..2 {
            let requests = [
                put(2, 800_000, 300_000),
                put(3, 2 << 20, 1_300_000),
                get(1),
                get(1).replace("Host", "Range: bytes=0-100000\r\nHost"),
                "POST /1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nx".to_owned(),
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
        let whole = ask(&shards, shard, get(1));
        shards.run_until("the object", 10 * SECOND, |_| {
            whole.taken().bytes.ends_with(body.as_bytes())
        });
        let again = ask(&shards, shard, put(9, 3, 3));
        shards.run_until("an upload", 10 * SECOND, |_| {
            matches!(again.taken().statuses()[..], [201 | 204])
        });
    }
    // Nothing counts as on its way from one shard to the other either.
    shards.metrics.board.set_draining();
    shards.run_until("both shards to end", 5 * SECOND, |shards| {
        !shards.is_running(0) && !shards.is_running(1)
    });
}

#[test]
fn each_deadline_of_a_request_is_its_own() {
    let mut shards = Shards::start(1, config);
    // One byte a second of a head; a body that comes and stops; nothing at all.
    let dribbling = shards.connect(0);
    let its = dribbling.clone();
    shards.spawn(async move {
        for byte in get(1).bytes() {
            its.send(&[byte]).await;
            its.pause(SECOND).await;
        }
    });
    let its = dribbling.clone();
    shards.spawn(async move { its.take_all().await });
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
    let stalled: Vec<Client> = stalled.into_iter().map(|begun| ask(&shards, 0, begun)).collect();
    let idle = ask(&shards, 0, "");
    shards.run_for(4 * SECOND);
    let is_waited_for = |client: &Client| matches!(client.taken().statuses()[..], [] | [100]);
    assert!(is_waited_for(&dribbling) && stalled.iter().all(is_waited_for));
    shards.run_until("the dribbling head", 2 * SECOND, |_| has_status(408)(&dribbling));
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
fn a_body_that_keeps_the_least_rate_is_waited_for_and_one_that_does_not_is_ended() {
    let mut shards = Shards::start(1, config);
    // Of each 64 KiB: 5 s, and what they take at 16 KiB/s.
    for (each, status) in [(30_000, 201), (10_000, 408)] {
        for (key, len) in [(1, 900_000), (2, 1_500_000)] {
            let client = shards.connect(0);
            let its = client.clone();
            shards.spawn(async move {
                its.send(put(key + status, len, 0).as_bytes()).await;
                for piece in vec![b'x'; len].chunks(each) {
                    if !its.send(piece).await {
                        break;
                    }
                    its.pause(2 * SECOND).await;
                }
            });
            let its = client.clone();
            shards.spawn(async move { its.take_all().await });
            shards.run_until("the answer", 200 * SECOND, |_| !client.taken().bytes.is_empty());
            assert_eq!(client.taken().statuses(), [u16::try_from(status).unwrap()], "{len} bytes");
        }
    }
}

/// A blank line behind a request is idleness, and no head that began.
#[test]
fn a_blank_line_between_requests_has_no_deadline_of_a_head() {
    let mut shards = Shards::start(1, config);
    let client = shards.connect(0);
    let its = client.clone();
    shards.spawn(async move {
        its.send((get(1) + "\r\n").as_bytes()).await;
        its.pause(SECOND).await;
        its.send(b"\r\n").await;
        its.pause(20 * SECOND).await;
        its.send(get(1).as_bytes()).await;
    });
    let its = client.clone();
    shards.spawn(async move { its.take_all().await });
    shards.run_for(25 * SECOND);
    assert_eq!(client.taken().statuses(), [404, 400], "{}", client.taken().text());
    let client = shards.connect(0);
    let its = client.clone();
    shards.spawn(async move {
        its.send(get(1).as_bytes()).await;
        its.pause(SECOND).await;
        its.send(b"\r\n").await;
        its.pause(20 * SECOND).await;
        its.send(get(1).as_bytes()).await;
    });
    let its = client.clone();
    shards.spawn(async move { its.take_all().await });
    shards.run_for(25 * SECOND);
    assert_eq!(client.taken().statuses(), [404, 404], "{}", client.taken().text());
}

/// One blank line may come before a request. What had arrived before it was forgotten, and each one
/// that came alone was the first.
#[test]
fn a_second_blank_line_passed_when_it_came_later() {
    let mut shards = Shards::start(1, config);
    let second = format!("\r\n{}", get(1));
    for (pieces, status) in [
        (["\r\n".to_owned(), get(1)], 404),
        (["\r\n".to_owned(), second], 400),
        (["\r\n".to_owned(), "\r\n".to_owned()], 400),
    ] {
        let client = shards.connect(0);
        let its = client.clone();
        shards.spawn(async move {
            for piece in pieces {
                its.send(piece.as_bytes()).await;
                its.pause(SECOND).await;
            }
            its.take_all().await;
        });
        shards.run_until("the answer", 5 * SECOND, |_| has_status(status)(&client));
    }
}

/// A client that asks and takes nothing of the answer.
fn ask_deaf(shards: &Shards, shard: usize, key: u64) {
    let client = shards.connect(shard);
    shards.spawn(async move {
        client.send(get(key).as_bytes()).await;
    });
}

#[test]
fn readers_leave_buffers_for_the_heads_of_requests() {
    let mut shards = Shards::start(1, config);
    for (key, len) in [(1, 200_000), (2, 100_000), (3, 80_000)] {
        let stored = ask(&shards, 0, put(key, len, len));
        shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    }
    for key in 1..=3 {
        for _ in 0..200 {
            ask_deaf(&shards, 0, key);
        }
        shards.run_for(SECOND / 10);
    }
    let (used, all) = (shards.pools[0].used(), shards.pools[0].capacity());
    assert!(used > all / 16 * 14, "{used} of {all} bytes: too few readers for this test");
    assert!(used <= all / 16 * 15, "{used} of {all} bytes");
    let refused = shards.metrics.shards[0].admission_refusals.at(AdmissionRefusal::Buffers).get();
    assert!(refused > 300, "{refused}");
    let another = ask(&shards, 0, get(9));
    shards.run_until("another answer", SECOND, |_| has_status(404)(&another));
}

/// The length of a photo elsewhere is not known beforehand, but much the same as that of the last one.
#[test]
fn a_read_elsewhere_is_one_question_once_the_size_is_known() {
    let mut shards = Shards::start(2, config);
    let stored = ask(&shards, 0, put(1, 90_000, 90_000));
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    let before = shards.metrics.shards[1].messages_sent.get();
    for _ in 0..20 {
        let got = ask(&shards, 1, get(1));
        shards.run_until("the object", SECOND, |_| got.taken().bytes.len() > 90_000);
    }
    let asked = shards.metrics.shards[1].messages_sent.get() - before;
    assert_eq!(asked, 21, "20 reads, of which the first had too small a buffer");
}

/// Of a shard's buffers bodies may have five eighths. What comes beyond waits for a moment, if not too many
/// do, and is refused then.
#[test]
fn bodies_are_admitted_as_far_as_buffers_go_and_a_few_wait_a_moment() {
    const LEN: usize = 1 << 20;
    let mut shards = Shards::start(1, config);
    let begin = |shards: &Shards, key: u64| {
        let client = shards.connect(0);
        let its = client.clone();
        shards.spawn(async move {
            its.send(put(key, LEN, 2000).as_bytes()).await;
            its.take_all().await;
        });
        client
    };
    let finish = |shards: &Shards, client: &Client| {
        let its = client.clone();
        shards.spawn(async move {
            its.send(&vec![b'x'; LEN - 2000]).await;
        });
    };
    let is_refused = has_status(503);
    let mut held: Vec<Client> = (0..20).map(|key| begin(&shards, key)).collect();
    shards.run_for(SECOND / 2);
    held.retain(|client| !is_refused(client));
    assert!((10..=15).contains(&held.len()), "{}", held.len());
    let capacity = shards.pools[0].capacity();
    assert!(shards.pools[0].used() <= capacity / 8 * 5 + (1 << 20));
    let read = ask(&shards, 0, get(99));
    shards.run_until("a read meanwhile", SECOND, |_| has_status(404)(&read));
    let crowd: Vec<Client> = (100..220).map(|key| begin(&shards, key)).collect();
    shards.run_for(SECOND / 20);
    let at_once = crowd.iter().filter(|client| is_refused(client)).count();
    assert!((40..=60).contains(&at_once), "{at_once} of 120 at once, for 64 may wait");
    shards.run_until("the others", SECOND, |_| crowd.iter().all(&is_refused));
    // One for which there is room a moment later.
    let next = begin(&shards, 300);
    shards.run_for(SECOND / 50);
    finish(&shards, &held[0]);
    shards.run_until("the first upload", SECOND, |_| has_status(201)(&held[0]));
    finish(&shards, &next);
    shards.run_until("the next one", SECOND, |_| has_status(201)(&next));
}

#[test]
fn large_bodies_are_sent_to_as_many_at_once_as_there_are_shares() {
    let mut shards = Shards::start(1, config);
    let body = "y".repeat(2 << 20);
    let stored = ask(&shards, 0, put(1, body.len(), 0) + &body);
    shards.run_until("the object", 10 * SECOND, |_| has_status(201)(&stored));
    for _ in 0..100 {
        ask_deaf(&shards, 0, 1);
    }
    shards.run_for(SECOND);
    let refused = shards.metrics.shards[0].admission_refusals.at(AdmissionRefusal::Buffers).get();
    assert_eq!(refused, 100 - (24 << 20) / 4 / ((64 + 8) << 10), "a quarter of the buffers");
    // They are let go when they have taken nothing for their time, and others are served.
    shards.run_for(30 * SECOND);
    let whole = ask(&shards, 0, get(1));
    shards.run_until("the object", 10 * SECOND, |_| whole.taken().bytes.ends_with(body.as_bytes()));
}
