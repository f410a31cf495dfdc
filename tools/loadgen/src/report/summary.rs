//! JSON result of a load. Field names are a stable interface for other programs.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;

use crate::load::LoadResult;
use crate::operation::Kind;
use crate::plan::{Pace, Plan};
use crate::stats::Counts;

/// Latency statistics (microseconds).
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// 99.99th percentile.
    pub p99_99: f64,
    /// Maximum.
    pub max: f64,
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds up to ten minutes are far below 2^53")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Self {
            mean: histogram.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: micros(histogram.max()),
        }
    }
}

/// Answers to operations of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    /// Number of answers.
    pub count: u64,
    /// Successful ones.
    pub ok: u64,
    /// Refused with 503 or 429.
    pub rejected: u64,
    /// Not found, as expected.
    pub missing: u64,
    /// Latency of successful answers; in `rejected` and `missing`, of those. Includes requests never sent.
    pub latency_us: Latency,
}

/// Results of one second.
#[derive(Clone, Debug, Serialize)]
pub struct TimelineSecond {
    /// Number of the second, from 0.
    pub second: i64,
    /// Answers received in it.
    pub requests: u64,
    /// Object bytes in them.
    pub bytes: u64,
    /// Median latency; `None` without served requests.
    pub p50_us: Option<f64>,
    /// 99th percentile of the latency.
    pub p99_us: Option<f64>,
}

/// Percentiles of a delay (microseconds).
#[derive(Clone, Debug, Serialize)]
pub struct Delay {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Maximum.
    pub max: f64,
}

impl Delay {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Self { p50: at(0.5), p99: at(0.99), max: micros(histogram.max()) }
    }
}

/// Statistics on the schedule of an open loop.
#[derive(Clone, Debug, Serialize)]
pub struct Schedule {
    /// `constant`, `poisson` or `trace`.
    pub arrivals: &'static str,
    /// Requested requests per second; for a trace, the resulting rate.
    pub rate: f64,
    /// Requests due in the measured time.
    pub intended: u64,
    /// Number of them that were sent.
    pub sent: u64,
    /// Number never sent; latencies include the time they waited until the end.
    pub unsent: u64,
    /// Delay caused by the generator: noticing a due request late, or sending it late once it was due and a
    /// connection idle, whichever is longer.
    pub late_us: Delay,
    /// Delay from due time to sending, including the wait for a connection.
    pub waited_us: Delay,
    /// Maximum number of requests waiting for a connection.
    pub queue_max: u64,
    /// Whether at most one request in a hundred was delayed by the generator for more than 1 ms.
    pub kept: bool,
}

/// Cost of the load generator.
#[derive(Clone, Debug, Serialize)]
pub struct Generator {
    /// Number of threads.
    pub threads: usize,
    /// CPU time of the threads in the measured time (seconds).
    pub cpu_seconds: f64,
    /// CPU time per answer (microseconds).
    pub cpu_us_per_request: f64,
    /// Calls of `io_uring_enter` in the measured time.
    pub enters: u64,
    /// Number of connections open at the same time.
    pub peak_connections: usize,
    /// Connections re-established during the load.
    pub reconnects: u64,
}

/// Result of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// `hayloft-loadgen`.
    pub tool: &'static str,
    /// Version of the tool.
    pub version: &'static str,
    /// Command: `fill`, `run`, ...
    pub command: &'static str,
    /// Start of the measured time (RFC 3339).
    pub date: String,
    /// Kind of server.
    pub target: &'static str,
    /// All options of the command.
    pub options: Value,
    /// Measured time (seconds).
    pub seconds: f64,
    /// Answers to requests due (open loop) or answered (closed loop) in the measured time.
    pub requests: u64,
    /// All answers, including those during warm-up and after the end: the divisor for differences of server
    /// counters read before and after the load.
    pub answers: u64,
    /// Answers received in the measured time, per second.
    pub requests_per_second: f64,
    /// Successful and expected "not found" answers in the measured time, per second (goodput).
    pub served_per_second: f64,
    /// Bytes received, including heads and warm-up.
    pub bytes_received: u64,
    /// Bytes sent, including heads and warm-up.
    pub bytes_sent: u64,
    /// Object bytes in answers received in the measured time, per second.
    pub payload_bytes_per_second: f64,
    /// Number of answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers with wrong content.
    pub wrong: u64,
    /// Unexpected answers, and unanswered requests.
    pub errors: u64,
    /// Descriptions of the first errors.
    pub notes: Vec<String>,
    /// Results by kind of operation; rejections and misses of all kinds separately.
    pub operations: BTreeMap<&'static str, Operation>,
    /// Results by second.
    pub timeline: Vec<TimelineSecond>,
    /// Schedule of an open loop.
    pub schedule: Option<Schedule>,
    /// Whether requests were never sent, so that the true latencies are higher than reported.
    pub truncated: bool,
    /// Fraction of requests answered within `--slo-us`, if given; rejections, errors and requests never sent
    /// count as outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_slo: Option<f64>,
    /// Cost of the load generator.
    pub generator: Generator,
    /// Latency of all correct answers without rejections, and of requests never sent.
    pub served_us: Latency,
    /// Results for each rate of `--rates`; the fields outside of it are those of the last rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sweep: Vec<Summary>,
    /// Latencies by kind of answer (nanoseconds).
    #[serde(skip)]
    pub histograms: Vec<(&'static str, Histogram<u64>)>,
    /// Latencies of all served requests (nanoseconds).
    #[serde(skip)]
    pub served: Histogram<u64>,
}

