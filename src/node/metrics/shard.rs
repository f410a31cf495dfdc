//! Numbers of one shard.

use super::compaction::CompactionTotals;
use super::counter::Counter;
use super::gauge::Gauge;
use super::histogram::Histogram;
use super::label::{CounterBy, HistogramBy, label_enum};
use super::responses::Responses;
use crate::node::board::ShardInfo;

label_enum! {
    /// Method of a request on the data listener.
    pub enum MethodLabel: "method" {
        /// GET of an object.
        Get = "get",
        /// HEAD of an object.
        Head = "head",
        /// PUT of an object.
        Put = "put",
        /// POST: an object whose name the store chooses, or a batch put.
        Post = "post",
        /// DELETE of an object.
        Delete = "delete",
        /// Any other well-formed method; the response is 405, except for OPTIONS of a fid.
        Other = "other",
    }
}

label_enum! {
    /// Groups of methods for latency: methods that wait for the same operations.
    pub enum MethodGroup: "method" {
        /// GET: a device read.
        Get = "get",
        /// PUT and POST: a durable write.
        Put = "put",
        /// DELETE: an identity read and a durable write.
        Delete = "delete",
        /// HEAD, other methods and errors.
        Other = "other",
    }
}

impl From<MethodLabel> for MethodGroup {
    fn from(method: MethodLabel) -> Self {
        match method {
            MethodLabel::Get => Self::Get,
            MethodLabel::Put | MethodLabel::Post => Self::Put,
            MethodLabel::Delete => Self::Delete,
            MethodLabel::Head | MethodLabel::Other => Self::Other,
        }
    }
}

label_enum! {
    /// Phase of a GET.
    pub enum GetPhase: "phase" {
        /// From the parsed head to the verified needle: queues, the device, messages to another shard.
        Device = "device",
        /// From the first byte offered to the socket to the last one accepted by it.
        Send = "send",
    }
}

label_enum! {
    /// Deadline that a connection missed.
    pub enum TimeoutKind: "kind" {
        /// The request head did not arrive in time.
        Head = "head",
        /// The body arrived more slowly than the minimum rate.
        Body = "body",
        /// No request arrived on a kept-alive connection.
        Idle = "idle",
        /// The client received the response too slowly.
        Send = "send",
    }
}

label_enum! {
    /// Why a request was refused with 503 before any work was done.
    pub enum AdmissionRefusal: "reason" {
        /// No buffer memory left.
        Buffers = "buffers",
        /// Too many connections.
        Connections = "connections",
        /// A queue (device, mailbox, commit) is full.
        Queue = "queue",
        /// The volume is recovering.
        Recovering = "recovering",
        /// The daemon is draining.
        Draining = "draining",
        /// The volume takes no writes.
        ReadOnly = "read_only",
    }
}

