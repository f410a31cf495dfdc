//! Two simulated nodes of a cluster with copies of one volume: each change is sent to the other node while it
//! is made, what the other node may lack is offered again, and in the end both have the same.

mod copies_world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use copies_world::{Pair, SECOND, address, empty_disk};
use hayloft::runtime::split_mix;

fn fid(key: u64) -> String {
    format!("/1,{key:x}{:08x}", 0xd2dd_59a8_u32)
}

fn put(key: u64, body: &[u8], more: &str) -> Vec<u8> {
    let fid = fid(key);
    let head = format!(
        "POST {fid}{more} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: image/jpeg\r\n\
         Seaweed-Owner: bob\r\nContent-Disposition: x; filename=\"a b.jpg\"\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn request(method: &str, key: u64, more: &str) -> Vec<u8> {
    let fid = fid(key);
    format!("{method} {fid}{more} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").into_bytes()
}

fn body(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| split_mix(&mut state).to_le_bytes()).flatten().take(len).collect()
}

impl Pair {
    fn put(&mut self, node: usize, key: u64, bytes: &[u8]) -> u16 {
        self.ask(node, put(key, bytes, "")).expect("a response").0
    }

    fn delete(&mut self, node: usize, key: u64) -> u16 {
        self.ask(node, request("DELETE", key, "")).expect("a response").0
    }

    fn get(&mut self, node: usize, key: u64) -> (u16, Vec<u8>) {
        self.ask(node, request("GET", key, "")).expect("a response")
    }

    /// What both nodes answer.
    fn get_both(&mut self, key: u64) -> (u16, Vec<u8>) {
        let [first, second] = [0, 1].map(|node| self.get(node, key));
        assert_eq!(first.0, second.0, "status of photo {key}");
        assert!(first.1 == second.1, "bytes of photo {key}");
        first
    }
}

/// Sizes around those at which files are stored and sent otherwise.
#[test]
fn changes_are_on_both_nodes_when_they_are_acknowledged() {
    let mut pair = Pair::start(1, &empty_disk());
    let lens = [0, 1, 4000, 65_536, 1 << 20, (1 << 20) + 1, 3_500_000];
    for (key, len) in (1..).zip(lens) {
        let bytes = body(len, key);
        assert_eq!(pair.put(usize::from(key % 2 == 0), key, &bytes), 201, "{len} bytes");
        assert_eq!(pair.get_both(key), (200, bytes), "{len} bytes");
    }
    for key in 1..=lens.len() as u64 {
        assert_eq!(pair.delete(usize::from(key % 2 == 1), key), 202, "photo {key}");
        assert_eq!(pair.get_both(key).0, 404);
    }
    assert_eq!(pair.delete(0, 1), 404);
    assert_eq!(pair.nodes.each_ref().map(|node| node.unconfirmed()), [0, 0]);
}

#[test]
fn same_bytes_again_and_other_bytes_are_told_apart() {
    let mut pair = Pair::start(2, &empty_disk());
    let (first, second) = (body(5000, 1), body(6000, 2));
    assert_eq!(pair.put(0, 7, &first), 201);
    assert_eq!(pair.put(1, 7, &first), 204);
    assert_eq!(pair.put(1, 7, &second), 201);
    assert_eq!(pair.get_both(7), (200, second));
    let other_cookie =
        "POST /1,7aaaaaaaa HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    let refused = pair.ask(0, other_cookie.into()).unwrap();
    assert_eq!(refused.0, 500, "{}", String::from_utf8_lossy(&refused.1));
}

/// What another node has stored is not sent on.
#[test]
fn replica_is_stored_here_only() {
    let mut pair = Pair::start(3, &empty_disk());
    let stored = pair.ask(0, put(9, b"abc", "?type=replicate")).unwrap();
    assert_eq!((stored.0, pair.get(0, 9).0, pair.get(1, 9).0), (201, 200, 404));
    assert_eq!(pair.offer_all(0), Ok((1, 0)));
    assert_eq!(pair.get_both(9), (200, b"abc".to_vec()));
}

