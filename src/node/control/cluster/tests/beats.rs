//! What is sent, and when.

use std::time::{Duration, Instant};

use super::fake_master::{FakeMaster, limit};
use super::fake_node::FakeNode;
use crate::base::types::VolumeId;
use crate::node::board::VolumeState;
use crate::node::metrics::ReadMetric;

const MIB: u64 = 1 << 20;

/// Less than the interval between two full lists: what comes within it has come at once.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn first_heartbeat_names_the_node_and_has_all_volumes_of_the_cluster() {
    let master = FakeMaster::start(vec![limit(256 * MIB)]);
    let mut node = FakeNode::new(&[&master.address]);
    node.own_volume(1);
    let volume = node.volume(7, "photos");
    volume.needles.set(3);
    let board = &volume.board;
    board.used_bytes.set(65_536 + 4096 + 5000);
    board.dead_bytes.set(1000);
    board.generation.set(65_537);
    board.newest_ns.set(1_700_000_000_123_456_789);
    board.cluster.placement.set(1);
    board.cluster.set_ttl("5m".parse().ok());
    board.cluster.max_key.set(99);
    node.start();
    let beat = master.beat();
    assert_eq!((beat.ip.as_str(), beat.port, beat.grpc_port), ("10.0.0.8", 8080, 18_080));
    assert_eq!((beat.public_url.as_str(), beat.data_center.as_str()), ("photos:80", "dc1"));
    assert_eq!(
        (beat.rack.as_str(), &beat.location_uuids[..]),
        ("r1", &["a directory".to_owned()][..])
    );
    assert_eq!((beat.max_file_key, beat.has_no_volumes, beat.has_no_ec_shards), (99, false, true));
    assert_eq!(beat.max_volume_counts[""], 1, "as long as the size of a volume is not known");
    let [volume] = &beat.volumes[..] else { panic!("{:?}", beat.volumes) };
    assert_eq!((volume.id, volume.collection.as_str(), volume.version), (7, "photos", 3));
    assert_eq!((volume.size, volume.file_count, volume.deleted_byte_count), (5008, 3, 1000));
    assert_eq!((volume.replica_placement, volume.ttl, volume.compact_revision), (1, 5 << 8 | 1, 1));
    assert_eq!((volume.read_only, volume.read_only_can_delete), (false, false));
    assert_eq!(volume.modified_at_second, 1_700_000_000);
    // The limit has come: one volume, and 10,000 MiB for files of 512 MiB.
    let began = Instant::now();
    assert_eq!(master.beat().max_volume_counts[""], 20);
    assert!(began.elapsed() < AT_ONCE, "at once");
}

#[test]
fn full_lists_come_every_five_seconds_with_the_present_figures() {
    let master = FakeMaster::start(vec![limit(256 * MIB)]);
    let mut node = FakeNode::new(&[&master.address]);
    node.start();
    let first = master.beat_that(|beat| beat.max_volume_counts.get("") == Some(&19));
    assert!(first.has_no_volumes && first.volumes.is_empty());
    let began = Instant::now();
    node.metrics.board.disks[0].free_bytes.set(5_000 * MIB);
    let next = master.beat();
    assert_eq!(next.max_volume_counts[""], 9);
    let after = began.elapsed();
    assert!(Duration::from_secs(4) < after && after < Duration::from_secs(8), "{after:?}");
    assert!(node.metrics.cluster.heartbeats.get() >= 3);
}

#[test]
fn new_and_deleted_volumes_are_told_at_once() {
    let master = FakeMaster::start(vec![limit(256 * MIB)]);
    let mut node = FakeNode::new(&[&master.address]);
    node.volume(1, "");
    node.start();
    master.beat_that(|beat| beat.max_volume_counts.get("") == Some(&20));
    node.volume(2, "photos").board.cluster.placement.set(10);
    node.own_volume(3);
    node.state.volumes_changed();
    let beat = master.beat_within(AT_ONCE).expect("at once");
    let [new] = &beat.new_volumes[..] else { panic!("{beat:?}") };
    assert_eq!((new.id, new.collection.as_str(), new.version), (2, "photos", 3));
    assert_eq!((beat.ip.as_str(), beat.port, beat.rack.as_str()), ("10.0.0.8", 8080, "r1"));
    assert!(beat.volumes.is_empty() && beat.deleted_volumes.is_empty() && !beat.has_no_volumes);
    node.metrics.remove_volume(VolumeId(1));
    node.metrics.remove_volume(VolumeId(3));
    node.state.volumes_changed();
    let beat = master.beat_that(|beat| !beat.deleted_volumes.is_empty());
    assert_eq!(beat.deleted_volumes.iter().map(|it| it.id).collect::<Vec<_>>(), [1]);
}

