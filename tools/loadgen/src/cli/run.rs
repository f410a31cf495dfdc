//! `hayloft-loadgen run`.

use std::sync::Arc;

use clap::Args;
use hayloft::base::size::ByteSize;
use serde::Serialize;

use super::by_shard;
use super::common::{GeneratorArgs, TargetArgs, nanos, object_count, seconds};
use crate::content::STAMP;
use crate::error::Error;
use crate::operation::{Kind, Mix};
use crate::plan::{Pace, Plan};
use crate::popularity::PopularityArg;
use crate::random::Random;
use crate::report::summary::{Summary, Title};
use crate::schedule::Arrivals;
use crate::sizes::SizesArg;
use crate::source::mixed::{Mixed, StreamOptions};
use crate::source::versions::Versions;
use crate::target::Target;

/// Maximum number of requests in flight on a connection: their heads must fit into one buffer.
const PIPELINE_MAX: i64 = 64;
/// Domain separator for the streams of a sweep.
const SWEEP: u64 = 0x53EE;

/// Options of `run`.
#[derive(Clone, Debug, Args, Serialize)]
pub struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Number of stored objects
    #[arg(long, value_name = "N", value_parser = object_count())]
    objects: u64,
    /// Object sizes, as given to fill
    #[arg(long, default_value = "8KiB")]
    sizes: SizesArg,
    /// Measured time
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    seconds: f64,
    /// Time under load before the measurement
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    warmup: f64,
    /// Connections of all threads
    #[arg(long, value_name = "C", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Requests per second to send, regardless of answers (an open loop); latency counts from the time a
    /// request was due, and --connections limits the requests in flight [default: a closed loop, in which
    /// each connection sends its next request once it is answered]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// Several rates to measure in turn, each for --warmup and --seconds and with a request stream of its
    /// own
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = rate, conflicts_with = "rate")]
    rates: Vec<f64>,
    /// Distribution of the intervals between requests in an open loop
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Arrivals,
    /// Send requests to the port of the volume's shard, as reported by the admin API at this URL (Hayloft
    /// only)
    #[arg(long, value_name = "ADMIN_URL")]
    by_shard: Option<String>,
    /// Requests in flight on each connection (GETs and ranges only)
    #[arg(long, value_name = "D", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=PIPELINE_MAX))]
    pipeline: u16,
    /// Distribution of requests over objects: uniform, zipf:EXPONENT (0 to 20), or age:EXPONENT (new objects
    /// are the most popular)
    #[arg(long, default_value = "uniform")]
    popularity: PopularityArg,
    /// Operations and their relative weights; a DELETE removes an object that this run wrote
    #[arg(long, default_value = "get=100")]
    mix: Mix,
    /// Fraction of GETs for objects that were never stored, 0 to 1; the expected answer is 404
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0)]
    missing: f64,
    /// Length of range requests
    #[arg(long, value_name = "SIZE", default_value = "4KiB")]
    range_len: ByteSize,
    /// PUT to stored objects instead of new ones, and expect the version written last; while all objects have
    /// a write in flight, GET instead
    #[arg(long)]
    overwrite: bool,
    /// Seed of the request stream: which objects are requested and when, but not their content
    /// [default: --seed]
    #[arg(long, value_name = "N")]
    stream_seed: Option<u64>,
    /// Latency objective (us): print the fraction of requests answered within it
    #[arg(long, value_name = "US")]
    slo_us: Option<u64>,
    #[command(flatten)]
    generator: GeneratorArgs,
}

/// Parses a rate (requests per second, 0.001 to 1e8).
fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 =
        text.parse().map_err(|_| "write requests per second, for instance 20000".to_owned())?;
    if (0.001..=1e8).contains(&rate) {
        Ok(rate)
    } else {
        Err("write a rate from 0.001 to 100000000 requests per second".to_owned())
    }
}

fn usage<T>(advice: &str) -> Result<T, Error> {
    Err(Error::Usage(advice.to_owned()))
}

impl RunArgs {
    fn check(&self) -> Result<(), Error> {
        let (target, mix) = (self.target.target, &self.mix);
        if target == Target::Files {
            return usage(
                "the target files is write-only; to read, run nginx on the directory and use --target nginx",
            );
        }
        if let Some(kind) =
            Kind::ALL.into_iter().find(|kind| mix.has(*kind) && !target.supports(*kind))
        {
            let (target, kind) = (target.name(), kind.name());
            return Err(Error::Usage(format!(
                "{target} does not support {kind}; leave it out of --mix"
            )));
        }
        if !(0.0..=1.0).contains(&self.missing) {
            return usage("--missing must be from 0 to 1; write 0.5 for half of the GETs");
        }
        if self.seconds <= 0.0 {
            return usage("--seconds must be above 0; write 10 for ten seconds");
        }
        let writes = mix.has(Kind::Put) || mix.has(Kind::Delete);
        if self.pipeline > 1 && writes {
            return usage(
                "requests with a body are not pipelined; use --pipeline 1, or only get and range",
            );
        }
        if self.pipeline > 1 && (self.rate.is_some() || !self.rates.is_empty()) {
            return usage(
                "an open loop has one request in flight per connection; leave --pipeline out",
            );
        }
        if self.by_shard.is_some() && target != Target::Hayloft {
            return usage("only Hayloft has shards; leave --by-shard out");
        }
        let volumes = self.target.volumes.0.len() as u64;
        if self.by_shard.is_some() && self.objects.div_ceil(u64::from(self.target.alts)) < volumes {
            return usage(
                "--by-shard needs an object in each volume; fill and give more --objects",
            );
        }
        if mix.has(Kind::Range) && (self.range_len.bytes() == 0 || self.sizes.sizes.min() == 0) {
            return usage(
                "an empty object has no range; give --range-len and all --sizes at least 1 byte",
            );
        }
        if self.overwrite && (mix.has(Kind::Range) || mix.has(Kind::Delete)) {
            return usage("--overwrite supports only get and put, since only they check versions");
        }
        if self.overwrite && self.sizes.sizes.min() < STAMP as u64 {
            return usage(
                "--overwrite needs objects of at least 24 bytes, to hold a version; raise --sizes",
            );
        }
        if self.overwrite && self.objects < 4 * u64::from(self.connections) {
            return usage(
                "--overwrite needs at least 4 objects for each connection; fill more of them",
            );
        }
        Ok(())
    }

