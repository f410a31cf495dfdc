//! The goals, with the measured figure, its confidence interval, and whether it is met.

use std::fmt::Write as _;

use crate::block::{Block, Pair, Record};
use hayloft_bench_stats::{Estimate, estimate};

/// Other system calls per request that count as none: those of other threads of the daemon and of new
/// connections, independent of the load.
const NO_CALLS: f64 = 0.005;

/// Required bound of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A goal for a figure of a workload.
struct Goal {
    figure: &'static str,
    workload: &'static str,
    bound: Bound,
    /// Values of the figure, one per round.
    of: fn(&Record) -> Vec<f64>,
    /// Reason for a missing figure, if the record has one.
    why_none: fn(&Record) -> Option<String>,
}

/// Evaluation of a goal.
#[derive(Clone, Debug, PartialEq)]
pub struct GoalResult {
    /// Name of the figure.
    pub figure: &'static str,
    /// Workload in which it is measured.
    pub workload: &'static str,
    /// Required bound.
    pub goal: String,
    /// Measured value; `None` when it was not measured.
    pub measured: Option<Estimate>,
    /// Reason for a missing value, if known.
    pub why_none: Option<String>,
    /// Whether the median meets the bound; `None` when it was not measured.
    pub is_met: Option<bool>,
}

fn ratio(record: &Record, a: &str, b: &str, of: impl Fn(&Block) -> Option<f64>) -> Vec<f64> {
    record.figures(|pair| Some(of(pair.of(a)?)? / of(pair.of(b)?)?))
}

fn rates(record: &Record, peer: &str) -> Vec<f64> {
    ratio(record, "hayloft", peer, |block| Some(block.rate))
}

fn costs(record: &Record, peer: &str) -> Vec<f64> {
    ratio(record, "hayloft", peer, |block| block.cpu_us)
}

/// Best rate of the device without a server: fio, or the daemon's own ring.
fn raw_rate(pair: &Pair<'_>) -> Option<f64> {
    Some(pair.of("ring")?.rate.max(pair.of("fio")?.rate))
}

fn raw_p50(pair: &Pair<'_>) -> Option<f64> {
    Some(pair.of("ring")?.latency_us.p50.min(pair.of("fio")?.latency_us.p50))
}

fn p99(block: &Block, operation: &str) -> Option<f64> {
    Some(block.operation(operation)?.latency_us.p99)
}

/// Increase of read latency by concurrent writes, relative to that of the device.
fn mix_penalty(pair: &Pair<'_>) -> Option<f64> {
    let ours = p99(pair.of("hayloft 95/5")?, "get")? / p99(pair.of("hayloft reads")?, "get")?;
    let device = pair.of("fio 95/5")?.latency_us.p99 / pair.of("fio reads")?.latency_us.p99;
    Some(ours / device)
}

/// Flushes per durable PUT; `None` without any. Stacked devices (device mapper, md, multipath NVMe) pass
/// flushes on without counting them.
fn counted_flushes(block: &Block) -> Option<f64> {
    block.flushes().filter(|flushes| *flushes > 0.0)
}

fn other_calls(record: &Record) -> Vec<f64> {
    record.traced.get("hayloft").map(|traced| traced.others).into_iter().collect()
}

const fn goal(
    figure: &'static str,
    workload: &'static str,
    bound: Bound,
    of: fn(&Record) -> Vec<f64>,
) -> Goal {
    Goal { figure, workload, bound, of, why_none: |_| None }
}

/// A goal with a function that gives the reason for a missing figure.
const fn explained(goal: Goal, why_none: fn(&Record) -> Option<String>) -> Goal {
    Goal { why_none, ..goal }
}

