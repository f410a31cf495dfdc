//! Source of a fill: every object once, in order, distributed over the threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::operation::{Kind, Request, Source};
use crate::plan::Shared;

/// Writes of the objects `first..end`.
pub struct Fill {
    shared: Arc<Shared>,
    next: Arc<AtomicU64>,
    first: u64,
    end: u64,
    /// Objects per batch put; 0 for single PUTs.
    batch: u64,
}

impl Fill {
    /// Source of one thread; the counter `next` is shared by all and starts at 0.
    #[must_use]
    pub fn new(
        shared: &Arc<Shared>,
        next: &Arc<AtomicU64>,
        first: u64,
        end: u64,
        batch: u64,
    ) -> Self {
        Self { shared: Arc::clone(shared), next: Arc::clone(next), first, end, batch }
    }

    fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Next batch put: up to `batch` consecutive objects of a volume. Each object is in exactly one batch.
    fn next_batch(&self) -> Option<Request> {
        let objects = &self.shared.objects;
        let volumes = objects.volumes.len() as u64;
        loop {
            let number = self.take();
            let (slot, group) = (number % volumes, number / volumes);
            let nths = group * self.batch..(group + 1) * self.batch;
            let first = nths.clone().find(|nth| objects.index_in_volume(slot, *nth) >= self.first);
            let inside = |nth: &u64| objects.index_in_volume(slot, *nth) < self.end;
            let Some(first) = first.filter(inside) else {
                // The first volume of the list has the lowest object numbers of a group.
                if objects.index_in_volume(0, nths.start) >= self.end {
                    return None;
                }
                continue;
            };
            let count = (first..nths.end).take_while(inside).count() as u64;
            let mut object = objects.get(objects.index_in_volume(slot, first));
            let sizes = (first..first + count)
                .map(|nth| objects.get(objects.index_in_volume(slot, nth)).size);
            object.size = sizes.sum();
            return Some(Request {
                batch: (slot, first, count),
                ..Request::new(Kind::Batch, object)
            });
        }
    }
}

impl Source for Fill {
    fn next(&mut self, _endpoint: Option<usize>) -> Option<Request> {
        if self.batch > 0 {
            return self.next_batch();
        }
        let index = self.first + self.take();
        (index < self.end).then(|| Request::new(Kind::Put, self.shared.objects.get(index)))
    }

    /// A later run expects every object of the fill to be stored.
    fn retries_refused(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use crate::object::{Keys, Objects};
    use crate::plan::Verify;
    use crate::sizes::Sizes;
    use crate::target::Target;

    fn shared(alts: u32, volumes: &[u32]) -> Arc<Shared> {
        let sizes = Sizes::Fixed(10);
        Arc::new(Shared {
            target: Target::Hayloft,
            endpoints: Vec::new(),
            routes: std::collections::BTreeMap::new(),
            objects: Objects {
                seed: 1,
                keys: Keys::Random,
                alts,
                volumes: volumes.to_vec(),
                sizes,
            },
            content: Content::new(),
            verify: Verify::Full,
            fsync: false,
        })
    }

    #[test]
    fn threads_together_write_every_object_once() {
        let (shared, next) = (shared(1, &[1]), Arc::default());
        let mut fills = [0, 1].map(|_| Fill::new(&shared, &next, 5, 105, 0));
        let mut seen = Vec::new();
        while let Some(request) = fills[seen.len() % 2].next(None) {
            seen.push(request.object.index);
        }
        assert_eq!(seen, (5..105).collect::<Vec<_>>());
        assert!(fills[0].next(None).is_none() && fills[1].next(None).is_none());
    }

    #[test]
    fn batches_contain_every_object_once_and_one_volume_each() {
        for (alts, volumes, first, end) in [
            (1, &[1][..], 0, 100),
            (3, &[1, 2, 9], 0, 100),
            (2, &[4, 5], 7, 101),
            (1, &[1, 2, 3], 98, 100),
        ] {
            let (shared, next) = (shared(alts, volumes), Arc::default());
            let mut fill = Fill::new(&shared, &next, first, end, 16);
            let mut seen = Vec::new();
            while let Some(request) = fill.next(None) {
                let (slot, first, count) = request.batch;
                assert!((1..=16).contains(&count));
                assert_eq!(request.object.size, 10 * count);
                for nth in first..first + count {
                    let index = shared.objects.index_in_volume(slot, nth);
                    assert_eq!(shared.objects.get(index).volume, request.object.volume);
                    seen.push(index);
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (first..end).collect::<Vec<_>>(), "{alts} {volumes:?}");
        }
    }
}
