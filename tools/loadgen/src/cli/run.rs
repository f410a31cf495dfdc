//! `hayloft-loadgen run`.

use std::sync::Arc;

use clap::Args;
use hayloft::size::ByteSize;
use serde::Serialize;

use super::common::{GeneratorArgs, TargetArgs, nanos, seconds};
use crate::content::STAMP;
use crate::error::Error;
use crate::operation::{Kind, Mix};
use crate::plan::{Pace, Plan};
use crate::popularity::PopularityArg;
use crate::report::summary::Title;
use crate::sizes::SizesArg;
use crate::source::mixed::{Habits, Mixed};
use crate::source::versions::Versions;
use crate::target::Target;

/// Requests in flight on one connection, at most: their heads must fit into one buffer.
const PIPELINE_MAX: i64 = 64;

/// Options of `run`.
#[derive(Clone, Debug, Args, Serialize)]
pub struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Objects that were filled
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..1 << 61))]
    objects: u64,
    /// Their sizes, as they were filled
    #[arg(long, default_value = "8KiB")]
    sizes: SizesArg,
    /// Length of the measured time
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    seconds: f64,
    /// Load before it, which is not measured
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    warmup: f64,
    /// Connections of all threads
    #[arg(long, value_name = "C", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Requests in flight on each connection (GETs and ranges only)
    #[arg(long, value_name = "D", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=PIPELINE_MAX))]
    pipeline: u16,
    /// Which objects are asked for: uniform, zipf:EXPONENT (any from 0 to 20), or age:EXPONENT (the newest most)
    #[arg(long, default_value = "uniform")]
    popularity: PopularityArg,
    /// What is done, and how often relative to one another; a DELETE takes what this run wrote
    #[arg(long, default_value = "get=100")]
    mix: Mix,
    /// Share of GETs that ask for what was never stored, 0 to 1; 404 is right for them
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0)]
    missing: f64,
    /// Length of ranges
    #[arg(long, value_name = "SIZE", default_value = "4KiB")]
    range_len: ByteSize,
    /// PUT to objects that were filled, and expect what was written last, instead of new ones behind them
    #[arg(long)]
    overwrite: bool,
    /// A latency that is good enough (us): print the share of answers within it
    #[arg(long, value_name = "US")]
    slo_us: Option<u64>,
    #[command(flatten)]
    generator: GeneratorArgs,
}

fn usage<T>(advice: &str) -> Result<T, Error> {
    Err(Error::Usage(advice.to_owned()))
}

impl RunArgs {
    fn check(&self) -> Result<(), Error> {
        let (target, mix) = (self.target.target, &self.mix);
        if target == Target::Files {
            return usage(
                "files are only filled; to read them, run nginx on the directory and use --target nginx",
            );
        }
        if let Some(kind) =
            Kind::ALL.into_iter().find(|kind| mix.has(*kind) && !target.takes(*kind))
        {
            let (target, kind) = (target.name(), kind.name());
            return Err(Error::Usage(format!("{target} takes no {kind}; leave it out of --mix")));
        }
        if !(0.0..=1.0).contains(&self.missing) {
            return usage(
                "--missing is a fraction; write 0 to 1, for instance 0.5 for half of the GETs",
            );
        }
        let writes = mix.has(Kind::Put) || mix.has(Kind::Delete);
        if self.pipeline > 1 && writes {
            return usage(
                "requests with a body are not pipelined; use --pipeline 1, or only get and range",
            );
        }
        if mix.has(Kind::Range) && (self.range_len.bytes() == 0 || self.sizes.sizes.min() == 0) {
            return usage("nothing has no range; give --range-len and all --sizes at least 1 byte");
        }
        if self.overwrite && (mix.has(Kind::Range) || mix.has(Kind::Delete)) {
            return usage(
                "--overwrite goes with get and put only, since only they tell versions apart",
            );
        }
        if self.overwrite && self.sizes.sizes.min() < STAMP as u64 {
            return usage(
                "--overwrite needs objects of at least 24 bytes, which say their version; raise --sizes",
            );
        }
        if self.overwrite && self.objects < 4 * u64::from(self.connections) {
            return usage(
                "--overwrite needs at least 4 objects for each connection; fill more of them",
            );
        }
        Ok(())
    }

    fn plan(&self) -> Plan {
        let threads = usize::from(self.generator.threads);
        Plan {
            threads,
            cores: self.generator.core_list(),
            connections: usize::try_from(self.connections).expect("32 bits").max(threads),
            pipeline: usize::from(self.pipeline),
            pace: Pace::Closed,
            warmup: nanos(self.warmup),
            duration: Some(nanos(self.seconds)),
            patience: nanos(self.generator.patience),
            seed: self.target.seed,
        }
    }

    /// Runs the load.
    ///
    /// # Errors
    /// When it could not run.
    pub fn run(self) -> Result<bool, Error> {
        self.check()?;
        let plan = self.plan();
        let shared = Arc::new(self.target.shared(self.sizes.sizes.clone())?);
        let options = serde_json::to_value(&self).expect("names and numbers");
        let target = self.target.target.name();
        let title = Title { command: "run", target, options, slo_us: self.slo_us };
        let habits = Habits {
            count: self.objects,
            popularity: self.popularity,
            mix: self.mix,
            missing: self.missing,
            range_len: self.range_len.bytes(),
        };
        let versions = self
            .overwrite
            .then(|| Arc::new(Versions::new(usize::try_from(self.objects).expect("64 bits"))));
        let summary = self.generator.load(&title, &plan, &shared, &|thread| {
            Box::new(Mixed::new(&shared, &habits, versions.as_ref(), thread, plan.threads))
        })?;
        self.generator.deliver(&summary)
    }
}
