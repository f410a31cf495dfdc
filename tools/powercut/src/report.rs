//! Table of the trials and their results.

use std::fmt::Write;
use std::time::Duration;

use crate::compaction::phase::{Phase, PhaseCounts};
use crate::total::Total;

/// Row of the table.
pub struct Row {
    pub what: String,
    pub total: Total,
    /// Negative control: it must find a loss, to show that losses are detected.
    pub is_control: bool,
    pub took: Duration,
    /// Cuts by the phase of the compactions in which they fell; empty without compactions.
    pub phases: PhaseCounts,
}

impl Row {
    /// Whether the result is as required.
    pub fn is_right(&self) -> bool {
        if self.is_control { self.total.lost > 0 } else { self.total.is_clean() }
    }
}

/// Renders the table in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = "\
| trial | cuts | states | of them torn | acknowledged writes checked | lost | wrong | other | seconds |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"
    .to_owned();
    for Row { what, total, is_control, took, .. } in rows {
        let Total { cuts, states, torn, checked, lost, wrong, trouble, .. } = total;
        let lost = if *is_control { format!("{lost} (as must be)") } else { lost.to_string() };
        let seconds = took.as_secs();
        let _ = writeln!(
            text,
            "| {what} | {cuts} | {states} | {torn} | {checked} | {lost} | {wrong} | {trouble} | {seconds} |"
        );
    }
    text
}

/// Renders in Markdown in which phases of compactions the cuts fell, and what they left; empty without
/// compactions.
pub fn phase_table(rows: &[Row]) -> String {
    if rows.iter().all(|row| row.phases.is_empty()) {
        return String::new();
    }
    let names = Phase::ALL.map(Phase::name).join(" | ");
    let mut text = format!(
        "\nCuts by the phase of the compaction, and states in which a volume had two files:\n\n\
         | trial | {names} | newer file unfinished | both files finished |\n{}|\n",
        "| --- ".repeat(Phase::ALL.len() + 3)
    );
    for Row { what, total, phases, .. } in rows {
        let counts = Phase::ALL.map(|phase| phases.get(&phase).copied().unwrap_or(0).to_string());
        let Total { unfinished, both_finished, .. } = total;
        let counts = counts.join(" | ");
        let _ = writeln!(text, "| {what} | {counts} | {unfinished} | {both_finished} |");
    }
    text
}