#[test]
fn node_that_does_not_answer_is_waited_for_three_seconds_only() {
    for len in [10, 2_000_000] {
        let mut pair = Pair::start(4, &empty_disk());
        assert_eq!(pair.put(0, 1, b"warm"), 201);
        pair.nodes[1].is_stopped = true;
        let began = pair.world.now();
        let (status, reason) = pair.ask(0, put(2, &body(len, 1), "")).unwrap();
        let took = pair.world.now() - began;
        assert_eq!(status, 500, "{}", String::from_utf8_lossy(&reason));
        let reason: serde_json::Value = serde_json::from_slice(&reason).unwrap();
        assert!(reason["error"].as_str().unwrap().contains("did not answer in time"), "{reason}");
        assert!((2 * SECOND..4 * SECOND).contains(&took), "{took} ns for {len} bytes");
        assert!(pair.nodes[0].unconfirmed() > 0);
        // It goes on: what it has received it stores, and it is offered the rest.
        pair.nodes[1].is_stopped = false;
        pair.run_for(10 * SECOND);
        pair.offer_all(0).unwrap();
        pair.get_both(2);
    }
}

/// A copy is marked as behind before the client gets its answer.
#[test]
fn overdue_exchange_is_reported_after_half_a_second() {
    let mut pair = Pair::start(5, &empty_disk());
    pair.world.set_reachable(address(1), false);
    let began = pair.world.now();
    let client = pair.connect(0, usize::MAX);
    let asking = client.clone();
    pair.spawn(async move { asking.ask(&put(1, b"abc", "")).await });
    pair.run_until("a report", SECOND, |pair| pair.nodes[0].unconfirmed() == 1);
    assert!(!client.has_ended());
    assert!(pair.world.now() - began >= SECOND / 2);
    pair.run_until("a response", 4 * SECOND, |_| client.has_ended());
    assert_eq!(client.reply().unwrap().0, 500);
    assert_eq!(pair.nodes[0].unconfirmed(), 1, "once for each exchange");
}

#[test]
fn nothing_is_written_while_it_is_known_that_the_copy_is_missing() {
    let mut pair = Pair::start(6, &empty_disk());
    let copies = pair.nodes[0].shared.board.copies.of(copies_world::VOLUME).unwrap();
    copies.list[0].peer.answers.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!((pair.put(0, 1, b"abc"), pair.get(0, 1).0), (500, 404));
    assert_eq!(pair.delete(0, 1), 500);
    copies.list[0].peer.answers.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(pair.put(0, 1, b"abc"), 201);
}

/// A connection that the other node has closed meanwhile is replaced, without a report.
#[test]
fn connection_that_was_closed_is_replaced() {
    let mut pair = Pair::start(7, &empty_disk());
    assert_eq!(pair.put(0, 1, b"abc"), 201);
    let ends = pair.world.accepted_ends();
    assert!(!ends.is_empty(), "a connection is kept");
    ends.into_iter().for_each(|end| pair.world.reset(end));
    assert_eq!(pair.put(0, 2, b"def"), 201);
    assert_eq!((pair.get_both(2), pair.nodes[0].unconfirmed()), ((200, b"def".to_vec()), 0));
}

#[test]
fn connection_that_waits_too_long_is_not_used_again() {
    let mut pair = Pair::start(9, &empty_disk());
    // Connections between the nodes: those of clients are closed by then.
    let mut put = |key, pause| {
        assert_eq!(pair.put(0, key, b"abc"), 201);
        pair.run_for(pause);
        pair.world.accepted_ends()
    };
    let before = put(1, 3 * SECOND);
    assert_eq!(before.len(), 1);
    assert_eq!(put(2, 11 * SECOND), before);
    let after = put(3, 3 * SECOND);
    assert_eq!((after.len(), after == before), (1, false));
}

/// The write and the deletion went to different nodes, and each of them missed the other's.
#[test]
fn later_change_counts_whatever_is_offered_first() {
    for first in [0, 1] {
        let mut pair = Pair::start(8, &empty_disk());
        for (key, bytes) in [(1, &b"old"[..]), (2, b"old"), (3, b"old")] {
            assert_eq!(pair.put(0, key, bytes), 201);
        }
        // Node 1 does not get these.
        pair.world.set_reachable(address(1), false);
        assert_eq!(
            (pair.put(0, 1, b"newer"), pair.put(0, 2, b"lost"), pair.delete(0, 3)),
            (500, 500, 500)
        );
        pair.world.set_reachable(address(1), true);
        // Later ones, which node 0 does not get.
        pair.world.set_reachable(address(0), false);
        pair.nodes[1].shared.board.copies.of(copies_world::VOLUME).unwrap();
        assert_eq!(pair.delete(1, 2), 500);
        assert_eq!(pair.put(1, 4, b"only here"), 500);
        pair.world.set_reachable(address(0), true);
        for node in [first, 1 - first, first] {
            pair.offer_all(node).unwrap();
        }
        assert_eq!(pair.get_both(1), (200, b"newer".to_vec()));
        assert_eq!(pair.get_both(2).0, 404, "deleted later");
        assert_eq!(pair.get_both(3).0, 404, "deleted");
        assert_eq!(pair.get_both(4), (200, b"only here".to_vec()));
    }
}

