//! Export of the table of metrics as OpenMetrics text and as Prometheus text.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::cluster::{ClusterCall, ClusterCallResult};
use super::exposition_format::{ExpositionFormat, prometheus_text};
use super::histogram::{BOUNDS_NS, BUCKETS, Histogram};
use super::label::Label;
use super::metric_row::{MetricRow, MetricSource, PREFIX};
use super::node::Metrics;
use super::table::TABLE;
use super::volume::VolumeMetrics;
use crate::node::board::{DiskState, ShownCompaction, ShownWriteState, VolumeState};

/// Formats [`Metrics`] as text.
#[derive(Debug)]
pub struct Exporter {
    registry: Registry,
}

impl Exporter {
    /// Creates an exporter of `metrics`; `now_ns` returns CLOCK_MONOTONIC in nanoseconds.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, now_ns: fn() -> u64) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(TableCollector { metrics, now_ns }));
        Self { registry }
    }

    /// Formats the present values of all metrics.
    ///
    /// # Errors
    /// Never in practice: writing to a `String` does not fail.
    pub fn text(&self, format: ExpositionFormat) -> Result<String, fmt::Error> {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.registry)?;
        Ok(match format {
            ExpositionFormat::OpenMetrics => out,
            ExpositionFormat::Text => prometheus_text(&out),
        })
    }
}

/// Reads the present values of the rows of the table; stores none.
#[derive(Debug)]
struct TableCollector {
    metrics: Arc<Metrics>,
    now_ns: fn() -> u64,
}

impl Collector for TableCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // One time and one list of volumes for the whole scrape: a volume created or deleted meanwhile is in
        // all of its metrics or in none.
        let scrape = Scrape {
            metrics: &self.metrics,
            volumes: self.metrics.volumes(),
            now_ns: (self.now_ns)(),
        };
        for row in TABLE {
            let samples = encoder.encode_descriptor(row.name, row.help, row.unit, row.kind)?;
            scrape.encode_row(row, samples)?;
        }
        Ok(())
    }
}

struct Scrape<'a> {
    metrics: &'a Metrics,
    volumes: Vec<Arc<VolumeMetrics>>,
    now_ns: u64,
}

