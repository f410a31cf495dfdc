//! `hayloft-loadgen replay`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use hayloft::base::size::ByteSize;
use serde::Serialize;

use super::common::{GeneratorArgs, TargetArgs, nanos};
use crate::error::Error;
use crate::operation::Kind;
use crate::plan::{Pace, Plan};
use crate::report::summary::Title;
use crate::sizes::Sizes;
use crate::source::fill::Fill;
use crate::source::replay::Replay;
use crate::target::Target;
use crate::trace::{self, Columns, Format, ReadOptions, TimeUnit};

/// Options of `replay`.
#[derive(Clone, Debug, Args, Serialize)]
pub struct ReplayArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Trace file to replay
    #[arg(long)]
    file: PathBuf,
    /// Format of the trace
    #[arg(long, value_enum)]
    format: Format,
    /// Columns of a CSV trace, counted from 1; without op every request is a read
    #[arg(long, value_name = "NAME=N,...", default_value = "time=1,op=2,size=3,id=4")]
    columns: Columns,
    /// Unit of the times in a CSV trace
    #[arg(long, value_enum, default_value = "s")]
    time_unit: TimeUnit,
    /// Speed-up relative to the times in the trace
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    speed: f64,
    /// Ignore the times in the trace: send the next request as soon as one is answered (a closed loop)
    #[arg(long, conflicts_with = "speed")]
    as_fast: bool,
    /// Fraction of the objects to replay, with all their requests, above 0 up to 1
    #[arg(long, value_name = "FRACTION", default_value_t = 1.0)]
    sample: f64,
    /// Maximum number of requests to take from the trace [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Truncate larger objects to this size
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    max_size: ByteSize,
    /// First store all objects of the trace; without it, an earlier replay of the same part must have done so
    #[arg(long)]
    prefill: bool,
    /// Connections of all threads; in an open loop, the maximum of requests in flight
    #[arg(long, value_name = "C", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    #[command(flatten)]
    generator: GeneratorArgs,
}

impl ReplayArgs {
    fn check(&self) -> Result<(), Error> {
        let usage = |advice: &str| Err(Error::Usage(advice.to_owned()));
        if self.target.target == Target::Files {
            return usage(
                "the target files is write-only; to read, run nginx on the directory and use --target nginx",
            );
        }
        if self.prefill && !self.target.target.supports(Kind::Put) {
            return usage(
                "this target is read-only, so nothing can be stored first; leave --prefill out",
            );
        }
        if !(self.speed > 0.0 && self.speed <= 1e9) {
            return usage("--speed is a factor above 0; write 2 to replay an hour in half an hour");
        }
        if !(self.sample > 0.0 && self.sample <= 1.0) {
            return usage(
                "--sample is a fraction above 0 and up to 1; write 0.1 for a tenth of the objects",
            );
        }
        if self.max_size.bytes() == 0 {
            return usage("--max-size must be at least 1 byte");
        }
        Ok(())
    }

    /// Replays the trace.
    ///
    /// # Errors
    /// When the load could not run, or an object of the prefill could not be stored.
    pub fn run(self) -> Result<bool, Error> {
        self.check()?;
        let trace = trace::read(
            &self.file,
            &ReadOptions {
                format: self.format,
                columns: &self.columns,
                time_unit: self.time_unit,
                share: self.sample,
                limit: self.limit.unwrap_or(usize::MAX),
                size_max: self.max_size.bytes(),
            },
        )?;
        let quiet = self.generator.quiet;
        if !quiet {
            let (requests, objects) = (trace.entries.len(), trace.sizes.len());
            eprintln!(
                "{requests} requests for {objects} objects; {} deletes are left out",
                trace.deletes
            );
        }
        let writes = trace.entries.iter().any(|entry| entry.is_write);
        if writes && !self.target.target.supports(Kind::Put) {
            let advice =
                "this target is read-only, and the trace has writes; leave op out of --columns";
            return Err(Error::Usage(advice.to_owned()));
        }
        let shared = Arc::new(self.target.shared(Sizes::Listed(trace.sizes.clone().into()))?);
        let threads = usize::from(self.generator.threads);
        let closed = Plan {
            threads,
            cores: self.generator.core_list(),
            connections: usize::try_from(self.connections).expect("usize has 64 bits").max(threads),
            pipeline: 1,
            pace: Pace::Closed,
            warmup: 0,
            duration: None,
            patience: nanos(self.generator.patience),
            seed: self.target.seed,
        };
        let options = serde_json::to_value(&self).expect("options always serialize");
        let target = self.target.target.name();
        let title = |command| Title { command, target, options: options.clone(), slo_us: None };
        if self.prefill {
            let (next, end) = (Arc::default(), trace.sizes.len() as u64);
            let filled = self.generator.load(
                &title("prefill"),
                Some("prefill"),
                &closed,
                &shared,
                &|_| Box::new(Fill::new(&shared, &next, 0, end, 0)),
            )?;
            if !filled.is_clean() {
                let notes = filled.notes.join("; ");
                return Err(Error::Failed(format!(
                    "cannot store every object of the trace: {notes}"
                )));
            }
        }
        let trace = Arc::new(trace);
        let plan = if self.as_fast { closed } else { Plan { pace: Pace::Trace, ..closed } };
        let summary = self.generator.load(&title("replay"), None, &plan, &shared, &|thread| {
            Box::new(Replay::new(&shared, &trace, thread, threads, self.speed))
        })?;
        self.generator.deliver(&summary)
    }
}
