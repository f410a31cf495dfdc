//! `hayloft-loadgen flood`.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::common::{TargetArgs, check_writable, nanos, object_count, seconds, write};
use crate::error::Error;
use crate::flood::{self, Flood, FloodResult, Misbehaviour};
use crate::load::raise_file_limit;
use crate::operation::Kind;
use crate::sizes::SizesArg;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Options of `flood`.
#[derive(Clone, Debug, Args, Serialize)]
pub struct FloodArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Behaviour of the clients
    #[arg(long, value_enum)]
    kind: Misbehaviour,
    /// Concurrent clients; when the server closes one, a new one connects
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Duration of the flood
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    seconds: f64,
    /// Number of stored objects that slow readers request
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = object_count())]
    objects: u64,
    /// Object sizes, as given to fill
    #[arg(long, default_value = "8KiB")]
    sizes: SizesArg,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
    /// Print nothing
    #[arg(long)]
    quiet: bool,
}

/// JSON result of a flood.
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
    life_ms: Lifetimes,
}

/// Lifetimes of connections that the server closed (milliseconds).
#[derive(Serialize)]
struct Lifetimes {
    p50: u64,
    p99: u64,
    max: u64,
}

impl FloodArgs {
    /// Runs the flood.
    ///
    /// # Errors
    /// When the flood could not run.
    pub fn run(self) -> Result<bool, Error> {
        let target = self.target.target;
        let writes = matches!(self.kind, Misbehaviour::SlowBody | Misbehaviour::Reset);
        let kind = if writes { Kind::Put } else { Kind::Get };
        if !target.supports(kind) {
            let advice = format!(
                "{} does not support {}; choose another --kind or --target",
                target.name(),
                kind.name()
            );
            return Err(Error::Usage(advice));
        }
        check_writable(self.json.as_deref())?;
        let shared = self.target.shared(self.sizes.sizes.clone())?;
        let connections = usize::try_from(self.connections).expect("usize has 64 bits");
        raise_file_limit(connections)?;
        for endpoint in &shared.endpoints {
            drop(crate::connection::open(endpoint)?);
        }
        let result = flood::run(Flood {
            kind: self.kind,
            endpoints: shared.endpoints,
            target,
            objects: shared.objects,
            count: self.objects,
            connections,
            duration: nanos(self.seconds),
        })?;
        self.deliver(&result)?;
        Ok(true)
    }

    fn deliver(&self, result: &FloodResult) -> Result<(), Error> {
        let millis = |quantile| result.lifetimes.value_at_quantile(quantile) / NANOS_PER_MILLI;
        let lifetimes = Lifetimes {
            p50: millis(0.5),
            p99: millis(0.99),
            max: result.lifetimes.max() / NANOS_PER_MILLI,
        };
        if !self.quiet {
            println!(
                "{} connections, {} closed by the server after {} ms (p50) to {} ms, {} not connected; \
                     responses by status: {:?}",
                result.opened,
                result.ended,
                lifetimes.p50,
                lifetimes.max,
                result.refused,
                result.statuses
            );
        }
        let summary = Summary {
            tool: "hayloft-loadgen",
            version: env!("CARGO_PKG_VERSION"),
            command: "flood",
            options: serde_json::to_value(self).expect("options always serialize"),
            seconds: self.seconds,
            opened: result.opened,
            ended_by_server: result.ended,
            refused: result.refused,
            statuses: result.statuses.clone(),
            life_ms: lifetimes,
        };
        write(self.json.as_deref(), || {
            serde_json::to_string_pretty(&summary).expect("a summary always serializes") + "\n"
        })
    }
}
