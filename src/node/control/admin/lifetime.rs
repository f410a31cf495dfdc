//! The lifetime of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The lifetime of a connection. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Lifetime {
    began: Instant,
    /// Time until which the connection lives at least, since it began (milliseconds).
    until_ms: Arc<AtomicU64>,
}

impl Lifetime {
    /// Begins a lifetime.
    pub(super) fn new(time: Duration) -> Self {
        let this = Self { began: Instant::now(), until_ms: Arc::default() };
        this.extend(time);
        this
    }

    /// Lets the connection live for this time from now on, unless it may live longer already.
    pub(super) fn extend(&self, time: Duration) {
        let until = (self.began.elapsed() + time).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.until_ms.fetch_max(until, Ordering::Relaxed);
    }

    /// Returns when the connection ends, as far as is known now.
    pub(super) fn end(&self) -> Instant {
        self.began + Duration::from_millis(self.until_ms.load(Ordering::Relaxed))
    }
}
