//! Result of a load as a self-contained HTML page: the table, and plots as inline SVG.

use hdrhistogram::Histogram;

use super::plot::{Chart, Line, Scale, escape};
use super::summary::Summary;
use super::table;

/// Points of a percentile curve per decade.
const POINTS_PER_DECADE: f64 = 20.0;

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{color:#222;background:#fff}
pre{background:#f4f4f4;padding:.8rem;overflow-x:auto;font-size:12px}
svg{width:100%;height:auto;margin:1rem 0}
svg text{font:12px system-ui,sans-serif;fill:#333}
svg .title{font-weight:600;font-size:14px}
svg .x{text-anchor:middle}svg .y{text-anchor:end}
svg .grid{stroke:#ddd;stroke-width:1}
svg polyline{fill:none;stroke-width:2}
";

/// Renders the page.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let title = format!("{} {}, {}", summary.command, summary.target, summary.date);
    let options = serde_json::to_string_pretty(&summary.options).expect("options always serialize");
    let charts =
        [by_percentile(summary), throughput(summary), over_time(summary), by_rate(summary)];
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>\n{STYLE}</style></head><body>\n<h1>{title}</h1>\n{}<pre>{}</pre>\n{}\
         <h2>Options</h2>\n<pre>{}</pre>\n</body></html>\n",
        warnings(summary),
        escape(&table::render(summary)),
        charts.concat(),
        escape(&options),
        title = escape(&title),
    )
}

/// Truncation warnings of a sweep: the table on the page is only that of the last rate.
fn warnings(summary: &Summary) -> String {
    let warnings = summary.sweep.iter().filter_map(table::truncated);
    warnings.map(|warning| format!("<p>{}</p>\n", escape(&warning))).collect()
}

/// Latency by percentile: one curve per rate of a sweep, otherwise one per kind of answer.
fn by_percentile(summary: &Summary) -> String {
    let kinds = summary.histograms.iter().map(|(name, histogram)| ((*name).to_owned(), histogram));
    let rates = summary.sweep.iter().map(|load| {
        let rate = load.schedule.as_ref().map_or(0.0, |schedule| schedule.rate);
        (format!("{rate}/s"), &load.served)
    });
    let curves: Vec<_> = if summary.sweep.is_empty() { kinds.collect() } else { rates.collect() };
    let lines: Vec<Line> = curves
        .into_iter()
        .filter(|(_, histogram)| !histogram.is_empty())
        .map(|(name, histogram)| Line { name, points: percentiles(histogram) })
        .collect();
    Chart {
        title: "Latency by percentile",
        x: ("percentile", Scale::Percentile),
        y: ("latency (us)", Scale::Log),
        lines: &lines,
    }
    .render()
}

/// Points of a percentile curve: 1 / (1 - quantile), latency (microseconds).
#[expect(clippy::cast_precision_loss, reason = "latencies up to ten minutes, counts of answers")]
fn percentiles(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let decades = (histogram.len() as f64).log10();
    let steps = std::iter::successors(Some(0.0), |step| Some(step + 1.0 / POINTS_PER_DECADE));
    let points = steps.take_while(|step| *step <= decades).map(|step: f64| {
        let odds = 10_f64.powf(step);
        (odds, histogram.value_at_quantile(1.0 - 1.0 / odds) as f64 / 1000.0)
    });
    points.collect()
}

fn line(name: &str, points: impl Iterator<Item = (f64, f64)>) -> Line {
    Line { name: name.to_owned(), points: points.collect() }
}

#[expect(clippy::cast_precision_loss, reason = "seconds and counts")]
fn throughput(summary: &Summary) -> String {
    let lines = [line(
        "requests",
        summary.timeline.iter().map(|at| (at.second as f64, at.requests as f64)),
    )];
    Chart {
        title: "Throughput over time",
        x: ("time (s)", Scale::Linear),
        y: ("requests per second", Scale::Linear),
        lines: &lines,
    }
    .render()
}

#[expect(clippy::cast_precision_loss, reason = "seconds")]
fn over_time(summary: &Summary) -> String {
    let lines = [
        line(
            "p50",
            summary.timeline.iter().map(|at| (at.second as f64, at.p50_us.unwrap_or(f64::NAN))),
        ),
        line(
            "p99",
            summary.timeline.iter().map(|at| (at.second as f64, at.p99_us.unwrap_or(f64::NAN))),
        ),
    ];
    Chart {
        title: "Latency over time",
        x: ("time (s)", Scale::Linear),
        y: ("latency (us)", Scale::Log),
        lines: &lines,
    }
    .render()
}

/// Latency by rate of a sweep; empty without one.
fn by_rate(summary: &Summary) -> String {
    if summary.sweep.is_empty() {
        return String::new();
    }
    let curve = |name, latency: fn(&Summary) -> f64| {
        line(name, summary.sweep.iter().map(|load| (load.requests_per_second, latency(load))))
    };
    let lines = [
        curve("p50", |load| load.served_us.p50),
        curve("p99", |load| load.served_us.p99),
        curve("p99.9", |load| load.served_us.p99_9),
    ];
    Chart {
        title: "Rate against latency",
        x: ("answers per second", Scale::Linear),
        y: ("latency (us)", Scale::Log),
        lines: &lines,
    }
    .render()
}