impl Scrape<'_> {
    fn encode_row(&self, row: &MetricRow, mut out: MetricEncoder<'_>) -> fmt::Result {
        match &row.source {
            MetricSource::Node(get) => out.encode_gauge(&get(self.metrics)),
            MetricSource::NodeCounter(get) => {
                out.encode_counter::<NoLabelSet, u64, u64>(&get(self.metrics), None)
            }
            MetricSource::ClusterCalls => self.encode_cluster_calls(row, &mut out),
            MetricSource::Build => {
                out.encode_info(&[("version", self.metrics.node.version.as_str())])
            }
            MetricSource::DiskPath
            | MetricSource::DiskState
            | MetricSource::Disk(_)
            | MetricSource::DiskSeconds(_) => self.encode_disks(row, &mut out),
            MetricSource::Volume(_)
            | MetricSource::VolumeRatio(_)
            | MetricSource::VolumePlace
            | MetricSource::VolumeState
            | MetricSource::VolumeWriteState
            | MetricSource::VolumeCompaction => self.encode_volumes(row, &mut out),
            MetricSource::Shard(_)
            | MetricSource::ShardBoard(_)
            | MetricSource::ShardFraction(_)
            | MetricSource::ShardBy { .. }
            | MetricSource::ShardHistogram { .. }
            | MetricSource::ShardSeconds(_)
            | MetricSource::ShardSilence => self.encode_shards(row, &mut out),
        }
    }

    fn encode_cluster_calls(&self, row: &MetricRow, out: &mut MetricEncoder<'_>) -> fmt::Result {
        for call in ClusterCall::ALL {
            for result in ClusterCallResult::ALL {
                let labels =
                    [(ClusterCall::KEY, call.name()), (ClusterCallResult::KEY, result.name())];
                let count = self.metrics.cluster.calls(*result).at(*call).value();
                encode_value(out, row, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_disks(&self, row: &MetricRow, out: &mut MetricEncoder<'_>) -> fmt::Result {
        for (number, disk) in self.metrics.board.disks.iter().enumerate() {
            let number = number.to_string();
            match &row.source {
                MetricSource::DiskPath => {
                    out.encode_info(&[("disk", number.as_str()), ("path", disk.path.as_str())])?;
                }
                MetricSource::Disk(get) => {
                    encode_value(out, row, &[("disk", number.as_str())], get(disk))?;
                }
                MetricSource::DiskSeconds(get) => {
                    let seconds = Duration::from_nanos(get(disk)).as_secs_f64();
                    out.encode_family(&[("disk", number.as_str())])?.encode_gauge(&seconds)?;
                }
                _ => encode_state::<DiskState>(out, ("disk", &number), disk.state.get().index())?,
            }
        }
        Ok(())
    }

    fn encode_volumes(&self, row: &MetricRow, out: &mut MetricEncoder<'_>) -> fmt::Result {
        for volume in &self.volumes {
            let id = volume.board.info.id.to_string();
            match &row.source {
                MetricSource::Volume(get) => {
                    encode_value(out, row, &[("volume", id.as_str())], get(volume))?;
                }
                MetricSource::VolumeRatio(get) => {
                    out.encode_family(&[("volume", id.as_str())])?.encode_gauge(&get(volume))?;
                }
                MetricSource::VolumeState => {
                    let now = volume.board.state.get().index();
                    encode_state::<VolumeState>(out, ("volume", &id), now)?;
                }
                MetricSource::VolumeWriteState => {
                    let now = volume.board.write_state.get().index();
                    encode_state::<ShownWriteState>(out, ("volume", &id), now)?;
                }
                MetricSource::VolumeCompaction => {
                    let now = volume.board.compaction.phase.get().index();
                    encode_state::<ShownCompaction>(out, ("volume", &id), now)?;
                }
                _ => out.encode_info(&[
                    ("volume", id),
                    ("shard", volume.board.info.shard.to_string()),
                    ("disk", volume.board.disk.get().to_string()),
                ])?,
            }
        }
        Ok(())
    }

    fn encode_shards(&self, row: &MetricRow, out: &mut MetricEncoder<'_>) -> fmt::Result {
        for (shard, board) in self.metrics.shards.iter().zip(&self.metrics.board.shards) {
            let id = shard.info.id.to_string();
            let id = ("shard", id.as_str());
            match &row.source {
                MetricSource::Shard(get) => encode_value(out, row, &[id], get(shard))?,
                MetricSource::ShardBoard(get) => encode_value(out, row, &[id], get(board))?,
                MetricSource::ShardFraction(get) => {
                    let labels = [id];
                    let mut sample = out.encode_family(&labels)?;
                    match row.kind {
                        MetricType::Counter => {
                            sample.encode_counter::<NoLabelSet, f64, u64>(&get(shard), None)?;
                        }
                        _ => sample.encode_gauge(&get(shard))?,
                    }
                }
                MetricSource::ShardBy { key, names, get } => {
                    for (i, name) in names.iter().enumerate() {
                        encode_value(out, row, &[id, (*key, *name)], get(shard, i))?;
                    }
                }
                MetricSource::ShardHistogram { key, names, get } => {
                    for (i, name) in names.iter().enumerate() {
                        encode_histogram(out, &[id, (*key, *name)], get(shard, i))?;
                    }
                }
                MetricSource::ShardSeconds(get) => encode_histogram(out, &[id], get(shard))?,
                _ => {
                    let silence = board.silence_ns(self.now_ns, self.metrics.node.started_ns);
                    out.encode_family(&[id])?.encode_gauge(&seconds(silence))?;
                }
            }
        }
        Ok(())
    }
}

fn encode_value(
    out: &mut MetricEncoder<'_>,
    row: &MetricRow,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> fmt::Result {
    let mut sample = out.encode_family(labels)?;
    match row.kind {
        MetricType::Counter => sample.encode_counter::<NoLabelSet, u64, u64>(&value, None),
        _ => sample.encode_gauge(&value),
    }
}

/// Encodes one sample for each state, 1 for the present one and 0 for the others, for counts and alerts in
/// PromQL.
fn encode_state<L: Label>(
    out: &mut MetricEncoder<'_>,
    whose: (&str, &str),
    now: usize,
) -> fmt::Result {
    for (i, name) in L::NAMES.iter().enumerate() {
        out.encode_family(&[whose, (L::KEY, *name)])?.encode_gauge(&u64::from(i == now))?;
    }
    Ok(())
}

fn encode_histogram(
    out: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    histogram: &Histogram,
) -> fmt::Result {
    let snapshot = histogram.snapshot();
    // The encoder makes the counts cumulative.
    let buckets: [(f64, u64); BUCKETS] = std::array::from_fn(|i| {
        let bound = BOUNDS_NS.get(i).map_or(f64::INFINITY, |&ns| seconds(ns));
        (bound, snapshot.counts[i])
    });
    let sum = seconds(snapshot.sum_ns);
    out.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, snapshot.count(), &buckets, None)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests;
