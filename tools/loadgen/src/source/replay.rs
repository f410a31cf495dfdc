//! Source of a replay: the requests of a trace in its order; all requests for an object come from one thread.

use std::sync::Arc;

use crate::operation::{Kind, Request, Source};
use crate::plan::Shared;
use crate::trace::{Trace, TraceEntry};

/// Source of one thread.
pub struct Replay {
    shared: Arc<Shared>,
    trace: Arc<Trace>,
    at: usize,
    thread: u32,
    threads: u32,
    speed: f64,
}

impl Replay {
    /// Creates the source of thread `thread` of `threads`. `speed` is the speed-up relative to the trace
    /// (above 0).
    #[must_use]
    pub fn new(
        shared: &Arc<Shared>,
        trace: &Arc<Trace>,
        thread: usize,
        threads: usize,
        speed: f64,
    ) -> Self {
        let few = |number| u32::try_from(number).expect("at most 1024 threads");
        let (shared, trace) = (Arc::clone(shared), Arc::clone(trace));
        let mut replay =
            Self { shared, trace, at: 0, thread: few(thread), threads: few(threads), speed };
        replay.skip();
        replay
    }

    fn entry(&self) -> Option<&TraceEntry> {
        self.trace.entries.get(self.at)
    }

    /// Skips requests of other threads.
    fn skip(&mut self) {
        while self.entry().is_some_and(|entry| entry.object % self.threads != self.thread) {
            self.at += 1;
        }
    }
}

impl Source for Replay {
    fn next(&mut self, _endpoint: Option<usize>) -> Option<Request> {
        let TraceEntry { object, is_write, .. } = *self.entry()?;
        self.at += 1;
        self.skip();
        let kind = if is_write { Kind::Put } else { Kind::Get };
        Some(Request::new(kind, self.shared.objects.get(u64::from(object))))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and saturates"
    )]
    #[expect(clippy::cast_precision_loss, reason = "times of a trace are far below 2^53")]
    fn due(&self) -> Option<u64> {
        self.entry().map(|entry| (entry.time as f64 / self.speed) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::content::Content;
    use crate::object::{Keys, Objects};
    use crate::plan::Verify;
    use crate::sizes::Sizes;
    use crate::target::Target;

    #[test]
    fn threads_partition_the_objects_and_keep_the_order() {
        let entry = |time, object| TraceEntry { time, object, is_write: object == 2 };
        let entries = vec![entry(0, 0), entry(10, 1), entry(20, 2), entry(30, 0), entry(40, 3)];
        let trace = Arc::new(Trace { entries, sizes: vec![10, 20, 30, 40], deletes: 0 });
        let sizes = Sizes::Listed(trace.sizes.clone().into());
        let shared = Arc::new(Shared {
            target: Target::Hayloft,
            endpoints: Vec::new(),
            routes: BTreeMap::new(),
            objects: Objects { seed: 1, keys: Keys::Random, alts: 1, volumes: vec![1], sizes },
            content: Content::new(),
            verify: Verify::Full,
            fsync: false,
        });
        let replayed = |thread| {
            let mut replay = Replay::new(&shared, &trace, thread, 2, 2.0);
            let mut seen = Vec::new();
            while let Some(due) = replay.due() {
                let Request { kind, object, .. } = replay.next(None).unwrap();
                seen.push((due, object.index, object.size, kind));
            }
            assert!(replay.next(None).is_none());
            seen
        };
        assert_eq!(
            replayed(0),
            [(0, 0, 10, Kind::Get), (10, 2, 30, Kind::Put), (15, 0, 10, Kind::Get)]
        );
        assert_eq!(replayed(1), [(5, 1, 20, Kind::Get), (20, 3, 40, Kind::Get)]);
    }
}
