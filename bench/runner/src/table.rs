//! All figures in Markdown, with a table per workload.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use hayloft::base::size::ByteSize;

use crate::block::{Block, Failure, Record};
use crate::error::{Error, file};
use crate::goals::{self, format_figure, one_line};
use crate::machine::BUSY_MAX;
use crate::workload::WORKLOADS;
use hayloft_bench_stats::{estimate, median};

/// Minimum number of rounds for publication; fewer are a trial run.
pub const PUBLISHED_PAIRS: usize = 9;

/// Column of a table: heading, and the figure of a block.
type Column = (&'static str, fn(&Block) -> Option<f64>);

const COLUMNS: &[Column] = &[
    ("requests/s", |block| Some(block.rate)),
    ("MB/s", |block| Some(block.bytes_per_second / 1e6)),
    ("p50 us", |block| Some(block.latency_us.p50)),
    ("p99 us", |block| Some(block.latency_us.p99)),
    ("p99.9 us", |block| Some(block.latency_us.p99_9)),
    ("CPU us/request", |block| block.cpu_us),
    ("generator's CPU us/request", |block| block.client_cpu_us),
    ("device reads/request", Block::reads),
    ("device KiB read/request", |block| block.read_bytes().map(|bytes| bytes / 1024.0)),
    ("flushes/request", Block::flushes),
    ("io_uring_enter/request", Block::enters),
    ("RSS MiB", |block| block.rss_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))),
];

fn cell(record: &Record, entry: &str, of: impl Fn(&Block) -> Option<f64>) -> String {
    median(&record.of_entry(entry, of)).map_or_else(|| "-".to_owned(), format_figure)
}

/// Ratio of the first entry's rate to that of another entry.
fn ratio(record: &Record, first: &str, entry: &str) -> String {
    let ratios = record.figures(|pair| Some(pair.of(first)?.rate / pair.of(entry)?.rate));
    match estimate(&ratios) {
        Some(found) if first != entry => {
            format!(
                "{} ({} to {})",
                format_figure(found.median),
                format_figure(found.low),
                format_figure(found.high)
            )
        }
        _ => "-".to_owned(),
    }
}

/// Machine, commit and conditions of a record.
fn origin(record: &Record) -> String {
    let machine = &record.machine;
    let memory = match record.memory_limit {
        Some(limit) => format!("each server may use {}", ByteSize(limit)),
        None => "servers may use all memory".to_owned(),
    };
    let disturbed = record.blocks.iter().filter(|block| block.busy_before > BUSY_MAX).count();
    let mut text = format!(
        "{}, {} pairs, {} cores ({}), Linux {}, device {}; {} in every server, {memory}.",
        machine.commit,
        record.pairs(),
        machine.cores,
        machine.processor,
        machine.kernel,
        record.device,
        ByteSize(record.data_bytes)
    );
    let stolen: Vec<f64> = record.blocks.iter().map(|block| block.stolen * 100.0).collect();
    let most = stolen.iter().copied().fold(0.0, f64::max);
    if most > 0.0 {
        let usual = format_figure(median(&stolen).unwrap_or(0.0));
        write!(
            text,
            " The host took {usual} % of the time of their cores (at most {}).",
            format_figure(most)
        )
        .expect("writing to a string cannot fail");
    }
    let again = record.blocks.iter().filter(|block| block.attempts > 1).count();
    if again > 0 {
        write!(text, " {again} of {} blocks were measured again for that.", record.blocks.len())
            .expect("writing to a string cannot fail");
    }
    let schedules = || record.blocks.iter().filter_map(|block| block.schedule);
    let late = schedules().filter(|schedule| !schedule.kept).count();
    if late > 0 {
        let all = schedules().count();
        write!(text, " In {late} of {all} open loops the generator did not keep its schedule.")
            .expect("writing to a string cannot fail");
    }
    if record.pairs() < PUBLISHED_PAIRS {
        write!(text, " **Fewer than {PUBLISHED_PAIRS} pairs: a trial run, not for publication.**")
            .expect("writing to a string cannot fail");
    }
    if disturbed > 0 {
        write!(
            text,
            " Before {disturbed} of {} blocks the machine was not quiet.",
            record.blocks.len()
        )
        .expect("writing to a string cannot fail");
    }
    text
}

