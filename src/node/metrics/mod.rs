//! Counters of the daemon, and their export.
//!
//! This is the one exception to share-nothing (docs/ARCHITECTURE.md): a shard writes its own numbers with
//! relaxed stores, and the admin thread reads them with relaxed loads. No message is sent for that, so the
//! numbers can be read while a shard hangs, which is when they matter most.
//!
//! | file | holds |
//! | --- | --- |
//! | `counter`, `gauge` | [`Counter`], [`Gauge`]: single writer, many readers |
//! | `histogram` | [`Histogram`]: latencies in fixed buckets |
//! | `label` | numbers indexed by the values of a label |
//! | `read_metric` | [`ReadMetric`]: reading, which is for export and control only |
//! | `responses` | responses by status |
//! | `shard`, `volume` | the numbers of a shard and of a volume |
//! | `compaction` | totals of the compactions of a shard |
//! | `cluster` | the numbers of the node in its cluster |
//! | `node` | [`Metrics`]: all numbers of a daemon |
//! | `metric_row` | an exported metric: name, type, labels, help, source of the value |
//! | `table` | the list of exported metrics |
//! | `export` | that list as text |
//! | `exposition_format` | the formats of that text |
//! | `reference` | that list as `docs/METRICS.md` |
//! | `exposition` | a parser of the exported text, for tests |

mod cluster;
mod compaction;
mod counter;
mod export;
mod exposition_format;
mod gauge;
mod histogram;
mod label;
mod metric_row;
mod node;
mod read_metric;
mod reference;
mod responses;
mod shard;
mod table;
mod volume;

#[cfg(test)]
pub(crate) mod exposition;

pub use cluster::{ClusterCall, ClusterCallResult, ClusterMetrics};
pub use compaction::CompactionTotals;
pub use counter::Counter;
pub use export::Exporter;
pub use exposition_format::ExpositionFormat;
pub use gauge::Gauge;
pub use histogram::{BOUNDS_NS, BUCKETS, Histogram, HistogramSnapshot};
pub use label::{CounterBy, HistogramBy, Label};
pub use node::{Metrics, NodeInfo};
pub use read_metric::ReadMetric;
pub use reference::markdown;
pub use responses::{Responses, STATUSES, StatusClass};
pub use shard::{AdmissionRefusal, GetPhase, MethodGroup, MethodLabel, ShardMetrics, TimeoutKind};
pub use volume::VolumeMetrics;
