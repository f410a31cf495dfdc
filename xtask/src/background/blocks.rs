//! Alternating blocks of a load, with and without background work.

use hayloft_bench_stats::estimate;
use serde_json::json;

use super::admin::Admin;
use super::load::{Latency, Load, Run};
use super::outcome::Outcome;
use super::steady::while_working;
use super::work::Work;
use crate::process::Failed;

/// Part of a block in which the work must have been under way, at least.
const SHARE_MIN: f64 = 0.9;
/// Time between two blocks: the daemon forgets the work, and an interval of hints passes.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1500);

/// Alternating blocks of one kind of request.
pub struct Blocks<'a> {
    /// Name of the figure.
    pub what: &'a str,
    /// Kind of request, `get` or `put`.
    pub kind: &'a str,
    /// The load.
    pub load: &'a Load<'a>,
    /// The work.
    pub work: Work,
    /// Volume that it is done on.
    pub worked: u32,
    /// Volume that the load fills: it is compacted before each pair.
    pub filled: Option<u32>,
    /// Number of pairs of blocks.
    pub pairs: u64,
    /// Measured seconds of a block.
    pub seconds: f64,
    /// Share of the peak of a closed loop at which requests are sent.
    pub share: f64,
    /// Largest ratio of the 99th percentiles.
    pub most: f64,
}

impl Blocks<'_> {
    /// Measures the blocks and adds the ratio of their 99th percentiles.
    ///
    /// # Errors
    /// When a block fails.
    pub fn measure(&self, admin: Admin, outcome: &mut Outcome) -> Result<(), Failed> {
        let mix = format!("{}=100", self.kind);
        let rate = self.load.share_of_peak(&mix, self.share)?;
        let (mut ratios, mut with, mut without, mut rates) = (vec![], vec![], vec![], vec![]);
        for pair in 1..=self.pairs {
            if let Some(volume) = self.filled {
                admin.compact(volume)?;
            }
            // Both blocks of a pair send the same requests.
            let (seconds, rate) = (self.seconds, Some(rate));
            let run = Run { mix: &mix, seconds, rate, stream: pair, log: None };
            let quiet = || -> Result<Latency, Failed> {
                std::thread::sleep(PAUSE);
                self.load.run(&run)?.latency(self.kind)
            };
            let busy = || {
                std::thread::sleep(PAUSE);
                while_working(self.work, (admin, self.worked), || self.load.run(&run))
            };
            let (report, steady, calm) = if pair % 2 == 1 {
                let calm = quiet()?;
                let (report, steady) = busy()?;
                (report, steady, calm)
            } else {
                let (report, steady) = busy()?;
                (report, steady, quiet()?)
            };
            let busy = report.latency(self.kind)?;
            let (p99, calm_p99) = (busy.p99, calm.p99);
            let (share, ended) = (steady.share, steady.ended);
            let (rate, name) = (steady.rate / f64::from(1 << 20), self.work.name());
            eprintln!(
                "  {} pair {pair} of {}: p99 {p99:.0} us with a {name} ({rate:.0} MiB/s, {ended} ended, \
                 {:.0} % of the time), {calm_p99:.0} us without: {:.2}",
                self.what,
                self.pairs,
                share * 100.0,
                p99 / calm_p99
            );
            outcome.rounds.push(json!({
                "figure": self.what, "pair": pair, "us_with": busy, "us_without": calm,
                "share": share, "ended": ended, "mib_per_s": rate,
            }));
            if share < SHARE_MIN {
                return Err(Failed(format!("a {name} ran in {:.0} % of a block", share * 100.0)));
            }
            ratios.push(p99 / calm_p99);
            with.push(p99);
            without.push(calm_p99);
            rates.push(rate);
        }
        let none = || Failed("there are no pairs".to_owned());
        let [ratio, with, without, rates] =
            [&ratios, &with, &without, &rates].map(|it| estimate(it));
        let name = self.work.name();
        let what = format!("{}: p99 with / without {name}", self.what);
        outcome.ratio_at_most(&what, &ratio.ok_or_else(none)?, self.most);
        let shown = [with, without, rates].map(|it| it.map_or(0.0, |it| it.median));
        let value = format!(
            "{:.0} us with, {:.0} us without; {rate:.0} requests/s; {name} at {:.0} MiB/s",
            shown[0], shown[1], shown[2]
        );
        outcome.show(&format!("{}: medians", self.what), value);
        Ok(())
    }
}
