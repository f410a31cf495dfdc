//! Live progress: one line per second on standard error.

use crate::stats::Interval;

/// Prints the line of a second (negative during warm-up).
pub fn line(second: i64, interval: &Interval) {
    let served = interval.served();
    let micros = |quantile| match served.is_empty() {
        true => "-".to_owned(),
        false => (served.value_at_quantile(quantile) / 1000).to_string(),
    };
    if second < 0 {
        eprintln!("{second:>5} s  warming up, {} errors", interval.errors);
        return;
    }
    eprintln!(
        "{second:>5} s  {:>8} requests  {:>7.1} MiB  p50 {:>6} us  p99 {:>7} us  \
         {} rejected  {} errors  {} wrong",
        interval.completed,
        mebibytes(interval.payload),
        micros(0.5),
        micros(0.99),
        interval.refused(),
        interval.errors,
        interval.wrong
    );
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
