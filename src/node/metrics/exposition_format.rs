//! Text formats of the metrics, and the conversion of the one to the other.

/// Text formats of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
    /// Prometheus text 0.0.4, which every scraper and promtool reads.
    Text,
}

impl ExpositionFormat {
    /// Value of `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Converts OpenMetrics text to Prometheus text 0.0.4. The samples are the same; the description of a counter
/// has the name of its samples, an info is a gauge, and there are no units and no end mark.
pub(super) fn prometheus_text(open_metrics: &str) -> String {
    let lines: Vec<&str> = open_metrics.lines().collect();
    let mut out = String::with_capacity(open_metrics.len() + 1024);
    for (n, line) in lines.iter().enumerate() {
        let described =
            |prefix| line.strip_prefix(prefix).and_then(|rest: &str| rest.split_once(' '));
        if let Some((name, help)) = described("# HELP ") {
            // TYPE follows HELP.
            let kind =
                lines.get(n + 1).and_then(|next| next.rsplit(' ').next()).unwrap_or_default();
            let help = help.replace("\\\"", "\"");
            out += &format!("# HELP {name}{} {help}\n", suffix(kind));
        } else if let Some((name, kind)) = described("# TYPE ") {
            let as_gauge = if kind == "info" { "gauge" } else { kind };
            out += &format!("# TYPE {name}{} {as_gauge}\n", suffix(kind));
        } else if !line.starts_with("# ") {
            out += line;
            out.push('\n');
        }
    }
    out
}

/// Suffix of the sample names of a metric of this type.
fn suffix(kind: &str) -> &'static str {
    match kind {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    }
}