/// What a client was told about the changes of a photo, one after the other.
#[derive(Clone, Debug, Default)]
struct History {
    /// What the photo may be: the last acknowledged change, and those after it of which it is not known
    /// whether they were made.
    possible: Vec<Option<Vec<u8>>>,
}

impl History {
    fn tell(&mut self, change: Option<Vec<u8>>, is_acknowledged: bool) {
        if is_acknowledged {
            self.possible.clear();
        }
        self.possible.push(change);
    }
}

/// One client for each photo makes changes on either node while the network stalls and breaks, and nodes
/// stop. Afterwards each node offers what it has, and both have the same: what was acknowledged last, or a
/// later change that may have been made.
#[test]
fn both_nodes_have_the_same_after_any_disturbance() {
    for seed in 100..116 {
        disturbed(seed);
    }
}

fn disturbed(seed: u64) {
    const PHOTOS: u64 = 6;
    let mut pair = Pair::start(seed, &empty_disk());
    let mut state = seed;
    let mut draw = move |below: u64| split_mix(&mut state) % below;
    let histories: Rc<RefCell<BTreeMap<u64, History>>> = Rc::default();
    let running = Rc::new(std::cell::Cell::new(PHOTOS));
    for key in 1..=PHOTOS {
        histories.borrow_mut().insert(key, History { possible: vec![None] });
        let mut changes = Vec::new();
        for n in 0..8 {
            let len = [10, 5000, 1_200_000][usize::try_from(draw(10) / 4).unwrap()];
            let change = (draw(4) > 0).then(|| body(len, seed * 1000 + key * 10 + n));
            let node = usize::from(draw(2) == 1);
            let client = pair.connect(node, 1 << draw(20));
            changes.push((client, change, draw(SECOND)));
        }
        let (histories, running) = (Rc::clone(&histories), Rc::clone(&running));
        let handle = pair.clients();
        pair.spawn(async move {
            for (client, change, pause) in changes {
                let bytes = match &change {
                    Some(bytes) => put(key, bytes, ""),
                    None => request("DELETE", key, ""),
                };
                client.ask(&bytes).await;
                let is_acknowledged = matches!(client.reply(), Some((201 | 202 | 204 | 404, _)));
                histories.borrow_mut().get_mut(&key).unwrap().tell(change, is_acknowledged);
                handle.sleep_until(handle.now() + pause).await;
            }
            running.set(running.get() - 1);
        });
    }
    while running.get() > 0 {
        let time = draw(SECOND);
        pair.run_for(time);
        let node = usize::from(draw(2) == 1);
        match draw(5) {
            0 => pair.world.set_reachable(address(node), false),
            1 => pair.nodes[node].is_stopped = true,
            2 => {
                let ends = pair.world.accepted_ends();
                if !ends.is_empty() {
                    let n = usize::try_from(draw(ends.len() as u64)).unwrap();
                    pair.world.reset(ends[n]);
                }
            }
            _ => heal(&mut pair),
        }
    }
    heal(&mut pair);
    // What is still in the network arrives.
    pair.run_for(10 * SECOND);
    let first = usize::from(draw(2) == 1);
    for node in [first, 1 - first, first, 1 - first] {
        pair.offer_all(node).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    let mut acknowledged = 0;
    for (key, history) in histories.borrow().iter() {
        let (status, bytes) = pair.get_both(*key);
        let found = (status == 200).then_some(bytes);
        let lens: Vec<_> = history.possible.iter().map(|it| it.as_ref().map(Vec::len)).collect();
        assert!(
            history.possible.contains(&found),
            "seed {seed}, photo {key}: {status} with {:?} bytes; possible are {lens:?}",
            found.as_ref().map(Vec::len)
        );
        acknowledged += usize::from(history.possible.len() == 1);
    }
    assert!(acknowledged > 0, "seed {seed}: nothing was acknowledged");
}

fn heal(pair: &mut Pair) {
    for node in 0..2 {
        pair.world.set_reachable(address(node), true);
        pair.nodes[node].is_stopped = false;
    }
}