    /// Seed of part `part` of a sweep. Each part has its own stream: with the same one, the server would
    /// answer the second part from its page cache.
    fn stream(&self, part: u64) -> u64 {
        let seed = self.stream_seed.unwrap_or(self.target.seed);
        if part == 0 { seed } else { Random::new(seed, SWEEP + part).next() }
    }

    fn options(&self, part: u64) -> StreamOptions {
        StreamOptions {
            count: self.objects,
            popularity: self.popularity,
            mix: self.mix.clone(),
            missing: self.missing,
            range_len: self.range_len.bytes(),
            stream: self.stream(part),
        }
    }

    fn plan(&self, rate: Option<f64>, part: u64) -> Plan {
        let threads = usize::from(self.generator.threads);
        Plan {
            threads,
            cores: self.generator.core_list(),
            connections: usize::try_from(self.connections).expect("usize has 64 bits").max(threads),
            pipeline: usize::from(self.pipeline),
            pace: rate.map_or(Pace::Closed, |rate| Pace::Rate(rate, self.arrivals)),
            warmup: nanos(self.warmup),
            duration: Some(nanos(self.seconds)),
            patience: nanos(self.generator.patience),
            seed: self.stream(part),
        }
    }

    /// Runs the load.
    ///
    /// # Errors
    /// When the options contradict each other, or the load could not run.
    pub fn run(self) -> Result<bool, Error> {
        self.check()?;
        let mut shared = self.target.shared(self.sizes.sizes.clone())?;
        if let Some(admin) = &self.by_shard {
            by_shard::route(&mut shared, admin, &self.plan(None, 0))?;
        }
        let shared = Arc::new(shared);
        let options = serde_json::to_value(&self).expect("options always serialize");
        let target = self.target.target.name();
        let title = Title { command: "run", target, options, slo_us: self.slo_us };
        let versions = self.overwrite.then(|| {
            Arc::new(Versions::new(usize::try_from(self.objects).expect("usize has 64 bits")))
        });
        let run = |rate: Option<f64>, part: u64, name: Option<&str>| {
            let (plan, options) = (self.plan(rate, part), self.options(part));
            self.generator.load(&title, name, &plan, &shared, &|thread| {
                Box::new(Mixed::new(&shared, &options, versions.as_ref(), thread, plan.threads))
            })
        };
        if self.rates.is_empty() {
            return self.generator.deliver(&run(self.rate, 0, None)?);
        }
        let mut sweep = Vec::new();
        for (rate, part) in self.rates.iter().zip(0..) {
            sweep.push(run(Some(*rate), part, Some(&rate.to_string()))?);
        }
        let last = sweep.last().expect("rates is not empty").clone();
        self.generator.deliver(&Summary { sweep, ..last })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        run: RunArgs,
    }

    fn parsed(flags: &[&str]) -> RunArgs {
        Cli::try_parse_from([&["x", "--objects", "9", "--seed", "5"], flags].concat()).unwrap().run
    }

    #[test]
    fn the_stream_seed_changes_requests_and_arrivals_but_not_objects() {
        let (plain, other) = (parsed(&[]), parsed(&["--stream-seed", "6"]));
        assert_eq!((plain.options(0).stream, plain.plan(None, 0).seed), (5, 5));
        assert_eq!((other.options(0).stream, other.plan(None, 0).seed), (6, 6));
        let stored = |args: &RunArgs| args.target.objects(args.sizes.sizes.clone()).get(7);
        assert_eq!(stored(&plain), stored(&other));
        let first_due = |args: &RunArgs| args.plan(Some(100.0), 0).schedule(0).unwrap().due();
        assert_ne!(first_due(&plain), first_due(&other));
    }

    #[test]
    fn each_rate_of_a_sweep_has_a_stream_of_its_own() {
        let args = parsed(&["--rates", "1,2,3"]);
        let [first, second, third] = [0, 1, 2].map(|part| args.options(part).stream);
        assert!(first == 5 && first != second && second != third && third != first);
        assert_eq!(args.plan(None, 1).seed, second, "arrivals too");
        assert_ne!(second, parsed(&["--stream-seed", "6"]).options(1).stream);
    }
}
