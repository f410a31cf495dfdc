//! The JSON of a load. Other programs rely on these names.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;

use crate::load::Outcome;
use crate::operation::Kind;
use crate::plan::{Pace, Plan};
use crate::stats::Counts;

/// Latencies (microseconds).
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
    /// The longest.
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

/// Answers of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    /// All.
    pub count: u64,
    /// Done.
    pub ok: u64,
    /// Refused with 503.
    pub rejected: u64,
    /// Not found, as it should be.
    pub missing: u64,
    /// Of those that were done; in `rejected` and `missing`, of those. What was never sent is among them.
    pub latency_us: Latency,
}

/// One second.
#[derive(Clone, Debug, Serialize)]
pub struct TimelineSecond {
    /// Its number, 0 first.
    pub second: i64,
    /// Answers.
    pub requests: u64,
    /// Bytes of objects.
    pub bytes: u64,
    /// Median latency; nothing when nothing was done.
    pub p50_us: Option<f64>,
    /// 99th percentile.
    pub p99_us: Option<f64>,
}

/// Percentiles of a delay (microseconds).
#[derive(Clone, Debug, Serialize)]
pub struct Delay {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Delay {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Self { p50: at(0.5), p99: at(0.99), max: micros(histogram.max()) }
    }
}

/// How an open loop kept its schedule.
#[derive(Clone, Debug, Serialize)]
pub struct Schedule {
    /// `constant`, `poisson` or `trace`.
    pub arrivals: &'static str,
    /// Requests per second that were asked for; of a trace, those that came of it.
    pub rate: f64,
    /// Requests that were due in the measured time.
    pub intended: u64,
    /// Those that were sent.
    pub sent: u64,
    /// Those that were not: latencies have them with the time they had waited in the end.
    pub unsent: u64,
    /// How late the generator was: in noticing a request that was due, or in sending it from when it was
    /// due and a connection free, whichever is longer.
    pub late_us: Delay,
    /// How late requests were sent, waiting for a connection included.
    pub waited_us: Delay,
    /// Most requests that waited at once.
    pub queue_max: u64,
    /// Whether the generator itself was late by more than 1 ms for at most one request in a hundred.
    pub kept: bool,
}

/// What the generator cost.
#[derive(Clone, Debug, Serialize)]
pub struct Generator {
    /// Its threads.
    pub threads: usize,
    /// CPU time of the threads in the measured time.
    pub cpu_seconds: f64,
    /// The same per answer.
    pub cpu_us_per_request: f64,
    /// Calls of `io_uring_enter` in the measured time.
    pub enters: u64,
    /// Connections that were open at once.
    pub peak_connections: usize,
    /// Connections that had to be made anew.
    pub reconnects: u64,
}

/// A load.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// `hayloft-loadgen`.
    pub tool: &'static str,
    /// Its version.
    pub version: &'static str,
    /// `fill`, `run`, ...
    pub command: &'static str,
    /// When it began (RFC 3339).
    pub date: String,
    /// What was put under load.
    pub target: &'static str,
    /// Everything that was asked for.
    pub options: Value,
    /// Length of the measured time.
    pub seconds: f64,
    /// Answers to requests that began in the measured time (open loop), or that came in it (closed loop).
    pub requests: u64,
    /// Answers whenever they came, while warming up and behind the end too: what a server's figures before
    /// and after the load are to be divided by.
    pub answers: u64,
    /// Answers that came in the measured time, per second.
    pub requests_per_second: f64,
    /// The same without refusals and errors: the goodput.
    pub served_per_second: f64,
    /// Bytes received, with heads, while warming up too.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes of objects in answers that came in the measured time, per second.
    pub payload_bytes_per_second: f64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers with wrong bytes.
    pub wrong: u64,
    /// Unexpected answers, and requests without one.
    pub errors: u64,
    /// The first of them in words.
    pub notes: Vec<String>,
    /// By what was asked; rejections and misses of all kinds apart.
    pub operations: BTreeMap<&'static str, Operation>,
    /// By second.
    pub timeline: Vec<TimelineSecond>,
    /// Of an open loop.
    pub schedule: Option<Schedule>,
    /// Whether requests were never sent, so that latencies are longer than they say.
    pub truncated: bool,
    /// Share of requests answered within `--slo-us`, if given: rejections, errors and what was never sent
    /// count as beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_slo: Option<f64>,
    /// What the generator cost.
    pub generator: Generator,
    /// Latencies of all answers that were as they should be, rejections left out, and of what was never sent.
    pub served_us: Latency,
    /// The same at each rate of `--rates`; what stands outside of it is the last one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sweep: Vec<Summary>,
    /// Latencies by kind of answer (nanoseconds).
    #[serde(skip)]
    pub histograms: Vec<(&'static str, Histogram<u64>)>,
    /// The same of all that were served.
    #[serde(skip)]
    pub served: Histogram<u64>,
}

/// What a load is called.
#[derive(Clone, Debug)]
pub struct Title {
    /// The command.
    pub command: &'static str,
    /// What was put under load.
    pub target: &'static str,
    /// Everything that was asked for.
    pub options: Value,
    /// The latency that is good enough (microseconds).
    pub slo_us: Option<u64>,
}

impl Summary {
    /// Of `outcome`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn new(title: &Title, plan: &Plan, outcome: &Outcome) -> Self {
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
            date: hayloft::calendar::rfc3339(outcome.began / 1_000_000_000),
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

    /// Whether every answer was as it should be.
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

fn histograms(outcome: &Outcome) -> Vec<(&'static str, Histogram<u64>)> {
    let total = &outcome.total;
    let kinds = Kind::ALL.iter().map(|kind| kind.name()).zip(total.done.iter().cloned());
    let others = [("missing", total.missing.clone()), ("rejected", total.rejected.clone())];
    kinds.chain(others).collect()
}

fn operations(outcome: &Outcome) -> BTreeMap<&'static str, Operation> {
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
fn schedule(plan: &Plan, outcome: &Outcome) -> Option<Schedule> {
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
