//! One exported metric: name, unit, type, help, and the source of its values.
//!
//! Names follow the Prometheus conventions. The encoder adds the prefix `hayloft_`, the unit, and the suffix
//! `_total` of a counter or `_info` of an info.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::cluster::{ClusterCall, ClusterCallResult};
use super::histogram::Histogram;
use super::label::Label;
use super::node::Metrics;
use super::shard::ShardMetrics;
use super::volume::VolumeMetrics;
use crate::node::board::{
    DiskBoard, DiskState, ShardBoard, ShownCompaction, ShownWriteState, VolumeState,
};

/// Prefix of all names.
pub(super) const PREFIX: &str = "hayloft";

static BYTES: Unit = Unit::Bytes;
static SECONDS: Unit = Unit::Seconds;

/// One exported metric.
pub(super) struct MetricRow {
    /// Name without prefix and suffixes.
    pub(super) name: &'static str,
    /// Unit of the value, and part of the name.
    pub(super) unit: Option<&'static Unit>,
    /// Type of the metric.
    pub(super) kind: MetricType,
    /// Meaning, in one sentence; without line breaks and backslashes, which the format would escape.
    pub(super) help: &'static str,
    /// Source of the values.
    pub(super) source: MetricSource,
}

/// Source of the values of a row; determines their labels.
pub(super) enum MetricSource {
    /// One value for the daemon.
    Node(fn(&Metrics) -> u64),
    /// One value for the daemon that only rises.
    NodeCounter(fn(&Metrics) -> u64),
    /// The calls of the cluster, by call and result.
    ClusterCalls,
    /// Build information: a constant 1 with the version as label.
    Build,
    /// The path of each data directory, as a label.
    DiskPath,
    /// The state of each data directory: 1 for the state it is in, 0 for the others.
    DiskState,
    /// One value for each data directory.
    Disk(fn(&DiskBoard) -> u64),
    /// For each data directory; the function returns nanoseconds, and the value is in seconds.
    DiskSeconds(fn(&DiskBoard) -> u64),
    /// One value for each shard.
    Shard(fn(&ShardMetrics) -> u64),
    /// One value for each shard, from the board.
    ShardBoard(fn(&ShardBoard) -> u64),
    /// One number with a fraction for each shard.
    ShardFraction(fn(&ShardMetrics) -> f64),
    /// One value for each shard and value of a label.
    ShardBy {
        key: &'static str,
        names: &'static [&'static str],
        get: fn(&ShardMetrics, usize) -> u64,
    },
    /// One histogram for each shard and value of a label.
    ShardHistogram {
        key: &'static str,
        names: &'static [&'static str],
        get: fn(&ShardMetrics, usize) -> &Histogram,
    },
    /// One histogram for each shard.
    ShardSeconds(fn(&ShardMetrics) -> &Histogram),
    /// Seconds since the last event loop iteration of each shard; needs the time of the scrape.
    ShardSilence,
    /// One value for each volume.
    Volume(fn(&VolumeMetrics) -> u64),
    /// One ratio for each volume.
    VolumeRatio(fn(&VolumeMetrics) -> f64),
    /// Shard and disk of each volume, as labels.
    VolumePlace,
    /// The state of each volume: 1 for the state it is in, 0 for the others.
    VolumeState,
    /// The write state of each volume, in the same form.
    VolumeWriteState,
    /// The phase of the compaction of each volume, in the same form.
    VolumeCompaction,
}

impl MetricSource {
    /// Keys of the labels of the values, in order.
    pub(super) fn labels(&self) -> Vec<&'static str> {
        match self {
            Self::Node(_) | Self::NodeCounter(_) => vec![],
            Self::ClusterCalls => vec![ClusterCall::KEY, ClusterCallResult::KEY],
            Self::Build => vec!["version"],
            Self::DiskPath => vec!["disk", "path"],
            Self::DiskState => vec!["disk", DiskState::KEY],
            Self::Disk(_) | Self::DiskSeconds(_) => vec!["disk"],
            Self::Shard(_)
            | Self::ShardBoard(_)
            | Self::ShardFraction(_)
            | Self::ShardSeconds(_)
            | Self::ShardSilence => vec!["shard"],
            Self::ShardBy { key, .. } | Self::ShardHistogram { key, .. } => vec!["shard", key],
            Self::Volume(_) | Self::VolumeRatio(_) => vec!["volume"],
            Self::VolumePlace => vec!["volume", "shard", "disk"],
            Self::VolumeState => vec!["volume", VolumeState::KEY],
            Self::VolumeWriteState => vec!["volume", ShownWriteState::KEY],
            Self::VolumeCompaction => vec!["volume", ShownCompaction::KEY],
        }
    }
}

impl MetricRow {
    /// The same row with a value in bytes.
    pub(super) const fn bytes(self) -> Self {
        Self { unit: Some(&BYTES), ..self }
    }

    /// The same row with a value in seconds.
    pub(super) const fn seconds(self) -> Self {
        Self { unit: Some(&SECONDS), ..self }
    }

    /// The name of the samples; a histogram adds `_bucket`, `_sum` and `_count` to it.
    pub(super) fn full_name(&self) -> String {
        let mut name = format!("{PREFIX}_{}", self.name);
        if let Some(unit) = self.unit {
            name.push('_');
            name.push_str(unit.as_str());
        }
        match self.kind {
            MetricType::Counter => name.push_str("_total"),
            MetricType::Info => name.push_str("_info"),
            _ => {}
        }
        name
    }
}
