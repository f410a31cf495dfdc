//! Plots: bars of the rates of a workload, or the latency curve of an open loop.

use std::path::Path;

use plotters::prelude::*;

use crate::block::Record;
use crate::error::{Error, file};
use crate::workload::{Pace, WORKLOADS, Workload};
use hayloft_bench_stats::{Estimate, estimate};

const SIZE: (u32, u32) = (760, 360);
const OURS: RGBColor = RGBColor(0x1b, 0x5e, 0x8c);
const THEIRS: RGBColor = RGBColor(0xa0, 0xa8, 0xb0);
const FONT: (&str, i32) = ("sans-serif", 15);

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws the plot of a workload into `dir`.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(dir: &Path, record: &Record) -> Result<(), Error> {
    let known = WORKLOADS.iter().find(|workload| workload.name == record.workload);
    let Some(workload) = known else { return Ok(()) };
    let path = dir.join(format!("{}.svg", workload.name));
    let mut text = String::new();
    let open = workload.entries.iter().filter(|entry| entry.load.pace != Pace::Closed).count();
    let drawn = match open {
        0 | 1 => bars(&mut text, workload, record),
        _ => curve(&mut text, workload, record),
    };
    let drawn = drawn.map_err(|error| std::io::Error::other(error.to_string()));
    drawn.and_then(|()| std::fs::write(&path, text)).map_err(file("draw", &path))
}

/// Bars of the requests per second of each entry, with the interval of the median.
fn bars(text: &mut String, workload: &Workload, record: &Record) -> Drawn {
    let of = |name: &str| estimate(&record.of_entry(name, |block| Some(block.rate)));
    let rates: Vec<(&str, Option<Estimate>)> =
        workload.entries.iter().map(|entry| (entry.name, of(entry.name))).collect();
    let most = rates.iter().flat_map(|(_, rate)| rate).map(|rate| rate.high).fold(1.0, f64::max);
    let count = rates.len() as f64;
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(workload.what, FONT)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(120)
        .build_cartesian_2d(0.0..most * 1.05, 0.0..count)?;
    // The first entry is on top; the bar of number n is around n + 0.5.
    let name = |y: &f64| {
        let from_below = (y - 0.5).round();
        let number = count - 1.0 - from_below;
        let known = rates.get(number as usize).filter(|_| (y - 0.5 - from_below).abs() < 0.01);
        known.map_or_else(String::new, |(name, _)| (*name).to_owned())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(2 * rates.len() + 1)
        .y_label_formatter(&name)
        .x_desc("requests/s")
        .label_style(FONT)
        .draw()?;
    for (number, (name, rate)) in rates.iter().enumerate() {
        let Some(rate) = rate else { continue };
        let middle = count - 0.5 - number as f64;
        let colour = if is_ours(workload, name) { OURS } else { THEIRS };
        let bar =
            Rectangle::new([(0.0, middle - 0.3), (rate.median, middle + 0.3)], colour.filled());
        let interval = PathElement::new([(rate.low, middle), (rate.high, middle)], BLACK);
        chart.draw_series([bar])?;
        chart.draw_series([interval])?;
    }
    area.present()?;
    Ok(())
}

fn is_ours(workload: &Workload, name: &str) -> bool {
    use crate::workload::Subject::{AnyPort, Hayloft, OwnPort, Zeroed};
    let entry = workload.entries.iter().find(|entry| entry.name == name);
    entry.is_some_and(|entry| matches!(entry.subject, Hayloft | Zeroed | OwnPort | AnyPort))
}

/// 99th percentile of the latency by arrival rate.
fn curve(text: &mut String, workload: &Workload, record: &Record) -> Drawn {
    let open = workload.entries.iter().filter_map(|entry| match entry.load.pace {
        Pace::OfFirst(share) => Some((share, entry.name)),
        Pace::Closed => None,
    });
    let points = open.filter_map(|(share, name)| {
        let p99 = estimate(&record.of_entry(name, |block| Some(block.latency_us.p99 / 1e3)))?;
        Some((share, p99.median.max(0.01)))
    });
    let points: Vec<(f64, f64)> = points.collect();
    let highest = points.iter().map(|point| point.1).fold(1.0, f64::max);
    let lowest = points.iter().map(|point| point.1).fold(highest, f64::min);
    let widest = points.iter().map(|point| point.0).fold(1.0, f64::max);
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(workload.what, FONT)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.4..widest * 1.02, (lowest * 0.8..highest * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("arrival rate relative to the peak of 64 connections")
        .y_desc("p99 (ms)")
        .label_style(FONT)
        .draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), OURS.stroke_width(2)))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, OURS.filled())))?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::examples::{block, record};

    #[test]
    fn plots_name_their_entries_and_axes() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = vec![block("hayloft", 0, 300.0), block("nginx", 0, 100.0)];
        draw(dir.path(), &record("get-8k-64", blocks)).unwrap();
        let text = std::fs::read_to_string(dir.path().join("get-8k-64.svg")).unwrap();
        for words in ["<svg", "hayloft", "nginx", "baseline", "requests/s"] {
            assert!(text.contains(words), "{words}");
        }
        let blocks =
            vec![block("closed", 0, 300.0), block("0.50", 0, 150.0), block("1.00", 0, 290.0)];
        draw(dir.path(), &record("knee", blocks)).unwrap();
        let text = std::fs::read_to_string(dir.path().join("knee.svg")).unwrap();
        assert!(text.contains("p99 (ms)") && text.matches("<circle").count() == 2, "{text}");
    }

    #[test]
    fn plots_without_data_do_not_fail() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["knee", "overload", "get-8k-1", "no-such"] {
            draw(dir.path(), &record(name, Vec::new())).unwrap();
        }
        assert!(!dir.path().join("no-such.svg").exists());
    }
}
