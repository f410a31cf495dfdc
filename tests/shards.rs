//! Connections and messages of simulated shards on a virtual clock: deadlines, refusals, draining, and
//! requests to a shard that does not answer.

mod fid_cases;
mod shard_cases;
mod shard_world;

use hayloft::base::types::VolumeId;
use hayloft::node::metrics::{AdmissionRefusal, ReadMetric};
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
