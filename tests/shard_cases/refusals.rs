//! Refused requests: when they are answered, and what follows them.

use crate::shard_world::{SECOND, Shards, config};
use crate::{get, has_status, put, refusing_config, start_request};

#[test]
fn large_upload_whose_condition_fails_is_refused_before_its_body() {
    let mut shards = Shards::start(1, config);
    let stored = start_request(&shards, 0, put(1, 5, 5));
    shards.run_until("the photo to be stored", 5 * SECOND, |_| has_status(201)(&stored));
    let header = "If-None-Match: *\r\nExpect: 100-continue\r\nHost";
    let refused = start_request(&shards, 0, put(1, 2 << 20, 0).replacen("Host", header, 1));
    shards.run_until("the answer", SECOND, |_| !refused.taken().statuses().is_empty());
    assert_eq!(refused.taken().statuses(), [412]);
}

#[test]
fn condition_of_an_upload_is_checked_after_its_body_unless_the_client_waits() {
    let mut shards = Shards::start(1, config);
    let stored = start_request(&shards, 0, put(1, 5, 5));
    shards.run_until("the photo to be stored", 5 * SECOND, |_| has_status(201)(&stored));
    let client = shards.connect(0);
    let sender = client.clone();
    shards.spawn(async move {
        let header = "If-None-Match: *\r\nHost";
        sender.send(put(1, 5, 0).replacen("Host", header, 1).as_bytes()).await;
        sender.pause(SECOND).await;
        sender.send(b"xxxxx").await;
        sender.send(get(1).as_bytes()).await;
    });
    let sender = client.clone();
    shards.spawn(async move { sender.take_all().await });
    shards.run_for(SECOND / 2);
    assert!(client.taken().statuses().is_empty(), "nothing of the body has arrived");
    shards.run_until("two answers", 5 * SECOND, |_| client.taken().statuses().len() == 2);
    assert_eq!(client.taken().statuses(), [412, 200]);
}

#[test]
fn shard_is_not_at_rest_while_a_refused_client_may_still_send() {
    let mut shards = Shards::start(2, refusing_config);
    let client = shards.connect(0);
    let sender = client.clone();
    shards.spawn(async move {
        sender.send(get(1).as_bytes()).await;
        sender.pause(SECOND).await;
        sender.take_all().await;
    });
    shards.run_for(SECOND / 2);
    assert!(!shards.is_at_rest(0) && shards.is_at_rest(1));
    shards.run_until("rest", 20 * SECOND, |shards| shards.is_at_rest(0));
    assert_eq!(client.taken().statuses(), [503]);
}

#[test]
fn begin_of_the_next_request_is_kept_over_an_error_reply() {
    let mut shards = Shards::start(1, config);
    for begun in [1, 2, 20] {
        let client = shards.connect(0);
        let sender = client.clone();
        shards.spawn(async move {
            let next = get(2);
            sender.send((get(1) + &next[..begun]).as_bytes()).await;
            sender.pause(SECOND).await;
            sender.send(&next.as_bytes()[begun..]).await;
        });
        let sender = client.clone();
        shards.spawn(async move { sender.take_all().await });
        shards.run_for(2 * SECOND);
        assert_eq!(client.taken().statuses(), [404, 404], "after {begun} bytes");
    }
}