fn of_workload(record: &Record) -> String {
    let known = WORKLOADS.iter().find(|workload| workload.name == record.workload);
    let Some(workload) = known else { return String::new() };
    let mut text = format!("\n## {}\n\n{}. {}\n\n|", workload.name, workload.what, origin(record));
    let first = workload.entries[0].name;
    let used: Vec<&Column> = COLUMNS
        .iter()
        .filter(|(_, of)| {
            let any = |block: &Block| of(block).is_some_and(|figure| figure > 0.0);
            record.blocks.iter().any(any)
        })
        .collect();
    let headings = used.iter().map(|(heading, _)| format!(" {heading} |"));
    let headings: String = headings.collect();
    writeln!(text, " |{headings} {first} / it |").expect("writing to a string cannot fail");
    writeln!(text, "|{}", " --- |".repeat(used.len() + 2))
        .expect("writing to a string cannot fail");
    for entry in workload.entries {
        let cells = used.iter().map(|(_, of)| format!(" {} |", cell(record, entry.name, of)));
        let cells: String = cells.collect();
        writeln!(text, "| {} |{cells} {} |", entry.name, ratio(record, first, entry.name))
            .expect("writing to a string cannot fail");
    }
    for (entry, traced) in &record.traced {
        let (enters, others) = (format_figure(traced.enters), format_figure(traced.others));
        writeln!(
            text,
            "\nUnder strace, {entry}: {enters} io_uring_enter and {others} other system calls per request."
        )
        .expect("writing to a string cannot fail");
    }
    for (entry, why) in &record.untraced {
        writeln!(text, "\nSystem calls of {entry} were not counted: {}", one_line(why))
            .expect("writing to a string cannot fail");
    }
    for Failure { entry, pair, why } in &record.failures {
        writeln!(text, "\n**{entry} failed in round {pair}:** {}", one_line(why))
            .expect("writing to a string cannot fail");
    }
    write!(text, "\n![{0}]({0}.svg)\n", workload.name).expect("writing to a string cannot fail");
    text
}

/// Distinct values of a property of the records, joined.
pub fn all<'a>(records: &'a [Record], of: fn(&'a Record) -> &'a str) -> String {
    let found: BTreeSet<&str> = records.iter().map(of).collect();
    found.into_iter().collect::<Vec<_>>().join(", ")
}

/// Writes the document beside the records.
///
/// # Errors
/// When it cannot be written.
pub fn write(dir: &Path, records: &[Record]) -> Result<(), Error> {
    let path = dir.join("table.md");
    std::fs::write(&path, document(records)).map_err(file("write", &path))
}

/// Renders the document.
fn document(records: &[Record]) -> String {
    let mut text = String::from("# Hayloft, the device and the peers\n\n");
    if let Some(newest) = records.iter().max_by_key(|record| &record.machine.date) {
        let days = all(records, |record| &record.machine.date);
        writeln!(text, "`{}`, {days}.", newest.command).expect("writing to a string cannot fail");
    }
    text += "Medians of all rounds; ratios are medians of those of each round, with the 95 % interval of a \
             bootstrap.\n`bench/README.md` explains the figures.\n\n## Goals\n\n";
    text += &goals::table(&goals::judge(records));
    text + &records.iter().map(of_workload).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Traced;
    use crate::block::examples::{block, record};
    use crate::loadgen::Schedule;

    #[test]
    fn a_workload_has_a_row_for_each_entry_and_ratios_to_the_first() {
        let blocks = [("hayloft", 300.0), ("nginx", 100.0), ("baseline", 150.0)];
        let blocks = blocks.map(|(name, rate)| block(name, 0, rate)).to_vec();
        let mut record = record("get-8k-64", blocks);
        record.traced.insert("nginx".to_owned(), Traced { enters: 0.0, others: 5.25 });
        let text = document(&[record]);
        assert!(text.contains("| hayloft | 300 | 2.458 | 90.0 | 200 | 300 |"), "{text}");
        assert!(text.contains("| 3.000 (3.000 to 3.000) |"), "{text}");
        assert!(text.contains("| CPU us/request | generator's CPU us/request |"), "{text}");
        assert!(text.contains("| 300 | 3333 | 5.000 |"), "{text}");
        assert!(text.contains("nginx: 0 io_uring_enter and 5.250 other system calls"), "{text}");
        assert!(!text.contains("flushes/request"), "a column without figures:\n{text}");
        assert!(text.contains("a trial run, not for publication"), "{text}");
        assert!(text.contains("each server may use 1GiB"), "{text}");
    }

    #[test]
    fn failures_are_listed_and_do_not_count_as_pairs() {
        let blocks = [("hayloft", 0), ("nginx", 0), ("hayloft", 1)];
        let blocks = blocks.map(|(name, pair)| block(name, pair, 10.0)).to_vec();
        let mut record = record("get-8k-64", blocks);
        let (entry, why) = ("nginx".to_owned(), "status 500\nof object 7".to_owned());
        record.failures.push(Failure { entry: entry.clone(), pair: 1, why });
        record.untraced.insert(entry, "not permitted".to_owned());
        let text = document(&[record]);
        assert!(text.contains("**nginx failed in round 1:** status 500 of object 7\n"), "{text}");
        assert!(text.contains("System calls of nginx were not counted: not permitted\n"), "{text}");
        assert!(text.contains("abc1234, 1 pairs"), "{text}");
    }

    #[test]
    fn disturbances_are_listed() {
        let mut disturbed = block("hayloft", 0, 10.0);
        disturbed.busy_before = 0.7;
        disturbed.stolen = 0.25;
        disturbed.attempts = 3;
        disturbed.schedule = Some(Schedule { intended: 20, kept: false });
        let text = document(&[record("get-8k-1", vec![disturbed, block("nginx", 0, 5.0)])]);
        assert!(text.contains("Before 1 of 2 blocks the machine was not quiet"), "{text}");
        assert!(
            text.contains("The host took 12.5 % of the time of their cores (at most 25.0)"),
            "{text}"
        );
        assert!(text.contains("1 of 2 blocks were measured again"), "{text}");
        assert!(text.contains("In 1 of 1 open loops the generator did not keep"), "{text}");
    }
}
