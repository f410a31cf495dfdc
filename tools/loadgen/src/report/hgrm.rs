//! Histogram as text by percentile (`.hgrm`), in the format of HdrHistogram's `outputPercentileDistribution`,
//! for its plotter. Values are milliseconds.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// Lines per halving of the distance to 100 %.
const TICKS_PER_HALVING: u32 = 5;
const NANOS_PER_MILLI: f64 = 1e6;

/// Renders a histogram of latencies in nanoseconds.
#[must_use]
pub fn render(histogram: &Histogram<u64>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_to(&mut out, histogram);
    out
}

#[expect(clippy::cast_precision_loss, reason = "latencies up to ten minutes")]
fn write_to(out: &mut String, histogram: &Histogram<u64>) -> std::fmt::Result {
    let millis = |nanos: u64| nanos as f64 / NANOS_PER_MILLI;
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALVING) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (millis(step.value_iterated_to()), step.quantile_iterated_to());
        if quantile < 1.0 {
            writeln!(
                out,
                "{value:>12.3} {quantile:>2.12} {total:>10} {:>14.2}",
                1.0 / (1.0 - quantile)
            )?;
        } else {
            writeln!(out, "{value:>12.3} {quantile:>2.12} {total:>10}")?;
        }
    }
    let (mean, deviation) =
        (histogram.mean() / NANOS_PER_MILLI, histogram.stdev() / NANOS_PER_MILLI);
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    writeln!(
        out,
        "#[Max     = {:>12.3}, Total count    = {:>12}]",
        millis(histogram.max()),
        histogram.len()
    )?;
    let sub_buckets = 2 * 10_u32.pow(u32::from(histogram.sigfig()));
    writeln!(
        out,
        "#[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.buckets(),
        sub_buckets.next_power_of_two()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_rise_to_the_maximum() {
        let mut histogram = crate::stats::histogram();
        for latency in 1..=1000_u64 {
            histogram.saturating_record(latency * 1_000_000);
        }
        let text = render(&histogram);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().collect())
            .collect();
        let quantile = |line: &Vec<&str>| line[1].parse::<f64>().unwrap();
        let median = lines.iter().find(|line| quantile(line) >= 0.5).unwrap();
        let value: f64 = median[0].parse().unwrap();
        assert!((499.0..502.0).contains(&value), "{median:?}");
        assert_eq!(median[3], "2.00");
        let last = lines.last().unwrap();
        assert!(quantile(last) >= 1.0 && last[2] == "1000" && last.len() == 3, "{last:?}");
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
