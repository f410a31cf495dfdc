//! Results of a part.

use std::fmt::Write as _;

use hayloft_bench_stats::Estimate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether a figure is as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The goal is met.
    Met,
    /// The goal is not met.
    Missed,
    /// There is no goal.
    Shown,
}

/// A figure with its goal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The goal; empty if there is none.
    pub goal: String,
    /// The measured value, with its unit.
    pub value: String,
    /// Whether the goal is met.
    pub verdict: Verdict,
}

/// Results of a part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// How it was measured, as Markdown.
    pub method: String,
    /// The figures.
    pub figures: Vec<Figure>,
    /// What was measured in each round.
    pub rounds: Vec<Value>,
}

impl Outcome {
    /// Creates the results of a part that is measured this way.
    #[must_use]
    pub fn measured(method: String) -> Self {
        Self { method, ..Self::default() }
    }

    /// Adds a figure that must be at most `most`, with `digits` decimals and a unit.
    pub fn at_most(
        &mut self,
        what: &str,
        (value, most): (f64, f64),
        (digits, unit): (usize, &str),
    ) {
        let verdict = if value <= most { Verdict::Met } else { Verdict::Missed };
        self.add(Figure {
            what: what.to_owned(),
            goal: format!("<= {most:.digits$}{unit}"),
            value: format!("{value:.digits$}{unit}"),
            verdict,
        });
    }

    /// Adds a ratio, whose median must be at most `most`.
    pub fn ratio_at_most(&mut self, what: &str, ratio: &Estimate, most: f64) {
        let verdict = if ratio.median <= most { Verdict::Met } else { Verdict::Missed };
        let goal = format!("<= {most:.2}");
        self.add(Figure { what: what.to_owned(), goal, value: interval(ratio), verdict });
    }

    /// Adds a ratio, whose median must be at least `least`.
    pub fn ratio_at_least(&mut self, what: &str, ratio: &Estimate, least: f64) {
        let verdict = if ratio.median >= least { Verdict::Met } else { Verdict::Missed };
        let goal = format!(">= {least:.2}");
        self.add(Figure { what: what.to_owned(), goal, value: interval(ratio), verdict });
    }

    /// Adds a figure without a goal.
    pub fn show(&mut self, what: &str, value: String) {
        let verdict = Verdict::Shown;
        self.add(Figure { what: what.to_owned(), goal: String::new(), value, verdict });
    }

    /// Adds a figure.
    pub fn add(&mut self, figure: Figure) {
        eprintln!("{}", line(&figure));
        self.figures.push(figure);
    }

    /// Formats the figures as a table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from("| figure | goal | measured | |\n| --- | --- | --- | --- |\n");
        for Figure { what, goal, value, verdict } in &self.figures {
            let met = match verdict {
                Verdict::Met => "met",
                Verdict::Missed => "**not met**",
                Verdict::Shown => "",
            };
            let _ = writeln!(text, "| {what} | {goal} | {value} | {met} |");
        }
        text
    }
}

fn interval(ratio: &Estimate) -> String {
    let Estimate { median, low, high, count } = ratio;
    format!("{median:.2} ({low:.2} to {high:.2}; {count} pairs)")
}

/// Formats a figure as a line.
#[must_use]
pub fn line(figure: &Figure) -> String {
    let Figure { what, goal, value, verdict } = figure;
    match verdict {
        Verdict::Met => format!("  {what}: {value}, goal {goal}: met"),
        Verdict::Missed => format!("  {what}: {value}, goal {goal}: NOT MET"),
        Verdict::Shown => format!("  {what}: {value}"),
    }
}

#[cfg(test)]
mod tests {
    use hayloft_bench_stats::estimate;

    use super::*;

    #[test]
    fn goals_are_judged_by_the_median() {
        let mut outcome = Outcome::measured("m".to_owned());
        let ratio = estimate(&[1.0, 1.2, 9.0]).unwrap();
        outcome.ratio_at_most("a", &ratio, 1.3);
        outcome.ratio_at_most("b", &ratio, 1.1);
        outcome.ratio_at_least("c", &ratio, 1.2);
        outcome.at_most("d", (1.06, 1.05), (2, "x"));
        outcome.show("e", "7".to_owned());
        let verdicts = outcome.figures.iter().map(|figure| figure.verdict);
        let wanted = [Verdict::Met, Verdict::Missed, Verdict::Met, Verdict::Missed, Verdict::Shown];
        assert_eq!(verdicts.collect::<Vec<_>>(), wanted);
        assert!(outcome.table().contains("| d | <= 1.05x | 1.06x | **not met** |"));
    }
}
