//! `hayloft-loadgen flood`.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::common::{TargetArgs, nanos, object_count, seconds, see_writable, write};
use crate::error::Error;
use crate::flood::{self, Endured, Flood, Misbehaviour};
use crate::load::make_room;
use crate::operation::Kind;
use crate::sizes::SizesArg;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Options of `flood`.
#[derive(Clone, Debug, Args, Serialize)]
pub struct FloodArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// How clients behave
    #[arg(long, value_enum)]
    kind: Misbehaviour,
    /// Clients at once; a new one takes the place of one that the server ended
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    seconds: f64,
    /// Objects that were filled, which slow readers ask for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = object_count())]
    objects: u64,
    /// Their sizes, as they were filled
    #[arg(long, default_value = "8KiB")]
    sizes: SizesArg,
    /// Write what came of it as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
    /// Print nothing
    #[arg(long)]
    quiet: bool,
}

/// The JSON of a flood.
#[derive(Serialize)]
struct Summary {
    tool: &'static str,
    version: &'static str,
    command: &'static str,
    options: Value,
    seconds: f64,
    opened: u64,
    ended_by_server: u64,
    refused: u64,
    statuses: BTreeMap<u16, u64>,
    life_ms: Lives,
}

/// How long clients lived that the server ended (milliseconds).
#[derive(Serialize)]
struct Lives {
    p50: u64,
    p99: u64,
    max: u64,
}

impl FloodArgs {
    /// Floods.
    ///
    /// # Errors
    /// When it could not run.
    pub fn run(self) -> Result<bool, Error> {
        let target = self.target.target;
        let writes = matches!(self.kind, Misbehaviour::SlowBody | Misbehaviour::Reset);
        let kind = if writes { Kind::Put } else { Kind::Get };
        if !target.takes(kind) {
            let advice = format!(
                "{} takes no {}; choose another --kind or --target",
                target.name(),
                kind.name()
            );
            return Err(Error::Usage(advice));
        }
        see_writable(self.json.as_deref())?;
        let shared = self.target.shared(self.sizes.sizes.clone())?;
        let connections = usize::try_from(self.connections).expect("32 bits");
        make_room(connections)?;
        for endpoint in &shared.endpoints {
            drop(crate::connection::open(endpoint)?);
        }
        let endured = flood::run(Flood {
            kind: self.kind,
            endpoints: shared.endpoints,
            target,
            objects: shared.objects,
            count: self.objects,
            connections,
            duration: nanos(self.seconds),
        })?;
        self.deliver(&endured)?;
        Ok(true)
    }

    fn deliver(&self, endured: &Endured) -> Result<(), Error> {
        let millis = |quantile| endured.lives.value_at_quantile(quantile) / NANOS_PER_MILLI;
        let lives = Lives {
            p50: millis(0.5),
            p99: millis(0.99),
            max: endured.lives.max() / NANOS_PER_MILLI,
        };
        if !self.quiet {
            println!(
                "{} connections, {} ended by the server after {} ms (p50) to {} ms, {} refused; \
                 answers: {:?}",
                endured.opened,
                endured.ended,
                lives.p50,
                lives.max,
                endured.refused,
                endured.statuses
            );
        }
        let summary = Summary {
            tool: "hayloft-loadgen",
            version: env!("CARGO_PKG_VERSION"),
            command: "flood",
            options: serde_json::to_value(self).expect("names and numbers"),
            seconds: self.seconds,
            opened: endured.opened,
            ended_by_server: endured.ended,
            refused: endured.refused,
            statuses: endured.statuses.clone(),
            life_ms: lives,
        };
        write(self.json.as_deref(), || {
            serde_json::to_string_pretty(&summary).expect("names and numbers") + "\n"
        })
    }
}