const GOALS: &[Goal] = &[
    goal(
        "64 KiB GET, 32 connections: share of raw reads",
        "get-64k-32",
        Bound::AtLeast(0.95),
        |r| r.figures(|pair| Some(pair.of("hayloft")?.rate / raw_rate(pair)?)),
    ),
    goal(
        "64 KiB GET, one at a time: p50 / (raw p50 + the same reply from memory)",
        "get-64k-1",
        Bound::AtMost(1.05),
        |r| {
            r.figures(|pair| {
                let apart = raw_p50(pair)? + pair.of("null")?.latency_us.p50;
                Some(pair.of("hayloft")?.latency_us.p50 / apart)
            })
        },
    ),
    goal("8 KiB GET, 32 connections: rate / nginx", "get-8k-32", Bound::AtLeast(1.8), |r| {
        rates(r, "nginx")
    }),
    goal("8 KiB GET, 128 connections: rate / nginx", "get-8k-128", Bound::AtLeast(2.3), |r| {
        rates(r, "nginx")
    }),
    goal("8 KiB GET, 32 connections: rate / SeaweedFS", "get-8k-32", Bound::AtLeast(4.5), |r| {
        rates(r, "seaweedfs")
    }),
    goal("8 KiB GET: server CPU / nginx", "get-8k-32", Bound::AtMost(0.33), |r| costs(r, "nginx")),
    goal("8 KiB GET: server CPU / SeaweedFS", "get-8k-32", Bound::AtMost(0.16), |r| {
        costs(r, "seaweedfs")
    }),
    goal("64 KiB GET: server CPU / nginx", "get-64k-32", Bound::AtMost(0.5), |r| costs(r, "nginx")),
    goal("64 KiB GET: server CPU / SeaweedFS", "get-64k-32", Bound::AtMost(0.16), |r| {
        costs(r, "seaweedfs")
    }),
    goal("device reads per GET, found", "get-8k-32", Bound::AtMost(1.001), |r| {
        r.of_entry("hayloft", Block::reads)
    }),
    goal("device reads per GET, missing", "missing", Bound::AtMost(0.001), |r| {
        r.of_entry("hayloft", Block::reads)
    }),
    goal("io_uring_enter per GET, 64 connections", "get-8k-64", Bound::AtMost(0.15), |r| {
        r.of_entry("hayloft", Block::enters)
    }),
    explained(
        goal(
            "other system calls per GET (none)",
            "get-8k-64",
            Bound::AtMost(NO_CALLS),
            other_calls,
        ),
        |r| r.untraced.get("hayloft").cloned(),
    ),
    goal(
        "durable 8 KiB PUT: rate / SeaweedFS without fsync",
        "put-8k-32",
        Bound::AtLeast(2.0),
        |r| rates(r, "seaweedfs"),
    ),
    goal(
        "durable 8 KiB PUT, `prealloc = \"zeroed\"`: rate / SeaweedFS without fsync",
        "put-8k-32",
        Bound::AtLeast(2.0),
        |r| ratio(r, "hayloft zeroed", "seaweedfs", |block| Some(block.rate)),
    ),
    goal("durable 8 KiB PUT: p99 (ms)", "put-8k-32", Bound::AtMost(20.0), |r| {
        r.of_entry("hayloft", |block| Some(p99(block, "put")? / 1e3))
    }),
    explained(
        goal("device flushes per PUT, 64 connections", "put-8k-64", Bound::AtMost(0.125), |r| {
            r.of_entry("hayloft", counted_flushes)
        }),
        |r| {
            let was_measured = !r.of_entry("hayloft", Block::flushes).is_empty();
            was_measured.then(|| "not counted: the device reported no flushes".to_owned())
        },
    ),
    goal("64 KiB PUT: bytes written / bytes of bodies", "put-64k-64", Bound::AtMost(1.03), |r| {
        r.of_entry("hayloft", Block::write_amplification)
    }),
    goal(
        "GET p99 with 5 % PUTs / without: what it is of the same ratio of fio",
        "mix-95-5",
        Bound::AtMost(1.2),
        |r| r.figures(mix_penalty),
    ),
    goal("2x overload, 64 KiB: goodput / peak", "overload", Bound::AtLeast(0.95), |r| {
        ratio(r, "2x", "peak", |block| Some(block.rate))
    }),
    goal("2x overload: refusals answered in (p99, ms)", "overload", Bound::AtMost(1.0), |r| {
        r.of_entry("2x", |block| Some(p99(block, "rejected")? / 1e3))
    }),
    goal("2 shards, own port: server CPU / 1 shard", "shards", Bound::AtMost(1.05), |r| {
        ratio(r, "2, own port", "1 shard", |block| block.cpu_us)
    }),
    goal("2 shards, any port: server CPU / 1 shard", "shards", Bound::AtMost(1.25), |r| {
        ratio(r, "2, any port", "1 shard", |block| block.cpu_us)
    }),
    goal(
        "2 shards, own port, 64 connections each: server CPU / 1 shard",
        "shards",
        Bound::AtMost(1.05),
        |r| ratio(r, "2, own port, 64 each", "1 shard", |block| block.cpu_us),
    ),
    goal(
        "2 shards, any port, 64 connections each: server CPU / 1 shard",
        "shards",
        Bound::AtMost(1.25),
        |r| ratio(r, "2, any port, 64 each", "1 shard", |block| block.cpu_us),
    ),
    goal("8 KiB GET: server CPU / tokio-uring", "get-8k-64", Bound::AtMost(0.6), |r| {
        costs(r, "baseline")
    }),
    goal("64 KiB GET: server CPU / tokio-uring", "get-64k-32", Bound::AtMost(0.6), |r| {
        costs(r, "baseline")
    }),
];

