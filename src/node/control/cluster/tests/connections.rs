//! Which master the node is connected with.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::fake_master::{FakeMaster, leader, limit};
use super::fake_node::FakeNode;
use crate::base::host_port::HostPort;
use crate::node::metrics::ReadMetric;

const MIB: u64 = 1 << 20;

/// The address of a master that does not run.
fn dead() -> HostPort {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    format!("127.0.0.1:{port}.{port}").parse().unwrap()
}

#[test]
fn masters_are_tried_in_turn() {
    let (dead, master) = (dead(), FakeMaster::start(vec![limit(256 * MIB)]));
    let mut node = FakeNode::new(&[&dead, &master.address]);
    let began = Instant::now();
    node.start();
    node.wait_for_master(&master.address);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let error = node.state.link().last_error.expect("the first one is dead").what;
    assert!(error.starts_with(&format!("master {dead}: ")) && error.contains("refused"), "{error}");
}

#[test]
fn node_moves_to_the_leader_that_a_master_names() {
    let first = FakeMaster::start(Vec::new());
    let second = FakeMaster::start(vec![limit(256 * MIB), leader(&dead())]);
    // A leader that names itself is one.
    second.answer_with(vec![limit(256 * MIB), leader(&second.address)]);
    first.answer_with(vec![leader(&second.address)]);
    let mut node = FakeNode::new(&[&first.address]);
    node.start();
    node.wait_for_master(&second.address);
    assert_eq!(node.state.link().last_error, None, "to move is no error");
    // Another leader is elected.
    first.answer_with(vec![limit(100 * MIB)]);
    second.send(leader(&first.address));
    node.wait_for_master(&first.address);
    node.wait_until("the limit", |it| it.state.volume_size_limit() == Some(100 * MIB));
}

#[test]
fn leader_that_is_gone_is_replaced_by_the_list() {
    let first = FakeMaster::start(Vec::new());
    first.answer_with(vec![leader(&dead())]);
    let mut node = FakeNode::new(&[&first.address]);
    node.start();
    node.wait_until("an error", |it| it.state.link().last_error.is_some());
    first.answer_with(vec![limit(256 * MIB)]);
    node.wait_for_master(&first.address);
}

#[test]
fn node_registers_again_after_the_connection_or_the_master_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let master = FakeMaster::start_on(listener, vec![limit(256 * MIB)]);
    let mut node = FakeNode::new(&[&master.address]);
    node.volume(1, "");
    node.start();
    node.wait_for_master(&master.address);
    let connected = |it: &FakeNode| it.metrics.cluster.connected.get();
    assert_eq!(connected(&node), 1);
    master.beat_that(|beat| beat.max_volume_counts.get("") == Some(&20));
    master.cut();
    let beat = master.beat_that(|beat| !beat.location_uuids.is_empty());
    assert_eq!(beat.volumes.len(), 1, "a full list comes first on a new connection");
    node.wait_for_master(&master.address);
    let own = master.address.clone();
    drop(master);
    node.wait_until("the end", |it| it.state.link().master.is_none() && connected(it) == 0);
    let link = node.state.link();
    assert!(link.last_error.is_some() && link.since > 0, "{link:?}");
    let master = FakeMaster::start_on(TcpListener::bind(address).unwrap(), vec![limit(256 * MIB)]);
    assert_eq!(master.address, own);
    node.wait_for_master(&own);
    assert_eq!(master.beat().volumes.len(), 1);
}

#[test]
fn duplicate_directory_is_an_error_until_the_master_has_forgotten_the_other_node() {
    let mut duplicate = limit(256 * MIB);
    duplicate.duplicated_uuids = vec!["a directory".to_owned()];
    let master = FakeMaster::start(vec![duplicate]);
    let mut node = FakeNode::new(&[&master.address]);
    node.start();
    node.wait_until("an error", |it| it.state.link().last_error.is_some());
    let link = node.state.link();
    let error = link.last_error.expect("there is one").what;
    assert!(error.contains("another node") && error.contains("a directory"), "{error}");
    assert_eq!(link.master, None);
    master.answer_with(vec![limit(256 * MIB)]);
    node.wait_for_master(&master.address);
}

#[test]
fn node_without_a_master_leaves_at_once() {
    let dead = dead();
    let mut node = FakeNode::new(&[&dead]);
    node.start();
    node.wait_until("an error", |it| it.state.link().last_error.is_some());
    let began = Instant::now();
    node.state.leave();
    node.wait_until("the end", |it| it.state.has_left());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn leader_without_a_sound_address_is_an_error() {
    let mut odd = limit(256 * MIB);
    odd.leader = "nobody".to_owned();
    let master = FakeMaster::start(vec![odd]);
    let mut node = FakeNode::new(&[&master.address]);
    node.start();
    node.wait_until("an error", |it| it.state.link().last_error.is_some());
    let error = node.state.link().last_error.expect("there is one").what;
    assert!(error.contains("nobody"), "{error}");
}