/// Description of a load, for its summary.
#[derive(Clone, Debug)]
pub struct Title {
    /// Name of the command.
    pub command: &'static str,
    /// Kind of server.
    pub target: &'static str,
    /// All options of the command.
    pub options: Value,
    /// Latency objective (microseconds).
    pub slo_us: Option<u64>,
}

impl Summary {
    /// Summarises `outcome`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn new(title: &Title, plan: &Plan, outcome: &LoadResult) -> Self {
        let total = &outcome.total;
        let seconds = outcome.seconds.max(1e-9);
        let requests = total.requests();
        let per_second = total.completed as f64 / seconds;
        let cpu = outcome.cpu as f64;
        let served = total.served();
        Self {
            tool: "hayloft-loadgen",
            version: env!("CARGO_PKG_VERSION"),
            command: title.command,
            date: hayloft::base::calendar::rfc3339(outcome.began / 1_000_000_000),
            target: title.target,
            options: title.options.clone(),
            seconds: outcome.seconds,
            requests,
            answers: total.answers,
            requests_per_second: per_second,
            served_per_second: total.served as f64 / seconds,
            bytes_received: total.received,
            bytes_sent: total.sent,
            payload_bytes_per_second: total.payload as f64 / seconds,
            statuses: total.statuses.clone(),
            wrong: total.wrong,
            errors: total.errors,
            notes: total.notes.clone(),
            operations: operations(outcome),
            timeline: outcome.timeline.iter().map(timeline).collect(),
            schedule: schedule(plan, outcome),
            truncated: !total.unsent.is_empty(),
            within_slo: title.slo_us.map(|slo| {
                let within = |of: &Histogram<u64>| of.count_between(0, slo.saturating_mul(1000));
                let all = requests + total.unanswered + total.unsent.len();
                (within(&served) - within(&total.unsent)) as f64 / all.max(1) as f64
            }),
            generator: Generator {
                threads: plan.threads,
                cpu_seconds: cpu / 1e9,
                cpu_us_per_request: cpu / 1000.0 / (total.completed.max(1)) as f64,
                enters: outcome.enters,
                peak_connections: plan.connections,
                reconnects: total.reconnects,
            },
            served_us: Latency::of(&served),
            sweep: Vec::new(),
            histograms: histograms(outcome),
            served,
        }
    }

    /// Whether every answer was correct.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.wrong == 0 && self.errors == 0 && self.sweep.iter().all(Self::is_clean)
    }
}

fn timeline(second: &crate::load::Second) -> TimelineSecond {
    TimelineSecond {
        second: second.second,
        requests: second.requests,
        bytes: second.bytes,
        p50_us: second.p50.map(micros),
        p99_us: second.p99.map(micros),
    }
}

fn histograms(outcome: &LoadResult) -> Vec<(&'static str, Histogram<u64>)> {
    let total = &outcome.total;
    let kinds = Kind::ALL.iter().map(|kind| kind.name()).zip(total.done.iter().cloned());
    let others = [("missing", total.missing.clone()), ("rejected", total.rejected.clone())];
    kinds.chain(others).collect()
}

fn operations(outcome: &LoadResult) -> BTreeMap<&'static str, Operation> {
    let total = &outcome.total;
    let operation = |counts: Counts, histogram: &Histogram<u64>| Operation {
        count: counts.count,
        ok: counts.ok,
        rejected: counts.rejected,
        missing: counts.missing,
        latency_us: Latency::of(histogram),
    };
    let kinds = Kind::ALL.iter().zip(total.counts.iter().zip(&total.done));
    let mut all: BTreeMap<_, _> =
        kinds.map(|(kind, (counts, done))| (kind.name(), operation(*counts, done))).collect();
    let rejected = total.refused();
    let counts = Counts { count: rejected, rejected, ..Counts::default() };
    all.insert("rejected", operation(counts, &total.rejected));
    let missing = total.counts.iter().map(|counts| counts.missing).sum();
    let counts = Counts { count: missing, missing, ..Counts::default() };
    all.insert("missing", operation(counts, &total.missing));
    all
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn schedule(plan: &Plan, outcome: &LoadResult) -> Option<Schedule> {
    let kept = &outcome.kept;
    let (arrivals, rate) = match plan.pace {
        Pace::Closed => return None,
        Pace::Rate(rate, crate::schedule::Arrivals::Constant) => ("constant", rate),
        Pace::Rate(rate, crate::schedule::Arrivals::Poisson) => ("poisson", rate),
        Pace::Trace => ("trace", kept.intended as f64 / outcome.seconds.max(1e-9)),
    };
    Some(Schedule {
        arrivals,
        rate,
        intended: kept.intended,
        sent: kept.sent,
        unsent: kept.intended - kept.sent,
        late_us: Delay::of(&kept.late),
        waited_us: Delay::of(&kept.waited),
        queue_max: kept.queue_max,
        kept: kept.is_kept(),
    })
}