impl Goal {
    fn judge(&self, records: &[Record]) -> GoalResult {
        let record = records.iter().find(|record| record.workload == self.workload);
        let measured = record.and_then(|record| estimate(&(self.of)(record)));
        let (goal, limit) = match self.bound {
            Bound::AtLeast(limit) => (format!(">= {limit}"), limit),
            Bound::AtMost(limit) => (format!("<= {limit}"), limit),
        };
        let is_met = measured.map(|estimate| match self.bound {
            Bound::AtLeast(_) => estimate.median >= limit,
            Bound::AtMost(_) => estimate.median <= limit,
        });
        let why_none = record.filter(|_| measured.is_none()).and_then(self.why_none);
        GoalResult {
            figure: self.figure,
            workload: self.workload,
            goal,
            measured,
            why_none,
            is_met,
        }
    }
}

/// Evaluates every goal.
pub fn judge(records: &[Record]) -> Vec<GoalResult> {
    GOALS.iter().map(|goal| goal.judge(records)).collect()
}

/// Formats a figure with the significant digits.
pub fn format_figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.3}"),
        0.0 => "0".to_owned(),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

/// Converts text to one line that fits into a table cell.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Renders the table of goals, followed by those that are not measured by a run.
pub fn table(verdicts: &[GoalResult]) -> String {
    let mut text = String::from(
        "| figure | goal | measured (95 % interval) | pairs | |\n| --- | --- | --- | --- | --- |\n",
    );
    for GoalResult { figure, workload, goal, measured, why_none, is_met } in verdicts {
        let (figures, pairs) = match measured {
            Some(Estimate { median, low, high, count }) => (
                format!(
                    "{} ({} to {})",
                    format_figure(*median),
                    format_figure(*low),
                    format_figure(*high)
                ),
                count.to_string(),
            ),
            None => {
                let why = why_none.as_deref().map(|why| format!(": {}", one_line(why)));
                let why = why.unwrap_or_default();
                (format!("not measured (`{workload}`){why}"), "0".to_owned())
            }
        };
        let mark = match is_met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "",
        };
        writeln!(text, "| {figure} | {goal} | {figures} | {pairs} | {mark} |")
            .expect("writing to a string cannot fail");
    }
    text + "\nThat a GET allocates nothing is not measured here but asserted by \
            `tests/allocations.rs`.\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Traced;
    use crate::block::examples::{block, record};
    use crate::workload::WORKLOADS;

    fn verdict(records: &[Record], figure: &str) -> GoalResult {
        judge(records).into_iter().find(|verdict| verdict.figure.starts_with(figure)).unwrap()
    }

    #[test]
    fn every_goal_names_an_existing_workload() {
        for goal in GOALS {
            let known = WORKLOADS.iter().any(|workload| workload.name == goal.workload);
            assert!(known, "{}", goal.workload);
        }
    }

    /// A goal for an entry that its workload does not have would never be measured.
    #[test]
    fn every_goal_is_measured_when_its_workload_was() {
        use crate::loadgen::{Latency, Operation};
        let operation = Operation {
            count: 10,
            ok: 10,
            latency_us: Latency { p99: 500.0, ..Latency::default() },
        };
        let records: Vec<Record> = WORKLOADS
            .iter()
            .map(|workload| {
                let blocks = workload.entries.iter().map(|entry| {
                    let mut block = block(entry.name, 0, 1000.0);
                    for name in ["get", "put", "rejected"] {
                        block.operations.insert(name.to_owned(), operation);
                    }
                    let (enters, device_reads, flushes, commit_bytes) = (9.0, 8.0, 7.0, 6.0);
                    block.daemon =
                        Some(crate::block::Daemon { enters, device_reads, flushes, commit_bytes });
                    block.device.flushes = 1;
                    block
                });
                let mut record = record(workload.name, blocks.collect());
                record.traced.insert("hayloft".to_owned(), Traced { enters: 0.1, others: 0.001 });
                record
            })
            .collect();
        for verdict in judge(&records) {
            assert!(verdict.measured.is_some(), "{verdict:?}");
        }
    }

    #[test]
    fn the_better_raw_read_rate_is_the_reference() {
        let blocks = vec![
            block("hayloft", 0, 95.0),
            block("ring", 0, 90.0),
            block("fio", 0, 100.0),
            block("hayloft", 1, 90.0),
            block("ring", 1, 100.0),
            block("fio", 1, 80.0),
        ];
        let verdict = verdict(&[record("get-64k-32", blocks)], "64 KiB GET, 32 connections");
        let measured = verdict.measured.unwrap();
        assert!((measured.median - 0.925).abs() < 1e-9, "{measured:?}");
        assert_eq!((measured.count, verdict.is_met), (2, Some(false)));
    }

    #[test]
    fn a_goal_is_met_at_its_bound_and_missing_figures_are_reported() {
        let blocks = vec![block("hayloft", 0, 180.0), block("nginx", 0, 100.0)];
        let records = [record("get-8k-32", blocks)];
        assert_eq!(verdict(&records, "8 KiB GET, 32 connections: rate / nginx").is_met, Some(true));
        assert_eq!(verdict(&records, "8 KiB GET, 32 connections: rate / SeaweedFS").is_met, None);
        let text = table(&judge(&records));
        assert!(text.contains("| 1.800 (1.800 to 1.800) | 1 | met |"), "{text}");
        assert!(text.contains("not measured (`overload`)"), "{text}");
    }

    #[test]
    fn uncounted_system_calls_are_reported_with_the_reason() {
        let mut record = record("get-8k-64", vec![block("hayloft", 0, 180.0)]);
        record
            .untraced
            .insert("hayloft".to_owned(), "`strace` failed:\nnot | permitted".to_owned());
        let verdict = verdict(std::slice::from_ref(&record), "other system calls");
        assert_eq!((verdict.is_met, verdict.measured), (None, None));
        let text = table(&judge(&[record]));
        let messages = "not measured (`get-8k-64`): `strace` failed: not \\| permitted | 0 |  |";
        assert!(text.contains(messages), "{text}");
    }

    #[test]
    fn durable_writes_without_flushes_mean_uncounted_flushes() {
        let mut with = block("hayloft", 0, 1000.0);
        with.device.flushes = 200;
        let figure = |blocks| verdict(&[record("put-8k-64", blocks)], "device flushes per PUT");
        let counted = figure(vec![with]);
        assert_eq!((counted.is_met, counted.why_none), (Some(true), None));
        let none = figure(vec![block("hayloft", 0, 1000.0)]);
        assert_eq!((none.is_met, none.measured), (None, None));
        assert!(none.why_none.unwrap().contains("not counted"));
    }

    #[test]
    fn figures_are_formatted_with_significant_digits() {
        let format_figure: Vec<_> =
            [1234.5, 12.34, 1.234, 0.1234, 0.00012, 0.0].map(format_figure).into();
        assert_eq!(format_figure, ["1234", "12.3", "1.234", "0.123", "0.00012", "0"]);
    }
}
