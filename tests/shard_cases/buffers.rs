//! Buffers: who gets them, and that they come back.

use hayloft::node::metrics::{AdmissionRefusal, ReadMetric};

use crate::shard_world::{Client, SECOND, Shards, config};
use crate::{get, has_status, put, start_request};

/// Sends a request and reads nothing of the response.
fn request_without_reading(shards: &Shards, shard: usize, key: u64) {
    let client = shards.connect(shard);
    shards.spawn(async move {
        client.send(get(key).as_bytes()).await;
    });
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
