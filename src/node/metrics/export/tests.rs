//! Tests of the exported text: every row of the table, with its labels and values.

use std::sync::Arc;

use prometheus_client::metrics::MetricType;

use super::super::exposition::Exposition;
use super::super::metric_row::{MetricRow, MetricSource};
use super::super::table::TABLE;
use super::super::{
    AdmissionRefusal, ClusterCall, ClusterCallResult, Exporter, ExpositionFormat, GetPhase,
    MethodGroup, MethodLabel, Metrics, NodeInfo,
};
use crate::base::types::{ShardId, VolumeId};
use crate::node::board::{
    Board, CompactionEnd, CompactionOutcome, DiskBoard, DiskState, ShardInfo, ShownCompaction,
    VolumeInfo, VolumeState,
};

fn metrics() -> Arc<Metrics> {
    let node = NodeInfo {
        version: "1.2.3".into(),
        started_ns: 1_000_000_000,
        started_unix_seconds: 1_700_000_000,
        durable: true,
        ..NodeInfo::default()
    };
    let shards = [(0, 4), (1, 5)].map(|(n, core)| ShardInfo {
        id: ShardId::from_index(n),
        core,
        port: Some(8180),
    });
    let odd_path = "/data/a \"b\"\\c\nd";
    let disks = vec![
        DiskBoard::new("/data/0", DiskState::Ok),
        DiskBoard::new(odd_path, DiskState::Missing),
    ];
    let metrics = Metrics::new(node, Board::new(&shards, disks));
    metrics.register_volume(
        VolumeInfo { id: VolumeId(7), shard: ShardId::from_index(1), disk: 0, durable: true },
        VolumeState::Writable,
    );
    metrics
}

