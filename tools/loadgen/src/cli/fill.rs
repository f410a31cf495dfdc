//! `hayloft-loadgen fill`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::common::{GeneratorArgs, TargetArgs, nanos, object_count};
use crate::content::Content;
use crate::error::Error;
use crate::plan::{Pace, Plan};
use crate::report::summary::Title;
use crate::sizes::SizesArg;
use crate::source::fill::Fill;
use crate::target::Target;
use crate::tree;

/// Options of `fill`.
#[derive(Clone, Debug, Args, Serialize)]
pub struct FillArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Objects to store
    #[arg(long, value_name = "N", value_parser = object_count())]
    objects: u64,
    /// Number of the first object, to resume or extend a fill
    #[arg(long, value_name = "I", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(..1 << 61))]
    first: u64,
    /// Object sizes: SIZE, mix:8KiB=70,64KiB=30, lognormal:MEDIAN,SIGMA,MIN,MAX (the last two are optional)
    /// or file:PATH (lines of size and weight)
    #[arg(long, default_value = "8KiB")]
    sizes: SizesArg,
    /// Connections of all threads, one request in flight each
    #[arg(long, value_name = "C", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Objects per batch put (Hayloft only) [default: single PUTs]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=1000))]
    batch: Option<u64>,
    /// Directory to write to (--target files only)
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    generator: GeneratorArgs,
}

impl FillArgs {
    /// Stores the objects.
    ///
    /// # Errors
    /// When the load could not run.
    pub fn run(self) -> Result<bool, Error> {
        let target = self.target.target;
        let threads = usize::from(self.generator.threads);
        match (target, &self.dir) {
            (Target::Files, Some(dir)) => return self.fill_tree(dir, threads),
            (Target::Files, None) => {
                return Err(Error::Usage(
                    "--target files needs a directory to write to; add --dir DIR".to_owned(),
                ));
            }
            (Target::Nginx, _) => {
                let advice =
                    "nginx is read-only; fill its root directory with --target files --dir DIR";
                return Err(Error::Usage(advice.to_owned()));
            }
            (_, Some(_)) => {
                return Err(Error::Usage(
                    "--dir is for --target files only; leave it out".to_owned(),
                ));
            }
            _ => {}
        }
        if self.batch.is_some() && target != Target::Hayloft {
            return Err(Error::Usage(format!(
                "{} has no batch put; leave --batch out",
                target.name()
            )));
        }
        let plan = Plan {
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
        let shared = Arc::new(self.target.shared(self.sizes.sizes.clone())?);
        let options = serde_json::to_value(&self).expect("options always serialize");
        let title = Title { command: "fill", target: target.name(), options, slo_us: None };
        let (next, end) = (Arc::default(), self.first + self.objects);
        let batch = self.batch.unwrap_or(0);
        let summary = self.generator.load(&title, None, &plan, &shared, &|_| {
            Box::new(Fill::new(&shared, &next, self.first, end, batch))
        })?;
        self.generator.deliver(&summary)
    }

    fn fill_tree(&self, dir: &std::path::Path, threads: usize) -> Result<bool, Error> {
        let objects = self.target.objects(self.sizes.sizes.clone());
        let (content, end) = (Arc::new(Content::new()), self.first + self.objects);
        let written = tree::fill(dir, &objects, &content, self.first, end, threads)?;
        if !self.generator.quiet {
            let size = hayloft::base::size::rounded(written.bytes);
            println!("{} files, {size}, in {:.1} s", written.files, written.seconds);
        }
        Ok(true)
    }
}
