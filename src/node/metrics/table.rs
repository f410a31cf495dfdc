//! The list of exported metrics.
//!
//! A row has name, unit, type, labels, help and source of a metric. The exporter and `docs/METRICS.md` are
//! both generated from it, so they agree.

use prometheus_client::metrics::MetricType;

use super::histogram::Histogram;
use super::label::Label;
use super::metric_row::{MetricRow, MetricSource};
use super::node::Metrics;
use super::read_metric::ReadMetric;
use super::responses::{STATUS_NAMES, StatusClass};
use super::shard::{
    AdmissionRefusal, GetPhase, MethodGroup, MethodLabel, ShardMetrics, TimeoutKind,
};
use super::volume::VolumeMetrics;
use crate::node::board::CompactionOutcome;

const fn row(
    name: &'static str,
    kind: MetricType,
    source: MetricSource,
    help: &'static str,
) -> MetricRow {
    MetricRow { name, unit: None, kind, help, source }
}

const fn counter(
    name: &'static str,
    get: fn(&ShardMetrics) -> u64,
    help: &'static str,
) -> MetricRow {
    row(name, MetricType::Counter, MetricSource::Shard(get), help)
}

const fn gauge(name: &'static str, get: fn(&ShardMetrics) -> u64, help: &'static str) -> MetricRow {
    row(name, MetricType::Gauge, MetricSource::Shard(get), help)
}

const fn node(name: &'static str, get: fn(&Metrics) -> u64, help: &'static str) -> MetricRow {
    row(name, MetricType::Gauge, MetricSource::Node(get), help)
}

const fn volume(
    name: &'static str,
    get: fn(&VolumeMetrics) -> u64,
    help: &'static str,
) -> MetricRow {
    row(name, MetricType::Gauge, MetricSource::Volume(get), help)
}

const fn counter_by(
    name: &'static str,
    key: &'static str,
    names: &'static [&'static str],
    get: fn(&ShardMetrics, usize) -> u64,
    help: &'static str,
) -> MetricRow {
    row(name, MetricType::Counter, MetricSource::ShardBy { key, names, get }, help)
}

const fn seconds_by(
    name: &'static str,
    key: &'static str,
    names: &'static [&'static str],
    get: fn(&ShardMetrics, usize) -> &Histogram,
    help: &'static str,
) -> MetricRow {
    let source = MetricSource::ShardHistogram { key, names, get };
    let row = row(name, MetricType::Histogram, source, help);
    row.seconds()
}

const fn seconds(
    name: &'static str,
    get: fn(&ShardMetrics) -> &Histogram,
    help: &'static str,
) -> MetricRow {
    row(name, MetricType::Histogram, MetricSource::ShardSeconds(get), help).seconds()
}

