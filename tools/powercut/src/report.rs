//! The table of what was tried and what came of it.

use std::fmt::Write;
use std::time::Duration;

use crate::cuts::Total;

/// A line of it.
pub struct Row {
    pub what: String,
    pub total: Total,
    /// It must find something lost: it shows that a loss would be seen.
    pub is_control: bool,
    pub took: Duration,
}

impl Row {
    /// Whether it is as it must be.
    pub fn is_right(&self) -> bool {
        if self.is_control { self.total.lost > 0 } else { self.total.is_clean() }
    }
}

/// All of it, in Markdown.
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
