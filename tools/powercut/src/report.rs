//! Table of the trials and their results.

use std::fmt::Write;
use std::time::Duration;

use crate::total::Total;

/// Row of the table.
pub struct Row {
    pub what: String,
    pub total: Total,
    /// Negative control: it must find a loss, to show that losses are detected.
    pub is_control: bool,
    pub took: Duration,
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
    for Row { what, total, is_control, took } in rows {
        let Total { cuts, states, torn, checked, lost, wrong, trouble } = total;
        let lost = if *is_control { format!("{lost} (as must be)") } else { lost.to_string() };
        let seconds = took.as_secs();
        let _ = writeln!(
            text,
            "| {what} | {cuts} | {states} | {torn} | {checked} | {lost} | {wrong} | {trouble} | {seconds} |"
        );
    }
    text
}