/// The numbers of one shard. The shard is the only writer; any thread may read.
///
/// Aligned to two cache lines, since the adjacent-line prefetcher works on pairs: the counters of two shards
/// must not share a pair of cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Constant properties.
    pub info: ShardInfo,

    /// Number of event loop iterations.
    pub turns: Counter,
    /// Duration of event loop iterations without their wait, in nanoseconds.
    pub turn_duration: Histogram,
    /// Calls of io_uring_enter.
    pub enters: Counter,
    /// Completions reaped.
    pub completions: Counter,
    /// Operations submitted and not yet completed.
    pub ops_in_flight: Gauge,

    /// Requests with a valid head.
    pub requests: CounterBy<MethodLabel, { MethodLabel::COUNT }>,
    /// Responses by status.
    pub responses: Responses,
    /// GETs of a needle that exists and whose cookie matched.
    pub gets_found: Counter,
    /// GETs answered with 404.
    pub gets_missing: Counter,
    /// Read operations submitted to a volume file on behalf of GETs.
    pub device_reads: Counter,
    /// Other read operations submitted to a volume file: recovery, identity confirmation.
    pub device_reads_other: Counter,
    /// Bytes read from volume files on behalf of GETs.
    pub device_read_bytes: Counter,
    /// Index candidates whose needle was another one (tag collisions).
    pub false_candidates: Counter,
    /// Reads whose checksum did not match.
    pub checksum_failures: Counter,

    /// Commits written durably.
    pub commits: Counter,
    /// Needles and tombstones in those commits.
    pub commit_needles: Counter,
    /// Bytes written by those commits, padding included.
    pub commit_bytes: Counter,
    /// Durable writes and flushes completed.
    pub flushes: Counter,
    /// Tail hints written.
    pub hint_writes: Counter,

    /// Body bytes received from clients.
    pub payload_bytes_in: Counter,
    /// Body bytes sent to clients.
    pub payload_bytes_out: Counter,

    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Connections closed at once because there were too many.
    pub connections_refused: Counter,
    /// Connections moved to another shard.
    pub handed_over: Counter,
    /// Messages sent to other shards.
    pub messages_sent: Counter,
    /// Messages received from other shards.
    pub messages_received: Counter,

    /// Malformed requests, answered with 4xx or 5xx.
    pub bad_requests: Counter,
    /// Deadlines missed by clients.
    pub timeouts: CounterBy<TimeoutKind, { TimeoutKind::COUNT }>,
    /// Requests refused before any work was done.
    pub admission_refusals: CounterBy<AdmissionRefusal, { AdmissionRefusal::COUNT }>,

    /// Compactions that ended.
    pub compactions: CompactionTotals,

    /// Requests recorded in the access trace.
    pub access_records: Counter,
    /// Requests left out of the access trace because its queue was full.
    pub access_lost: Counter,

    /// Bytes of the buffer region in use.
    pub buffer_bytes_used: Gauge,
    /// Bytes of the buffer region.
    pub buffer_bytes_total: Gauge,

    /// Time from the first byte of a request's head to the last byte of its response, in nanoseconds.
    pub request_latency: HistogramBy<MethodGroup, { MethodGroup::COUNT }>,
    /// Parts of the latency of GETs, in nanoseconds.
    pub get_phase: HistogramBy<GetPhase, { GetPhase::COUNT }>,
}

impl ShardMetrics {
    /// All numbers at zero.
    #[must_use]
    pub fn new(info: ShardInfo) -> Self {
        Self {
            info,
            turns: Counter::new(),
            turn_duration: Histogram::new(),
            enters: Counter::new(),
            completions: Counter::new(),
            ops_in_flight: Gauge::new(),
            requests: CounterBy::new(),
            responses: Responses::new(),
            gets_found: Counter::new(),
            gets_missing: Counter::new(),
            device_reads: Counter::new(),
            device_reads_other: Counter::new(),
            device_read_bytes: Counter::new(),
            false_candidates: Counter::new(),
            checksum_failures: Counter::new(),
            commits: Counter::new(),
            commit_needles: Counter::new(),
            commit_bytes: Counter::new(),
            flushes: Counter::new(),
            hint_writes: Counter::new(),
            payload_bytes_in: Counter::new(),
            payload_bytes_out: Counter::new(),
            connections_accepted: Counter::new(),
            connections_refused: Counter::new(),
            handed_over: Counter::new(),
            messages_sent: Counter::new(),
            messages_received: Counter::new(),
            bad_requests: Counter::new(),
            timeouts: CounterBy::new(),
            admission_refusals: CounterBy::new(),
            compactions: CompactionTotals::default(),
            access_records: Counter::new(),
            access_lost: Counter::new(),
            buffer_bytes_used: Gauge::new(),
            buffer_bytes_total: Gauge::new(),
            request_latency: HistogramBy::new(),
            get_phase: HistogramBy::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_metrics_share_no_pair_of_cache_lines() {
        assert_eq!(align_of::<ShardMetrics>(), 128);
        assert_eq!(size_of::<ShardMetrics>() % 128, 0);
    }

    #[test]
    fn each_method_has_a_latency_group() {
        assert_eq!(MethodGroup::from(MethodLabel::Post), MethodGroup::Put);
        assert_eq!(MethodGroup::from(MethodLabel::Head), MethodGroup::Other);
        assert_eq!(MethodGroup::from(MethodLabel::Delete), MethodGroup::Delete);
    }
}
