//! Effect of slow, stalled and disconnecting clients on others: runs `tests/hostile.rs` with the release
//! build, and records medians over its rounds. The clients run on the same cores as the daemon, so part of
//! each ratio is their own work.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::process::{Failed, printed_by, run};
use crate::project::{cargo, printed};
use crate::record::Record;

const ROUNDS: usize = 3;
const COMMAND: &str = "cargo xtask hostile";

/// Figures in a line of the test about one kind of client.
#[derive(Clone, Debug, PartialEq)]
struct Figures {
    clients: String,
    shards: String,
    gone_after: Option<String>,
    /// 99th percentile of healthy reads without and with such clients.
    p99: [String; 2],
    ratio: f64,
    /// Resident memory, and its limit (MiB).
    memory: Option<[String; 2]>,
}

/// Text between two markers.
fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(before)?;
    Some(if after.is_empty() { rest } else { rest.split_once(after)?.0 })
}

impl Figures {
    /// Parses `resets, 2 shards: p99 1ms without them, 2ms with them, ratio 2.00` and the like.
    fn parse(line: &str) -> Option<Self> {
        let (head, _) = line.split_once(" shards: ")?;
        let (clients, shards) = head.rsplit_once(", ")?;
        let ratio = between(line, "ratio ", "")?.split(';').next()?.trim().parse().ok()?;
        let without = between(line, "p99 ", " without them")?;
        let without = without.strip_prefix("of healthy reads ").unwrap_or(without);
        let with = between(line, "without them, ", " with them")?;
        let memory = || {
            let resident = between(line, "; ", " MiB resident of ")?;
            let resident = resident.rsplit_once("; ").map_or(resident, |(_, last)| last);
            let bound = between(line, " MiB resident of ", "")?.trim();
            Some([resident.to_owned(), bound.to_owned()])
        };
        Some(Self {
            clients: clients.to_owned(),
            shards: shards.to_owned(),
            gone_after: between(line, "gone after ", ";").map(str::to_owned),
            p99: [without.to_owned(), with.to_owned()],
            ratio,
            memory: memory(),
        })
    }
}

/// Median (the upper one of an even number) and maximum of the ratios.
fn median_and_worst(figures: &[Figures]) -> (f64, f64) {
    let mut ratios: Vec<f64> = figures.iter().map(|figures| figures.ratio).collect();
    ratios.sort_by(f64::total_cmp);
    (ratios[ratios.len() / 2], ratios[ratios.len() - 1])
}

fn table(lines: &[String]) -> String {
    let mut rows: BTreeMap<(String, String), Vec<Figures>> = BTreeMap::new();
    for figures in lines.iter().filter_map(|line| Figures::parse(line)) {
        rows.entry((figures.clients.clone(), figures.shards.clone())).or_default().push(figures);
    }
    let mut text =
        "| clients | shards | gone after | p99 without, with them (last round) | ratio (median, \
                    worst) | MiB resident, bound |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for ((clients, shards), rounds) in &rows {
        let (median, worst) = median_and_worst(rounds);
        let last = &rounds[rounds.len() - 1];
        let _ = writeln!(
            text,
            "| {clients} | {shards} | {} | {}, {} | {median:.2}, {worst:.2} | {} |",
            last.gone_after.as_deref().unwrap_or("-"),
            last.p99[0],
            last.p99[1],
            last.memory.as_ref().map_or("-".to_owned(), |memory| memory.join(" of ")),
        );
    }
    text
}

/// Runs the test and records the figures.
///
/// # Errors
/// When the test fails.
pub fn hostile() -> Result<(), Failed> {
    let test = ["test", "--release", "--locked", "--test", "hostile"];
    run(cargo(&test).arg("--no-run"))?;
    let mut lines = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = cargo(&test);
        round.args(["--quiet", "--", "--nocapture", "--test-threads=1"]);
        let output = printed_by(round.env("HAYLOFT_HOSTILE", "all"))?;
        let figures = output.lines().filter(|line| line.contains(" shards: "));
        let figures: Vec<String> = figures
            .map(|line| printed(line.rsplit_once("... ").map_or(line, |(_, last)| last)))
            .collect();
        figures.iter().for_each(|line| println!("{line}"));
        lines.extend(figures);
    }
    let mut text = format!(
        "{ROUNDS} rounds. Meanwhile eight healthy connections read (and some write) 8 KiB photos; all of \
         them are served.\n\n{}\n",
        table(&lines)
    );
    let large: Vec<&String> = lines.iter().filter(|line| line.contains("uploads and")).collect();
    for line in large.iter().skip(large.len().saturating_sub(2)) {
        let _ = writeln!(text, "- {line}");
    }
    print!("{text}");
    Record { name: "hostile", title: "Hostile clients", command: COMMAND, text: &text }.keep()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: &str = "5,000 half-sent heads, 1 shards: gone after 6.1s; p99 of healthy reads 751.6us \
                         without them, 1.3ms with them, ratio 1.53; 96 MiB resident of 112";
    const RESETS: &str = "resets, 2 shards: p99 744.6us without them, 1.3ms with them, ratio 1.94";

    #[test]
    fn lines_of_the_test_are_aggregated_to_rows() {
        let again = HEADS.replace("1.53", "1.80").replace("6.1s", "6.2s");
        let lines = [HEADS, RESETS, &again, "64 uploads and 64 downloads, 1 shards: 73 MiB"];
        let table = table(&lines.map(str::to_owned));
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| 5,000 half-sent heads | 1 | 6.2s | 751.6us, 1.3ms | 1.80, 1.80 | 96 of 112 |",
                "| resets | 2 | - | 744.6us, 1.3ms | 1.94, 1.94 | - |",
            ]
        );
    }
}
