//! Reading of counters and gauges.

use super::counter::Counter;
use super::gauge::Gauge;

/// Reading of a number. A trait of its own, so that reading takes an import, which `tests/tidy.rs` allows to
/// the export and the control plane only: what the program decides on is on the board
/// ([`crate::node::board`]), and a metric is never read to decide.
pub trait ReadMetric {
    /// The value now; callable from any thread.
    #[must_use]
    fn get(&self) -> u64;
}

impl ReadMetric for Counter {
    fn get(&self) -> u64 {
        self.value()
    }
}

impl ReadMetric for Gauge {
    fn get(&self) -> u64 {
        self.value()
    }
}
