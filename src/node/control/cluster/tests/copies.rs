//! The copies of volumes on other nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::super::{Marks, ShownCopy};
use super::fake_master::{FakeMaster, limit};
use super::fake_node::FakeNode;
use super::fake_peer::FakePeer;
use crate::base::stream_position::StreamPosition;
use crate::base::types::VolumeId;
use crate::node::board::VolumeCopies;
use crate::node::control::{ControlRequest, OfferRequest, OfferedPiece, Refused};
use crate::node::metrics::{ReadMetric, VolumeMetrics};

const OWN: &str = "10.0.0.8:8080";
const THREE: VolumeId = VolumeId(3);

/// A node with volume 3, to have one more copy, whose highest version is `newest`.
fn node(master: &FakeMaster, newest: u64) -> (FakeNode, Arc<VolumeMetrics>) {
    let node = FakeNode::new(&[&master.address]);
    let volume = node.volume(3, "");
    volume.board.cluster.placement.set(1);
    volume.board.newest_ns.set(newest);
    (node, volume)
}

fn copies(node: &FakeNode) -> Arc<VolumeCopies> {
    node.metrics.board.copies.of(THREE).unwrap_or_default()
}

fn wait_for_copies(node: &FakeNode, number: usize) {
    node.wait_until("copies", |node| copies(node).list.len() == number);
}

fn offer(node: &FakeNode) -> OfferRequest {
    let requests = node.requests.as_ref().expect("the main thread is there");
    match requests.recv_timeout(Duration::from_secs(20)).expect("an offer") {
        ControlRequest::Offer(request) => request,
        other => panic!("{other:?}"),
    }
}

/// Answers an offer: everything up to `version` is there.
fn answer(request: OfferRequest, version: u64, is_end: bool) {
    let next = StreamPosition::after(version);
    request.answer(Ok(OfferedPiece { next, is_end, objects: 2, deletions: 1 }));
}

fn marks(peer: &FakePeer, mark: u64) -> Marks {
    BTreeMap::from([(THREE, BTreeMap::from([(peer.name.clone(), mark)]))])
}

fn is_held(volume: &VolumeMetrics) -> bool {
    volume.board.cluster.is_held.load(Relaxed)
}

#[test]
fn master_is_asked_for_copies_and_at_once_for_those_that_are_wanted() {
    let master = FakeMaster::start(vec![limit(1 << 30)]);
    let (mut node, _volume) = node(&master, 0);
    node.volume(4, "");
    let peer = FakePeer::start(1);
    master.locate(3, &[(OWN, false)]);
    let _saved = node.start_with_copies(Marks::new());
    node.wait_until("a lookup", |node| node.metrics.board.copies.of(THREE).is_some());
    assert_eq!(copies(&node).list.len(), 0, "this node itself");
    assert!(node.metrics.board.copies.of(VolumeId(4)).is_none(), "it is to have no copies");
    master.locate(3, &[(OWN, false), (&peer.name, false)]);
    let began = Instant::now();
    node.metrics.board.copies.want(THREE);
    wait_for_copies(&node, 1);
    assert!(began.elapsed() < Duration::from_secs(3), "not at the next regular lookup");
    let known = copies(&node);
    assert_eq!((known.writable, known.list[0].peer.name.as_str()), (1, peer.name.as_str()));
    assert_eq!(known.list[0].peer.address.to_string(), peer.name);
    master.locate(3, &[(OWN, false), (&peer.name, true)]);
    node.metrics.board.copies.want(THREE);
    node.wait_until("the other state", |node| copies(node).writable == 0);
    assert!(Arc::ptr_eq(&copies(&node).list[0], &known.list[0]), "the counters are kept");
    master.lookups();
    let began = Instant::now();
    node.wait_until("a regular lookup", |_| master.lookups() == [["3"]]);
    assert!(began.elapsed() > Duration::from_millis(500), "every five seconds");
}

