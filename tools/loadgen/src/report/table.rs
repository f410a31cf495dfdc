//! Result of a load as a text table.

use std::fmt::Write;

use hayloft::base::size::rounded;

use super::summary::Summary;

/// Renders the table.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_to(&mut out, summary);
    out
}

/// Warning that requests were never sent, if so.
#[must_use]
pub fn truncated(summary: &Summary) -> Option<String> {
    let schedule = summary.schedule.as_ref().filter(|_| summary.truncated)?;
    Some(format!(
        "TRUNCATED: {} of {} requests due at {:.0}/s were never sent and count as waiting until the end; \
             true latencies are higher than reported, use a lower rate or more --patience",
        schedule.unsent, schedule.intended, schedule.rate
    ))
}

/// Wrong answers and errors of a load, not of the parts of a sweep; nothing if there are none.
#[must_use]
pub fn failures(summary: &Summary) -> Option<String> {
    if summary.wrong == 0 && summary.errors == 0 {
        return None;
    }
    let (wrong, errors) = (summary.wrong, summary.errors);
    let first = format!("{wrong} wrong answers, {errors} errors; the first ones:");
    let lines = summary.notes.iter().map(|note| format!("  {note}"));
    Some(std::iter::once(first).chain(lines).collect::<Vec<_>>().join("\n"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a byte rate for display"
)]
fn write_to(out: &mut String, summary: &Summary) -> std::fmt::Result {
    let generator = &summary.generator;
    writeln!(
        out,
        "{} {}: {:.1} s, {} connections, {} thread(s)",
        summary.command,
        summary.target,
        summary.seconds,
        generator.peak_connections,
        generator.threads
    )?;
    writeln!(
        out,
        "{:.0} requests/s, {}/s of objects, {} requests",
        summary.requests_per_second,
        rounded(summary.payload_bytes_per_second as u64),
        summary.requests
    )?;
    writeln!(
        out,
        "{:<9} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "count", "mean us", "p50", "p90", "p99", "p99.9", "p99.99", "max"
    )?;
    for (name, operation) in summary.operations.iter().filter(|(_, operation)| operation.count > 0)
    {
        let latency = &operation.latency_us;
        writeln!(
            out,
            "{:<9} {:>10} {:>10.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
            name,
            operation.count,
            latency.mean,
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p99_9,
            latency.p99_99,
            latency.max
        )?;
    }
    if let Some(schedule) = &summary.schedule {
        writeln!(
            out,
            "schedule: {} at {:.0}/s, {} intended, {} sent, late p50 {:.1} p99 {:.1} max {:.1} us, \
             at most {} queued: {}",
            schedule.arrivals,
            schedule.rate,
            schedule.intended,
            schedule.sent,
            schedule.late_us.p50,
            schedule.late_us.p99,
            schedule.late_us.max,
            schedule.queue_max,
            if schedule.kept { "kept" } else { "NOT KEPT, use more --threads or a lower rate" }
        )?;
    }
    if let Some(warning) = truncated(summary) {
        writeln!(out, "{warning}")?;
    }
    if let Some(within) = summary.within_slo {
        writeln!(out, "within the latency objective: {:.3} %", within * 100.0)?;
    }
    writeln!(
        out,
        "generator: {:.2} us of CPU per request, {:.2} s in total, {} calls of io_uring_enter",
        generator.cpu_us_per_request, generator.cpu_seconds, generator.enters
    )?;
    if generator.reconnects > 0 {
        writeln!(out, "{} reconnects", generator.reconnects)?;
    }
    if let Some(failures) = failures(summary) {
        writeln!(out, "{failures}")?;
    }
    Ok(())
}
