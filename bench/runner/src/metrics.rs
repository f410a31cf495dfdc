//! Counters of the daemon: sums over shards and volumes of values in `/metrics`.

use hayloft::commands::client::{Body, Client};
use hayloft::http::head::Method;

use crate::error::Error;

/// Counters since the start of the daemon, or differences of them; and gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DaemonCounters {
    /// Calls of `io_uring_enter`.
    pub enters: f64,
    /// Reads of volume files on behalf of GETs.
    pub device_reads: f64,
    /// Durable writes and flushes.
    pub flushes: f64,
    /// Bytes written by commits.
    pub commit_bytes: f64,
    /// Number of live needles (gauge).
    pub needles: f64,
    /// Length of the live needles (bytes, gauge).
    pub live_bytes: f64,
    /// Maximum tail offset of the volumes (bytes, gauge).
    pub tail: f64,
}

fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse().ok()).flatten()
    })
}

fn parse(text: &str) -> Result<DaemonCounters, Error> {
    let missing = |name: &str| Error::Figure { from: "the daemon", what: name.to_owned() };
    let sum = |name: &str| {
        let mut found = values(text, name).peekable();
        found.peek().is_some().then(|| found.sum()).ok_or_else(|| missing(name))
    };
    Ok(DaemonCounters {
        enters: sum("hayloft_enters_total")?,
        device_reads: sum("hayloft_device_reads_total")?,
        flushes: sum("hayloft_flushes_total")?,
        commit_bytes: sum("hayloft_commit_bytes_total")?,
        needles: sum("hayloft_volume_needles")?,
        live_bytes: sum("hayloft_volume_live_bytes")?,
        tail: values(text, "hayloft_volume_tail_bytes").fold(0.0, f64::max),
    })
}

impl DaemonCounters {
    /// Reads the counters from the admin API.
    ///
    /// # Errors
    /// When the API does not answer, or a counter is missing.
    pub fn ask(admin: &Client) -> Result<Self, Error> {
        let reply = admin.request(Method::Get, "/metrics", &[], Body::None)?;
        parse(&reply.expect(&[200])?.text()?)
    }

    /// Differences of the counters to `before`; gauges as they are.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            enters: self.enters - before.enters,
            device_reads: self.device_reads - before.device_reads,
            flushes: self.flushes - before.flushes,
            commit_bytes: self.commit_bytes - before.commit_bytes,
            ..self
        }
    }

    /// Mean length of a live needle on disk, rounded to units of 512 bytes; `None` without needles.
    #[must_use]
    pub fn needle_len(&self) -> Option<u32> {
        let units = (self.live_bytes / self.needles / 512.0).round();
        (self.needles > 0.0 && (1.0..4096.0).contains(&units)).then_some(units as u32 * 512)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE hayloft_enters counter
hayloft_enters_total{shard=\"0\"} 10
hayloft_enters_total{shard=\"1\"} 5
hayloft_device_reads_total{shard=\"0\"} 7
hayloft_device_reads_other_total{shard=\"0\"} 99
hayloft_flushes_total{shard=\"0\"} 3
hayloft_commit_bytes_total{shard=\"0\"} 8192
hayloft_volume_needles{volume=\"1\"} 2
hayloft_volume_live_bytes{volume=\"1\"} 17408
hayloft_volume_tail_bytes{volume=\"1\"} 90000
hayloft_volume_tail_bytes{volume=\"2\"} 80000
";

    #[test]
    fn shards_are_added_up_and_names_matched_completely() {
        let figures = parse(TEXT).unwrap();
        assert_eq!((figures.enters, figures.device_reads, figures.tail), (15.0, 7.0, 90_000.0));
        assert_eq!(figures.needle_len(), Some(8704));
        let since = figures.since(DaemonCounters { enters: 5.0, ..DaemonCounters::default() });
        assert_eq!((since.enters, since.needles), (10.0, 2.0));
        assert_eq!(DaemonCounters::default().needle_len(), None);
    }

    #[test]
    fn a_missing_counter_is_named() {
        let error = parse(&TEXT.replace("hayloft_flushes", "x")).unwrap_err().to_string();
        assert!(error.contains("hayloft_flushes_total"), "{error}");
    }
}