#[test]
fn failed_exchange_closes_the_volume_until_the_copy_has_everything() {
    let master = FakeMaster::start(vec![limit(1 << 30)]);
    let (mut node, volume) = node(&master, 0);
    let peer = FakePeer::start(1);
    master.locate(3, &[(OWN, false), (&peer.name, false)]);
    let saved = node.start_with_copies(Marks::new());
    wait_for_copies(&node, 1);
    node.wait_for_master(&master.address);
    volume.board.newest_ns.set(70);
    let began = Instant::now();
    copies(&node).list[0].failed();
    let is_closed = |beat: &hayloft_proto::master_pb::Heartbeat| {
        beat.volumes.iter().any(|volume| volume.read_only && volume.read_only_can_delete)
    };
    master.beat_that(is_closed);
    assert!(began.elapsed() < Duration::from_secs(1));
    let first = offer(&node);
    assert_eq!(
        (first.id, first.peer.to_string(), first.from.version),
        (THREE, peer.name.clone(), 0)
    );
    first.answer(Err(Refused::Unavailable("Not now.".to_owned())));
    let again = offer(&node);
    assert_eq!(again.from.version, 0);
    answer(again, 40, false);
    let rest = offer(&node);
    assert_eq!(rest.from, StreamPosition::after(40));
    answer(rest, 70, true);
    let shown = ShownCopy {
        peer: peer.name.clone(),
        is_listed: true,
        answers: true,
        is_behind: true,
        mark: 70,
    };
    node.wait_until("the status", |node| node.state.copies(THREE) == [shown.clone()]);
    let numbers = &node.metrics.cluster;
    let offered = (numbers.offered_objects.get(), numbers.offered_deletions.get());
    assert_eq!((offered, numbers.failed_offers.get()), ((4, 2), 1));
    assert_eq!((numbers.copies.get(), numbers.copies_behind.get()), (1, 1));
    assert_eq!((numbers.peers.get(), numbers.peers_answering.get()), (1, 1));
    assert_eq!(numbers.volumes_held.get(), 1);
    assert_eq!(volume.board.cluster.lowest_mark.get(), 70);
    master.beat_that(|beat| beat.volumes.iter().any(|volume| !volume.read_only));
    assert!(began.elapsed() >= Duration::from_secs(5), "trusted before it has answered for 5 s");
    assert!(!is_held(&volume));
    node.stop();
    assert_eq!(saved.iter().last(), Some(marks(&peer, 70)));
}

#[test]
fn silent_node_is_sent_nothing_until_it_answers_again() {
    let master = FakeMaster::start(vec![limit(1 << 30)]);
    let (mut node, volume) = node(&master, 70);
    let peer = FakePeer::start(1);
    master.locate(3, &[(OWN, false), (&peer.name, false)]);
    let _saved = node.start_with_copies(marks(&peer, 50));
    let first = offer(&node);
    assert_eq!(first.from.version, 50, "what came after the mark");
    assert!(!is_held(&volume), "the start holds nothing");
    answer(first, 70, true);
    node.wait_until("the end", |node| node.state.copies(THREE).iter().all(|it| !it.is_behind));
    peer.set(true, 1);
    let answers = |node: &FakeNode| copies(node).list[0].peer.answers.load(Relaxed);
    node.wait_until("silence", |node| !answers(node));
    node.wait_until("the hold", |_| is_held(&volume));
    node.wait_until("the board", |node| copies(node).writable == 0);
    peer.set(false, 2);
    node.wait_until("an answer", |node| answers(node) && copies(node).writable == 1);
    assert!(is_held(&volume), "it may lack something");
    let again = offer(&node);
    assert_eq!(again.from.version, 70);
    answer(again, 70, true);
    // It is started anew, which nothing but its number shows.
    node.wait_until("the release", |_| !is_held(&volume));
    peer.set(false, 3);
    node.wait_until("the hold", |_| is_held(&volume));
}