fn scrape(metrics: &Arc<Metrics>) -> Exposition {
    let text = Exporter::new(Arc::clone(metrics), || 3_500_000_000)
        .text(ExpositionFormat::OpenMetrics)
        .expect("text");
    Exposition::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

#[test]
fn every_row_is_exported_with_its_type_labels_and_help() {
    let seen = scrape(&metrics());
    for row in TABLE {
        let name = row.full_name();
        let family = seen.family_of(&name).unwrap_or_else(|| panic!("{name} has no TYPE"));
        assert_eq!(family.kind, row.kind.as_str(), "{name}");
        assert_eq!(family.help, row.help, "{name}");
        let sample = match row.kind {
            MetricType::Histogram => format!("{name}_count"),
            _ => name.clone(),
        };
        let samples = seen.samples(&sample);
        assert!(!samples.is_empty(), "{name} has no sample");
        for sample in samples {
            let keys: Vec<_> = sample.labels.iter().map(|(k, _)| k.as_str()).collect();
            assert_eq!(keys, row.source.labels(), "{name}");
        }
    }
    assert_eq!(seen.families(), TABLE.len(), "nothing beside the table");
}

#[test]
fn values_are_exported_under_their_labels() {
    let m = metrics();
    m.shards[1].device_reads.add(11);
    m.shards[1].requests.at(MethodLabel::Put).add(4);
    m.shards[0].responses.record(206);
    m.shards[0].responses.record(418);
    m.shards[0].admission_refusals.at(AdmissionRefusal::ReadOnly).inc();
    m.shards[0].device_read_bytes.add(512);
    m.board.shards[1].turn(3_000_000_000);
    m.board.set_draining();
    m.board.disks[0].size_bytes.set(4000);
    m.board.disks[1].free_bytes.set(3000);
    m.board.disks[1].read_p99_ns.set(2_500_000_000);
    m.board.disks[1].slow.set(1);
    m.cluster.masters.set(3);
    m.cluster.connected.set(1);
    m.cluster.heartbeats.add(8);
    m.cluster.peers.set(5);
    m.cluster.peers_answering.set(4);
    m.cluster.copies.set(30);
    m.cluster.copies_behind.set(7);
    m.cluster.volumes_held.set(6);
    m.cluster.offered_objects.add(11);
    m.cluster.offered_deletions.add(12);
    m.cluster.failed_offers.add(13);
    m.cluster.calls(ClusterCallResult::Refused).at(ClusterCall::VolumeDelete).add(2);
    let v = m.volume(VolumeId(7)).expect("registered");
    v.board.state.set(VolumeState::Poisoned);
    v.needles.set(9);
    v.index_bytes.set(72);
    v.index_slots.set(12);
    v.damaged_records.inc();

    let s = scrape(&m);
    for (name, labels, value) in [
        ("hayloft_device_reads_total", "shard=0", 0.0),
        ("hayloft_device_reads_total", "shard=1", 11.0),
        ("hayloft_device_read_bytes_total", "shard=0", 512.0),
        ("hayloft_requests_total", "shard=1,method=put", 4.0),
        ("hayloft_requests_total", "shard=1,method=get", 0.0),
        ("hayloft_responses_total", "shard=0,class=2xx", 1.0),
        ("hayloft_responses_by_status_total", "shard=0,status=206", 1.0),
        ("hayloft_responses_by_status_total", "shard=0,status=other", 1.0),
        ("hayloft_admission_refusals_total", "shard=0,reason=read_only", 1.0),
        ("hayloft_shard_silence_seconds", "shard=0", 2.5),
        ("hayloft_shard_silence_seconds", "shard=1", 0.5),
        ("hayloft_draining", "", 1.0),
        ("hayloft_durable", "", 1.0),
        ("hayloft_build_info", "version=1.2.3", 1.0),
        ("hayloft_start_time_seconds", "", 1_700_000_000.0),
        ("hayloft_volume_index_bytes_per_needle", "volume=7", 8.0),
        ("hayloft_volume_index_load", "volume=7", 0.75),
        ("hayloft_disk_state", "disk=0,state=ok", 1.0),
        ("hayloft_disk_size_bytes", "disk=0", 4000.0),
        ("hayloft_disk_free_bytes", "disk=0", 0.0),
        ("hayloft_disk_free_bytes", "disk=1", 3000.0),
        ("hayloft_disk_read_p99_seconds", "disk=0", 0.0),
        ("hayloft_disk_read_p99_seconds", "disk=1", 2.5),
        ("hayloft_disk_slow", "disk=0", 0.0),
        ("hayloft_disk_slow", "disk=1", 1.0),
        ("hayloft_disk_state", "disk=1,state=ok", 0.0),
        ("hayloft_disk_state", "disk=1,state=missing", 1.0),
        ("hayloft_volume_info", "volume=7,shard=1,disk=0", 1.0),
        ("hayloft_volume_state", "volume=7,state=poisoned", 1.0),
        ("hayloft_volume_state", "volume=7,state=writable", 0.0),
        ("hayloft_cluster_masters", "", 3.0),
        ("hayloft_cluster_connected", "", 1.0),
        ("hayloft_cluster_heartbeats_total", "", 8.0),
        ("hayloft_cluster_peers", "", 5.0),
        ("hayloft_cluster_peers_answering", "", 4.0),
        ("hayloft_cluster_copies", "", 30.0),
        ("hayloft_cluster_copies_behind", "", 7.0),
        ("hayloft_cluster_volumes_held", "", 6.0),
        ("hayloft_cluster_offered_objects_total", "", 11.0),
        ("hayloft_cluster_offered_deletions_total", "", 12.0),
        ("hayloft_cluster_failed_offers_total", "", 13.0),
        ("hayloft_cluster_calls_total", "call=volume_delete,result=refused", 2.0),
        ("hayloft_cluster_calls_total", "call=volume_delete,result=done", 0.0),
        ("hayloft_volume_needles", "volume=7", 9.0),
        ("hayloft_volume_damaged_records_total", "volume=7", 1.0),
    ] {
        assert_eq!(s.value(name, labels), Some(value), "{name}{{{labels}}}");
    }
}

/// Sets every field to another value, so that a row that reads the wrong field is detected.
#[test]
fn each_row_reads_its_own_field() {
    let m = metrics();
    let (s, v) = (&m.shards[0], m.volume(VolumeId(7)).expect("registered"));
    let counters = [
        ("turns_total", &s.turns),
        ("enters_total", &s.enters),
        ("completions_total", &s.completions),
        ("gets_found_total", &s.gets_found),
        ("gets_missing_total", &s.gets_missing),
        ("bad_requests_total", &s.bad_requests),
        ("payload_in_bytes_total", &s.payload_bytes_in),
        ("payload_out_bytes_total", &s.payload_bytes_out),
        ("device_reads_total", &s.device_reads),
        ("device_reads_other_total", &s.device_reads_other),
        ("device_read_bytes_total", &s.device_read_bytes),
        ("false_candidates_total", &s.false_candidates),
        ("checksum_failures_total", &s.checksum_failures),
        ("commits_total", &s.commits),
        ("commit_needles_total", &s.commit_needles),
        ("commit_bytes_total", &s.commit_bytes),
        ("flushes_total", &s.flushes),
        ("hint_writes_total", &s.hint_writes),
        ("compaction_read_bytes_total", &s.compactions.read_bytes),
        ("compaction_written_bytes_total", &s.compactions.written_bytes),
        ("compaction_gained_bytes_total", &s.compactions.gained_bytes),
        ("connections_accepted_total", &s.connections_accepted),
        ("connections_refused_total", &s.connections_refused),
        ("handed_over_total", &s.handed_over),
        ("messages_sent_total", &s.messages_sent),
        ("messages_received_total", &s.messages_received),
        ("access_trace_records_total", &s.access_records),
        ("access_trace_lost_total", &s.access_lost),
        ("volume_damaged_records_total", &v.damaged_records),
        ("volume_index_steps_total", &v.index_steps),
        ("volume_checkpoints_total", &v.checkpoints),
        ("volume_checkpoint_failures_total", &v.checkpoint_failures),
        ("volume_checkpoints_discarded_total", &v.checkpoint_discards),
    ];
    let gauges = [
        ("ops_in_flight", &s.ops_in_flight),
        ("buffer_used_bytes", &s.buffer_bytes_used),
        ("buffer_size_bytes", &s.buffer_bytes_total),
        ("volume_oldest_dead_timestamp_seconds", &v.oldest_dead_seconds),
        ("volume_needles", &v.needles),
        ("volume_extents", &v.extents),
        ("volume_index_bytes", &v.index_bytes),
        ("volume_index_slots", &v.index_slots),
        ("volume_index_overflow_needles", &v.index_overflow),
        ("volume_index_step_needles_max", &v.index_step_max),
        ("volume_tail_bytes", &v.tail_bytes),
        ("volume_open_read_bytes", &v.open_read_bytes),
        ("volume_checkpoint_tail_bytes", &v.checkpoint_tail_bytes),
        ("volume_checkpoint_age_bytes", &v.checkpoint_age_bytes),
    ];
    let b = &v.board;
    let levels = [
        ("connections", &m.board.shards[0].connections),
        ("background_paused", &m.board.shards[0].background_paused),
        ("volume_full", &b.full),
        ("volume_size_bytes", &b.size_bytes),
        ("volume_used_bytes", &b.used_bytes),
        ("volume_live_bytes", &b.live_bytes),
        ("volume_erase_overdue", &b.erase_overdue),
        ("volume_generation", &b.generation),
        ("volume_compaction_read_bytes", &b.compaction.read_bytes),
        ("volume_compaction_to_read_bytes", &b.compaction.to_read_bytes),
        ("volume_compaction_written_bytes", &b.compaction.written_bytes),
        ("volume_dead_bytes", &b.dead_bytes),
        ("volume_expired_bytes", &b.expired_bytes),
        ("volume_scrub_running", &b.scrub.is_running),
        ("volume_scrub_done_bytes", &b.scrub.done_bytes),
        ("volume_scrub_to_do_bytes", &b.scrub.to_do_bytes),
        ("volume_scrubs_total", &b.scrub.passes),
        ("volume_found_damage", &b.scrub.damage),
        ("volume_replica", &b.replica.is_replica),
        ("volume_suspect", &b.health.suspect),
        ("volume_hard_errors_total", &b.health.hard_errors),
        ("volume_soft_errors_total", &b.health.soft_errors),
        ("volume_probes_total", &b.health.probes),
    ];
    let scalar = |r: &&MetricRow| {
        matches!(
            r.source,
            MetricSource::Shard(_) | MetricSource::ShardBoard(_) | MetricSource::Volume(_)
        )
    };
    let rows = TABLE.iter().filter(scalar).count();
    // volume_durable reads no counter, volume_reclaimable the difference of two, and the two times have
    // another unit.
    let covered = counters.len() + gauges.len() + levels.len();
    assert_eq!(covered + 4, rows, "a row is missing here");

    for (value, (_, counter)) in (1..).zip(counters) {
        counter.add(value);
    }
    for (value, (_, gauge)) in (101..).zip(gauges) {
        gauge.set(value);
    }
    for (value, (_, level)) in (201..).zip(levels) {
        level.set(value);
    }
    b.kept_bytes.set(10);
    b.scrub.verified_ns.set(7_900_000_000);
    b.replica.pulled_ns.set(8_900_000_000);
    let reclaimable = (b.dead_bytes.get() - 10) as f64;
    let seen = scrape(&m);
    let names = counters.map(|c| c.0).into_iter().zip(1_u64..);
    let names = names.chain(gauges.map(|g| g.0).into_iter().zip(101..));
    for (name, value) in names.chain(levels.map(|l| l.0).into_iter().zip(201..)) {
        let labels = if name.starts_with("volume_") { "volume=7" } else { "shard=0" };
        let found = seen.value(&format!("hayloft_{name}"), labels);
        assert_eq!(found, Some(value as f64), "{name}");
    }
    assert_eq!(seen.value("hayloft_volume_reclaimable_bytes", "volume=7"), Some(reclaimable));
    assert_eq!(seen.value("hayloft_volume_verified_timestamp_seconds", "volume=7"), Some(7.0));
    assert_eq!(
        seen.value("hayloft_volume_replica_pulled_timestamp_seconds", "volume=7"),
        Some(8.0)
    );
}

#[test]
fn compactions_are_exported_by_outcome_and_phase() {
    let m = metrics();
    let end = CompactionEnd {
        outcome: CompactionOutcome::Failed,
        reason: "a reason".to_owned(),
        read_bytes: 0,
        written_bytes: 0,
        gained_bytes: 0,
        duration_ns: 0,
        gate_closed_ns: 1_500_000_000,
        gate_closed_max_ns: 250_000_000,
    };
    m.shards[1].compactions.record(&end);
    let v = m.volume(VolumeId(7)).expect("registered");
    v.board.compaction.phase.set(ShownCompaction::Verifying);
    v.board.disk.set(1);
    let s = scrape(&m);
    for (name, labels, value) in [
        ("hayloft_compactions_total", "shard=1,outcome=failed", 1.0),
        ("hayloft_compactions_total", "shard=1,outcome=done", 0.0),
        ("hayloft_compaction_gate_closed_seconds_total", "shard=1", 1.5),
        ("hayloft_compaction_gate_closed_max_seconds", "shard=1", 0.25),
        ("hayloft_volume_compaction_phase", "volume=7,phase=verifying", 1.0),
        ("hayloft_volume_compaction_phase", "volume=7,phase=none", 0.0),
        ("hayloft_volume_info", "volume=7,shard=1,disk=1", 1.0),
    ] {
        assert_eq!(s.value(name, labels), Some(value), "{name}{{{labels}}}");
    }
}

#[test]
fn special_characters_in_paths_are_escaped() {
    let s = scrape(&metrics());
    let paths: Vec<_> =
        s.samples("hayloft_disk_info").iter().map(|d| d.labels[1].1.clone()).collect();
    assert_eq!(paths, ["/data/0", "/data/a \"b\"\\c\nd"]);
}

#[test]
fn histograms_are_cumulative_seconds() {
    let m = metrics();
    let get = m.shards[0].request_latency.at(MethodGroup::Get);
    for ns in [20_000, 30_000, 90_000, 20_000_000_000] {
        get.record(ns);
    }
    m.shards[0].get_phase.at(GetPhase::Device).record(90_000);
    m.shards[0].turn_duration.record(90_000);
    let s = scrape(&m);
    let bucket = |le: &str| {
        s.value("hayloft_request_duration_seconds_bucket", &format!("le={le},shard=0,method=get"))
    };
    assert_eq!(bucket("0.000025"), Some(1.0));
    assert_eq!(bucket("0.00004"), Some(2.0));
    assert_eq!(bucket("0.0001"), Some(3.0));
    assert_eq!(bucket("10.0"), Some(3.0));
    assert_eq!(bucket("+Inf"), Some(4.0));
    let label = "shard=0,method=get";
    assert_eq!(s.value("hayloft_request_duration_seconds_count", label), Some(4.0));
    assert_eq!(s.value("hayloft_request_duration_seconds_sum", label), Some(20.000_14));
    let phase = "shard=0,phase=device";
    assert_eq!(s.value("hayloft_get_phase_duration_seconds_count", phase), Some(1.0));
    assert_eq!(s.value("hayloft_turn_duration_seconds_count", "shard=0"), Some(1.0));
}

#[test]
fn node_without_volumes_and_shards_is_exported() {
    let node = NodeInfo {
        version: "0".into(),
        started_ns: 0,
        started_unix_seconds: 0,
        durable: false,
        ..NodeInfo::default()
    };
    let s = scrape(&Metrics::new(node, Board::new(&[], vec![])));
    assert_eq!(s.value("hayloft_durable", ""), Some(0.0));
    assert!(s.samples("hayloft_volume_needles").is_empty());
}
