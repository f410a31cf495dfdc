//! Generates `docs/METRICS.md` from the table of metrics.

use std::fmt::Write;

use super::table::TABLE;

const INTRODUCTION: &str = "\
# Metrics

`GET /metrics` on the admin listener answers Prometheus text 0.0.4, or OpenMetrics 1.0.0 on request
(`Accept: application/openmetrics-text`, as Prometheus does). This page is made from the table in
`src/node/metrics/table.rs`; a test holds the two together. To renew it:
`HAYLOFT_BLESS=1 cargo test --lib metrics_reference`.

Counters end in `_total` and start at 0 with the daemon. A histogram has the samples `_bucket` (label
`le`, in seconds), `_sum` and `_count`. `shard` and `disk` are positions, from 0; `volume` is the id in
the URL. Metrics of a volume carry only its id: join with `hayloft_volume_info` for the rest, as in
`sum by (disk) (hayloft_volume_live_bytes * on (volume) group_left (disk) hayloft_volume_info)`.
The numbers are read while the shards run: two of them may be apart by what happened in between.

| name | type | labels | meaning |
| --- | --- | --- | --- |
";

/// The text of `docs/METRICS.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for row in TABLE {
        let name = row.full_name();
        let kind = row.kind.as_str();
        let labels = row.source.labels().iter().map(|l| format!("`{l}`")).collect::<Vec<_>>();
        let labels = labels.join(", ");
        // Writing to a String does not fail.
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {} |", row.help);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
        let expected = markdown();
        if std::env::var_os("HAYLOFT_BLESS").is_some() {
            std::fs::write(path, &expected).expect("docs/METRICS.md can be written");
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == expected,
            "docs/METRICS.md is out of date; HAYLOFT_BLESS=1 cargo test --lib metrics_reference"
        );
    }

    #[test]
    fn every_metric_has_a_line_in_the_reference() {
        let page = markdown();
        for row in TABLE {
            assert!(page.contains(&format!("| `{}` | ", row.full_name())), "{}", row.name);
        }
        assert!(page.contains("| `hayloft_device_reads_total` | counter | `shard` | "));
    }
}
