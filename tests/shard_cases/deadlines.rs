//! Clients that are slow or say nothing, and when they are disconnected.

use hayloft::node::metrics::{ReadMetric, TimeoutKind};

use crate::shard_world::{Client, SECOND, Shards, config};
use crate::{get, has_status, put, start_request};

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