#[test]
fn changed_write_state_is_told_at_once_with_a_full_list() {
    let master = FakeMaster::start(vec![limit(256 * MIB)]);
    let mut node = FakeNode::new(&[&master.address]);
    let volume = node.volume(1, "");
    node.start();
    master.beat_that(|beat| beat.max_volume_counts.get("") == Some(&20));
    let told = || {
        let beat = master.beat_within(AT_ONCE).expect("at once");
        let [volume] = &beat.volumes[..] else { panic!("{beat:?}") };
        (volume.read_only, volume.read_only_can_delete)
    };
    let board = &volume.board;
    board.full.set(1);
    assert_eq!(told(), (true, true), "full");
    board.full.set(0);
    assert_eq!(told(), (false, false));
    board.cluster.takes_deletes.set(1);
    board.cluster.is_read_only.set(1);
    board.state.set(VolumeState::ReadOnly);
    assert_eq!(told(), (true, true), "closed by the cluster, except for deletes");
    board.cluster.takes_deletes.set(0);
    assert_eq!(told(), (true, false));
    board.cluster.is_read_only.set(0);
    board.state.set(VolumeState::Writable);
    assert_eq!(told(), (false, false));
    board.state.set(VolumeState::Poisoned);
    assert_eq!(told(), (true, false), "a write has failed");
}

#[test]
fn volumes_that_recover_do_not_make_an_empty_list_final() {
    let master = FakeMaster::start(vec![limit(256 * MIB)]);
    let mut node = FakeNode::new(&[&master.address]);
    let volume = node.volume(1, "");
    volume.board.state.set(VolumeState::Recovering);
    node.start();
    let beat = master.beat();
    assert!(beat.volumes.is_empty() && !beat.has_no_volumes, "{beat:?}");
    volume.board.state.set(VolumeState::Writable);
    let beat = master.beat_that(|beat| !beat.new_volumes.is_empty() || !beat.volumes.is_empty());
    assert_eq!(beat.new_volumes.len() + beat.volumes.len(), 1);
    volume.board.state.set(VolumeState::Failed);
    node.state.volumes_changed();
    let beat = master.beat_that(|beat| !beat.deleted_volumes.is_empty() || beat.has_no_volumes);
    assert!(beat.new_volumes.is_empty() && beat.volumes.is_empty());
}

#[test]
fn master_can_ask_for_a_full_list() {
    let master = FakeMaster::start(vec![limit(256 * MIB)]);
    let mut node = FakeNode::new(&[&master.address]);
    node.volume(1, "");
    node.start();
    master.beat_that(|beat| beat.max_volume_counts.get("") == Some(&20));
    let mut answer = limit(0);
    answer.resend_full_volume_list = true;
    master.send(answer);
    let beat = master.beat_within(AT_ONCE).expect("at once");
    assert_eq!(beat.volumes.len(), 1);
    master.send(limit(1000 * MIB));
    let beat = master.beat_within(AT_ONCE).expect("at once");
    assert_eq!(beat.max_volume_counts[""], 8, "files of 1256 MiB");
    assert_eq!(node.state.volume_size_limit(), Some(1000 * MIB));
}

#[test]
fn node_that_leaves_has_no_volumes() {
    let master = FakeMaster::start(vec![limit(256 * MIB)]);
    let mut node = FakeNode::new(&[&master.address]);
    node.volume(1, "");
    node.start();
    master.beat_that(|beat| beat.max_volume_counts.get("") == Some(&20));
    node.state.leave();
    let beat = master.beat_within(AT_ONCE).expect("at once");
    assert!(beat.has_no_volumes && beat.volumes.is_empty(), "{beat:?}");
    node.wait_until("the end", |it| it.state.has_left());
    let again = master.beat();
    assert!(again.has_no_volumes && again.volumes.is_empty(), "it stays so: {again:?}");
}
