//! Two builds of the daemon, measured in turns: the ratios of their figures.

use std::fmt::Write as _;
use std::fs;

use hayloft_bench_stats::estimate;

use crate::bench;
use crate::block::{Block, Record};
use crate::error::{Error, file};
use crate::goals::format_figure;
use crate::plan::Plan;
use crate::workload::OTHER_BUILD;

/// Figures that are compared: heading, and the figure of a block.
type Column = (&'static str, fn(&Block) -> Option<f64>);

const COLUMNS: [Column; 5] = [
    ("rate", |block| Some(block.rate)),
    ("p50", |block| Some(block.latency_us.p50)),
    ("p99", |block| Some(block.latency_us.p99)),
    ("CPU per request", |block| block.cpu_us),
    ("io_uring_enter per request", Block::enters),
];

/// Writes the ratios of all records of a measurement to `against.md` beside them, and prints them.
///
/// # Errors
/// When a record cannot be read, or the table cannot be written.
pub fn report(plan: &Plan) -> Result<(), Error> {
    fs::create_dir_all(&plan.out).map_err(file("create", &plan.out))?;
    let text = table(&bench::read(&plan.out)?);
    let path = plan.out.join("against.md");
    fs::write(&path, &text).map_err(file("write", &path))?;
    println!("\n{text}\nrecorded in {}", plan.out.display());
    Ok(())
}

fn table(records: &[Record]) -> String {
    let mut text =
        String::from("# This build / another build\n\nMedians of the ratios of blocks that ");
    text += "were measured in turns, with their 95 % intervals.\n\n| workload |";
    for (heading, _) in COLUMNS {
        let _ = write!(text, " {heading} |");
    }
    text += " pairs |\n| --- |";
    text += &" --- |".repeat(COLUMNS.len() + 1);
    text.push('\n');
    for record in records {
        let _ = write!(text, "| {} |", record.workload);
        for (_, of) in COLUMNS {
            let _ = write!(text, " {} |", ratio(record, of));
        }
        let _ = writeln!(text, " {} |", record.pairs());
    }
    if let Some(record) = records.first() {
        let machine = &record.machine;
        let _ = writeln!(
            text,
            "\n{} cores ({}), Linux {}, commit {}: `{}`.",
            machine.cores, machine.processor, machine.kernel, machine.commit, record.command
        );
    }
    text
}

/// Ratio of a figure of this build to that of the other.
fn ratio(record: &Record, of: fn(&Block) -> Option<f64>) -> String {
    let own = record.blocks.iter().map(|block| block.entry.as_str()).find(|it| *it != OTHER_BUILD);
    let ratios = own.map_or_else(Vec::new, |own| {
        record.figures(|pair| Some(of(pair.of(own)?)? / of(pair.of(OTHER_BUILD)?)?))
    });
    estimate(&ratios).map_or_else(
        || "-".to_owned(),
        |found| {
            let [median, low, high] = [found.median, found.low, found.high].map(format_figure);
            format!("{median} ({low} to {high})")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::examples::{block, record};

    #[test]
    fn ratios_are_those_of_this_build_to_the_other() {
        let blocks = (0..3)
            .flat_map(|pair| [block("hayloft", pair, 110.0), block(OTHER_BUILD, pair, 100.0)]);
        let record = record("get-8k-64", blocks.collect());
        assert!(ratio(&record, |block| Some(block.rate)).starts_with("1.100 ("));
        assert_eq!(ratio(&record, |_| None), "-");
        let text = table(&[record]);
        assert!(text.contains("| get-8k-64 | 1.100 ("), "{text}");
        assert!(text.contains(" 3 |\n"), "{text}");
    }
}