/// Every exported metric, in the order of the export.
#[rustfmt::skip] // one line per row
pub(super) static TABLE: &[MetricRow] = &[
    // The daemon.
    row("build", MetricType::Info, MetricSource::Build,
        "The running version, as a label."),
    node("start_time", |m| m.node.started_unix_seconds,
        "Wall clock at the start of the daemon, in seconds since 1970.").seconds(),
    node("draining", |m| u64::from(m.board.draining()),
        "1 while the daemon finishes what it has and takes nothing new."),
    node("durable", |m| u64::from(m.node.durable),
        "0 with --buffered: answers then promise nothing after a crash."),
    node("registered_buffers", |m| u64::from(m.registered_buffers()),
        "1 if the buffers are registered with the kernel."),
    row("log_lines_dropped", MetricType::Counter, MetricSource::NodeCounter(Metrics::log_lines_dropped),
        "Log lines lost: standard error did not take them, or not fast enough."),
    row("disk", MetricType::Info, MetricSource::DiskPath,
        "The path of each data directory, as a label."),
    row("disk_state", MetricType::Gauge, MetricSource::DiskState,
        "1 for the state the data directory is in, 0 for the others."),
    row("disk_size", MetricType::Gauge, MetricSource::Disk(|d| d.size_bytes.get()),
        "Size of the file system that the data directory is on.").bytes(),
    row("disk_free", MetricType::Gauge, MetricSource::Disk(|d| d.free_bytes.get()),
        "Bytes of it that are free for new volumes.").bytes(),
    row("disk_read_p99", MetricType::Gauge, MetricSource::DiskSeconds(|d| d.read_p99_ns.get()),
        "Time that 99 of 100 reads of it took at most, over five minutes; 0 after few reads.").seconds(),
    row("disk_slow", MetricType::Gauge, MetricSource::Disk(|d| d.slow.get()),
        "1 if reads of it take too long, or one does not end."),

    // The cluster.
    node("cluster_masters", |m| m.cluster.masters.get(),
        "Masters of the cluster in the configuration; 0 if the node belongs to no cluster."),
    node("cluster_connected", |m| m.cluster.connected.get(),
        "1 while the node is registered with the leader of its cluster."),
    row("cluster_heartbeats", MetricType::Counter, MetricSource::NodeCounter(|m| m.cluster.heartbeats.get()),
        "Heartbeats sent to masters."),
    node("cluster_peers", |m| m.cluster.peers.get(),
        "Other nodes of the cluster that have copies of volumes of this node."),
    node("cluster_peers_answering", |m| m.cluster.peers_answering.get(),
        "Those of them that answer."),
    node("cluster_copies", |m| m.cluster.copies.get(),
        "Copies of volumes of this node on other nodes."),
    node("cluster_copies_behind", |m| m.cluster.copies_behind.get(),
        "Those of them that may lack something."),
    node("cluster_volumes_held", |m| m.cluster.volumes_held.get(),
        "Volumes that the master assigns nothing to, because a copy on another node may lack something."),
    row("cluster_offered_objects", MetricType::Counter,
        MetricSource::NodeCounter(|m| m.cluster.offered_objects.get()),
        "Objects that were sent again to copies that might have lacked them."),
    row("cluster_offered_deletions", MetricType::Counter,
        MetricSource::NodeCounter(|m| m.cluster.offered_deletions.get()),
        "Deletions that were sent again to such copies."),
    row("cluster_failed_offers", MetricType::Counter,
        MetricSource::NodeCounter(|m| m.cluster.failed_offers.get()),
        "Attempts to do so that failed, and are repeated."),
    row("cluster_calls", MetricType::Counter, MetricSource::ClusterCalls,
        "Calls of the cluster by gRPC that the node knows, by result."),

    // The loop.
    row("shard_silence", MetricType::Gauge, MetricSource::ShardSilence,
        "Time since the shard's loop last turned; /healthz fails when it grows too long.").seconds(),
    counter("turns", |s| s.turns.get(),
        "Turns of the shard's loop."),
    seconds("turn_duration", |s| &s.turn_duration,
        "What a turn of the shard's loop did, without waiting; all other clients of the shard wait for it."),
    counter("enters", |s| s.enters.get(),
        "Calls of io_uring_enter."),
    counter("completions", |s| s.completions.get(),
        "Completions reaped from the ring."),
    gauge("ops_in_flight", |s| s.ops_in_flight.get(),
        "Operations submitted and not yet completed."),

    // Requests.
    counter_by("requests", MethodLabel::KEY, MethodLabel::NAMES, |s, i| s.requests.get(i),
        "Requests whose head was understood."),
    counter_by("responses", StatusClass::KEY, StatusClass::NAMES, |s, i| s.responses.class_at(i),
        "Answers by class of status."),
    counter_by("responses_by_status", "status", &STATUS_NAMES, |s, i| s.responses.status_at(i),
        "Answers by exact status; the same answers as in hayloft_responses_total."),
    counter("gets_found", |s| s.gets_found.get(),
        "GETs of a needle that exists and whose cookie matched."),
    counter("gets_missing", |s| s.gets_missing.get(),
        "GETs answered with 404."),
    counter("bad_requests", |s| s.bad_requests.get(),
        "Requests that broke the grammar."),
    counter_by("timeouts", TimeoutKind::KEY, TimeoutKind::NAMES, |s, i| s.timeouts.get(i),
        "Deadlines missed by clients."),
    counter_by("admission_refusals", AdmissionRefusal::KEY, AdmissionRefusal::NAMES,
        |s, i| s.admission_refusals.get(i),
        "Requests refused with 503 before any work was done."),
    seconds_by("request_duration", MethodGroup::KEY, MethodGroup::NAMES, |s, i| s.request_latency.get(i),
        "From the first byte of a request's head to the last byte of its answer."),
    seconds_by("get_phase_duration", GetPhase::KEY, GetPhase::NAMES, |s, i| s.get_phase.get(i),
        "Parts of the time of a GET."),
    counter("payload_in", |s| s.payload_bytes_in.get(),
        "Body bytes received from clients.").bytes(),
    counter("payload_out", |s| s.payload_bytes_out.get(),
        "Body bytes sent to clients.").bytes(),

    // Devices.
    counter("device_reads", |s| s.device_reads.get(),
        "Read operations submitted to a volume file on behalf of GETs; one for each needle up to 1 MiB."),
    counter("device_reads_other", |s| s.device_reads_other.get(),
        "Other read operations submitted to a volume file: recovery, identity confirmation."),
    counter("device_read", |s| s.device_read_bytes.get(),
        "Bytes read from volume files on behalf of GETs.").bytes(),
    counter("false_candidates", |s| s.false_candidates.get(),
        "Index candidates whose needle turned out to be another one."),
    counter("checksum_failures", |s| s.checksum_failures.get(),
        "Reads whose checksum did not match; any is a reason to look at the device."),
    counter("commits", |s| s.commits.get(),
        "Commits written durably."),
    counter("commit_needles", |s| s.commit_needles.get(),
        "Needles and tombstones in those commits."),
    counter("commit", |s| s.commit_bytes.get(),
        "Bytes written by those commits, padding included.").bytes(),
    counter("flushes", |s| s.flushes.get(),
        "Durable writes and flushes completed."),
    counter("hint_writes", |s| s.hint_writes.get(),
        "Tail hints written."),

    // Background work.
    row("background_paused", MetricType::Gauge, MetricSource::ShardBoard(|s| s.background_paused.get()),
        "1 while the shard's compactions are paused."),
    counter_by("compactions", CompactionOutcome::KEY, CompactionOutcome::NAMES,
        |s, i| s.compactions.ended.get(i),
        "Compactions that ended, by outcome."),
    counter("compaction_read", |s| s.compactions.read_bytes.get(),
        "Bytes that ended compactions read from old volume files.").bytes(),
    counter("compaction_written", |s| s.compactions.written_bytes.get(),
        "Bytes that ended compactions wrote to new volume files.").bytes(),
    counter("compaction_gained", |s| s.compactions.gained_bytes.get(),
        "Bytes of log that compactions freed.").bytes(),
    row("compaction_gate_closed", MetricType::Counter,
        MetricSource::ShardFraction(|s| s.compactions.gate_closed_seconds()),
        "Time that writes to a volume had to wait for the end of its compaction.").seconds(),
    row("compaction_gate_closed_max", MetricType::Gauge,
        MetricSource::ShardFraction(|s| s.compactions.gate_closed_max_seconds()),
        "The longest of these waits since the daemon started.").seconds(),

    // Connections, messages, memory.
    row("connections", MetricType::Gauge, MetricSource::ShardBoard(|s| s.connections.get()),
        "Connections open now."),
    counter("connections_accepted", |s| s.connections_accepted.get(),
        "Connections accepted."),
    counter("connections_refused", |s| s.connections_refused.get(),
        "Connections closed at once because there were too many."),
    counter("handed_over", |s| s.handed_over.get(),
        "Connections moved to another shard."),
    counter("messages_sent", |s| s.messages_sent.get(),
        "Messages sent to other shards."),
    counter("messages_received", |s| s.messages_received.get(),
        "Messages received from other shards."),
    counter("access_trace_records", |s| s.access_records.get(),
        "Requests put into the access trace."),
    counter("access_trace_lost", |s| s.access_lost.get(),
        "Requests left out of the access trace because its writer did not keep up."),
    gauge("buffer_used", |s| s.buffer_bytes_used.get(),
        "Bytes of the shard's buffer region in use.").bytes(),
    gauge("buffer_size", |s| s.buffer_bytes_total.get(),
        "Bytes of the shard's buffer region.").bytes(),

    // Volumes. Place and state are metrics of their own: join on the label volume.
    row("volume", MetricType::Info, MetricSource::VolumePlace,
        "Shard and data directory of each volume, as labels."),
    row("volume_state", MetricType::Gauge, MetricSource::VolumeState,
        "1 for the state the volume is in, 0 for the others."),
    row("volume_write_state", MetricType::Gauge, MetricSource::VolumeWriteState,
        "1 for whether the volume may be written, and why not; 0 for the others."),
    volume("volume_durable", |v| u64::from(v.board.info.durable),
        "0 if writes to the volume go through the page cache and promise nothing."),
    volume("volume_full", |v| v.board.full.get(),
        "1 if the volume is full: a photo of 1 MiB does not fit any more."),
    volume("volume_size", |v| v.board.size_bytes.get(),
        "Size of the volume file.").bytes(),
    volume("volume_used", |v| v.board.used_bytes.get(),
        "Bytes of the file that hold commits, dead needles included.").bytes(),
    volume("volume_live", |v| v.board.live_bytes.get(),
        "Bytes of needles that can be read.").bytes(),
    volume("volume_dead", |v| v.board.dead_bytes.get(),
        "Bytes of needles that were replaced or deleted, and of tombstones.").bytes(),
    volume("volume_oldest_dead_timestamp", |v| v.oldest_dead_seconds.get(),
        "Since when something in the volume is dead, in seconds since 1970; 0 when nothing is.").seconds(),
    volume("volume_expired", |v| v.board.expired_bytes.get(),
        "Bytes of photos that have expired, without those that did so today (UTC).").bytes(),
    volume("volume_reclaimable", |v| v.board.reclaimable_bytes(),
        "Bytes of the log that a compaction would free.").bytes(),
    volume("volume_erase_overdue", |v| v.board.erase_overdue.get(),
        "1 if bytes of the volume have been dead for longer than compaction.erase_within."),
    volume("volume_generation", |v| v.board.generation.get(),
        "Generation of the volume file: the number of compactions it went through."),
    row("volume_compaction_phase", MetricType::Gauge, MetricSource::VolumeCompaction,
        "1 for the phase that the compaction of the volume is in, 0 for the others."),
    volume("volume_compaction_read", |v| v.board.compaction.read_bytes.get(),
        "Bytes of the old file that the running or last compaction has read.").bytes(),
    volume("volume_compaction_to_read", |v| v.board.compaction.to_read_bytes.get(),
        "Bytes that it has to read in total, as far as known.").bytes(),
    volume("volume_compaction_written", |v| v.board.compaction.written_bytes.get(),
        "Bytes that it has written to the new file.").bytes(),
    volume("volume_needles", |v| v.needles.get(),
        "Needles that can be read."),
    volume("volume_extents", |v| v.extents.get(),
        "Extents of the volume file; many mean that the file system split it."),
    volume("volume_index", |v| v.index_bytes.get(),
        "Memory of the volume's index.").bytes(),
    row("volume_index_bytes_per_needle", MetricType::Gauge,
        MetricSource::VolumeRatio(VolumeMetrics::index_bytes_per_needle),
        "Memory of the volume's index for each needle; 0 when there are none."),
    volume("volume_index_slots", |v| v.index_slots.get(),
        "Slots of the volume's index."),
    row("volume_index_load", MetricType::Gauge, MetricSource::VolumeRatio(VolumeMetrics::index_load),
        "What part of the slots of the volume's index is full, 0 to 1."),
    volume("volume_index_overflow_needles", |v| v.index_overflow.get(),
        "Needles that found no slot in the index, since too many have the same hash."),
    row("volume_index_steps", MetricType::Counter, MetricSource::Volume(|v| v.index_steps.get()),
        "Steps in which the volume's index grew."),
    volume("volume_index_step_needles_max", |v| v.index_step_max.get(),
        "Needles that such a step moved at most; a thousand take some ten microseconds."),
    volume("volume_tail", |v| v.tail_bytes.get(),
        "Offset at which the next commit starts.").bytes(),
    row("volume_open", MetricType::Gauge, MetricSource::VolumeRatio(VolumeMetrics::open_seconds),
        "How long opening the volume took, reading its log included.").seconds(),
    volume("volume_open_read", |v| v.open_read_bytes.get(),
        "Bytes of the volume file that opening it read; what is read twice counts twice.").bytes(),
    volume("volume_checkpoint_tail", |v| v.checkpoint_tail_bytes.get(),
        "Offset up to which the volume's checkpoint saves reading the log; 0 without one.").bytes(),
    volume("volume_checkpoint_age", |v| v.checkpoint_age_bytes.get(),
        "Bytes of log since the volume's checkpoint: a start reads these, and more after a kill.").bytes(),
    row("volume_checkpoint", MetricType::Gauge, MetricSource::VolumeRatio(VolumeMetrics::checkpoint_seconds),
        "How long the last checkpoint took; it is slowed down on purpose.").seconds(),
    row("volume_checkpoints", MetricType::Counter, MetricSource::Volume(|v| v.checkpoints.get()),
        "Checkpoints written."),
    row("volume_checkpoint_failures", MetricType::Counter,
        MetricSource::Volume(|v| v.checkpoint_failures.get()),
        "Checkpoints that could not be written; it is tried again, and nothing is lost."),
    row("volume_checkpoints_discarded", MetricType::Counter,
        MetricSource::Volume(|v| v.checkpoint_discards.get()),
        "Checkpoints that a start could not use, so that it read the whole log."),
    volume("volume_verified_timestamp", |v| v.board.scrub.verified_ns.get() / 1_000_000_000,
        "Begin of the last scrub that found nothing, or creation of the file, in seconds since 1970.")
        .seconds(),
    volume("volume_scrub_running", |v| v.board.scrub.is_running.get(),
        "1 while the volume is being scrubbed."),
    volume("volume_scrub_done", |v| v.board.scrub.done_bytes.get(),
        "Bytes of the log that the running or last scrub of the volume has verified.").bytes(),
    volume("volume_scrub_to_do", |v| v.board.scrub.to_do_bytes.get(),
        "Bytes of the log that it has to verify.").bytes(),
    row("volume_scrubs", MetricType::Counter, MetricSource::Volume(|v| v.board.scrub.passes.get()),
        "Scrubs of the volume that were completed."),
    volume("volume_found_damage", |v| v.board.scrub.damage.get(),
        "Places of the volume that scrubs have found damaged; hayloft volume damage lists them."),
    volume("volume_replica", |v| v.board.replica.is_replica.get(),
        "1 if the volume is a copy, which takes no writes but those of its source."),
    volume("volume_replica_pulled_timestamp", |v| v.board.replica.pulled_ns.get() / 1_000_000_000,
        "Time of the last pull into the copy, or since which it is open, in seconds since 1970; else 0.")
        .seconds(),
    volume("volume_suspect", |v| v.board.health.suspect.get(),
        "1 if the volume takes no writes because reads of its disk failed; see hayloft volume clear."),
    row("volume_hard_errors", MetricType::Counter, MetricSource::Volume(|v| v.board.health.hard_errors.get()),
        "New places of the volume at which a read failed, and failed again."),
    row("volume_soft_errors", MetricType::Counter, MetricSource::Volume(|v| v.board.health.soft_errors.get()),
        "New places of the volume at which a read failed, and succeeded when it was repeated."),
    row("volume_probes", MetricType::Counter, MetricSource::Volume(|v| v.board.health.probes.get()),
        "Random photos of the volume that were read to see whether the disk works."),
    row("volume_damaged_records", MetricType::Counter, MetricSource::Volume(|v| v.damaged_records.get()),
        "Records found damaged since the daemon started; any is a reason to run hayloft check."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut seen = HashSet::new();
        for row in TABLE {
            let name = row.full_name();
            assert!(seen.insert(name.clone()), "{name} twice");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            for suffix in ["_total", "_bytes", "_seconds", "_info", "_bucket", "_count", "_sum"] {
                assert!(!row.name.ends_with(suffix), "{}: the encoder adds {suffix}", row.name);
            }
        }
    }

    #[test]
    fn help_is_one_sentence_that_needs_no_escapes() {
        for row in TABLE {
            assert!(row.help.ends_with('.'), "{}", row.name);
            assert!(!row.help.contains(['\n', '\\', '|', '"']), "{}", row.name);
        }
    }

    #[test]
    fn labels_of_one_row_differ() {
        for row in TABLE {
            let labels = row.source.labels();
            assert_eq!(labels.iter().collect::<HashSet<_>>().len(), labels.len(), "{}", row.name);
        }
    }
}
