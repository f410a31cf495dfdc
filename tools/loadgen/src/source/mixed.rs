//! Source of a run: a pseudo-random stream of operations on stored objects, identical for all targets with
//! the same seed and stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hayloft::base::sys::wall_ns;

use crate::operation::{Effect, Kind, Mix, Request, Source};
use crate::plan::Shared;
use crate::popularity::{Popularity, PopularityArg};
use crate::random::Random;
use crate::source::versions::Versions;

/// Domain separator for the draws of operations.
const PURPOSE: u64 = 0x0915;
/// Maximum number of draws until an operation is suitable: not on an object with a write in flight, and for
/// the connection's shard. Bounded, since there may be none, and the thread has answers to receive.
const DRAWS: usize = 1000;

/// Parameters of a stream.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Number of stored objects, at least 1.
    pub count: u64,
    /// Popularity distribution of the objects.
    pub popularity: PopularityArg,
    /// Proportions of the operations.
    pub mix: Mix,
    /// Fraction of GETs for objects that are not stored: 0 to 1.
    pub missing: f64,
    /// Length of range reads (bytes, at least 1).
    pub range_len: u64,
    /// Seed of the draws; the objects themselves follow from another seed.
    pub stream: u64,
}

/// Source of one thread.
pub struct Mixed {
    shared: Arc<Shared>,
    options: StreamOptions,
    popularity: Popularity,
    random: Random,
    /// Next new object to write, and the distance to the one after it: threads write disjoint sets.
    fresh: u64,
    stride: u64,
    /// Objects written by this thread, oldest first, if the mix has no DELETE.
    written: VecDeque<u64>,
    /// Objects written by this thread that may be deleted, by the endpoint of their volume.
    deletable: BTreeMap<Option<usize>, VecDeque<u64>>,
    /// Versions of the stored objects, if these are overwritten instead of writing new ones.
    versions: Option<Arc<Versions>>,
}

impl Mixed {
    /// Creates the source of thread `thread` of `threads`.
    #[must_use]
    pub fn new(
        shared: &Arc<Shared>,
        options: &StreamOptions,
        versions: Option<&Arc<Versions>>,
        thread: usize,
        threads: usize,
    ) -> Self {
        let seed = shared.objects.seed;
        Self {
            shared: Arc::clone(shared),
            popularity: Popularity::new(options.popularity, options.count, seed),
            options: options.clone(),
            random: Random::new(options.stream, PURPOSE + thread as u64),
            fresh: options.count + thread as u64,
            stride: threads as u64,
            written: VecDeque::new(),
            deletable: BTreeMap::new(),
            versions: versions.cloned(),
        }
    }

    fn draw(&mut self, endpoint: Option<usize>) -> Request {
        match self.options.mix.at(self.random.fraction()) {
            Kind::Put => self.put(),
            Kind::Delete => match self.deleted(endpoint) {
                Some(index) => Request::new(Kind::Delete, self.shared.objects.get(index)),
                // Nothing to delete yet: write an object that can be deleted later.
                None => self.put(),
            },
            Kind::Range => self.range(),
            Kind::Get | Kind::Batch => self.get(),
        }
    }

    /// Removes and returns the oldest deletable object of `endpoint`, or of any.
    fn deleted(&mut self, endpoint: Option<usize>) -> Option<u64> {
        let wanted = |there: Option<usize>| endpoint.is_none() || there == endpoint;
        let lists = self.deletable.iter_mut().filter(|(there, _)| wanted(**there));
        lists
            .map(|(_, list)| list)
            .min_by_key(|list| list.front().copied().unwrap_or(u64::MAX))?
            .pop_front()
    }

    fn deletable(&mut self, request: &Request) -> &mut VecDeque<u64> {
        let endpoint = self.shared.endpoint_of(request.object.volume);
        self.deletable.entry(endpoint).or_default()
    }

    fn get(&mut self) -> Request {
        let objects = &self.shared.objects;
        if self.options.missing > 0.0 && self.random.fraction() < self.options.missing {
            let object = objects.missing(self.random.next());
            return Request { is_missing: true, ..Request::new(Kind::Get, object) };
        }
        let index = self.pick();
        self.get_of(index)
    }

    fn get_of(&self, index: u64) -> Request {
        let version = self.versions.as_ref().map_or(0, |versions| versions.oldest(index));
        Request { version, ..Request::new(Kind::Get, self.shared.objects.get(index)) }
    }

    /// Objects that may be deleted are not read: the answer would depend on the order of the operations.
    fn pick(&mut self) -> u64 {
        self.popularity.pick(&mut self.random, &self.written)
    }

    /// A read of a stored object of `endpoint`, the next one after a popular object.
    fn nearby(&mut self, endpoint: Option<usize>) -> Option<Request> {
        let objects = &self.shared.objects;
        let round = objects.volumes.len() as u64 * u64::from(objects.alts);
        let (first, count) = (self.pick(), self.options.count);
        // One round of objects covers all volumes; two, since the last round may be incomplete.
        let mut found = (0..count.min(2 * round)).map(|step| self.get_of((first + step) % count));
        found.find(|it| self.shared.endpoint_of(it.object.volume) == endpoint)
    }

    fn range(&mut self) -> Request {
        let index = self.pick();
        let object = self.shared.objects.get(index);
        let len = self.options.range_len.min(object.size);
        let start = self.random.below(object.size - len + 1);
        Request { range: (start, len), ..Request::new(Kind::Range, object) }
    }

    fn put(&mut self) -> Request {
        let Some(versions) = self.versions.clone() else {
            let object = self.shared.objects.get(self.fresh);
            self.fresh += self.stride;
            return Request::new(Kind::Put, object);
        };
        let mut drawn = (0..DRAWS).map(|_| self.random.below(self.options.count));
        let Some(index) = drawn.find(|index| versions.begin(*index)) else {
            // Many writes are queued, or have an unknown effect.
            return self.get();
        };
        Request { version: wall_ns(), ..Request::new(Kind::Put, self.shared.objects.get(index)) }
    }
}

impl Source for Mixed {
    fn next(&mut self, endpoint: Option<usize>) -> Option<Request> {
        for _ in 0..DRAWS {
            let request = self.draw(endpoint);
            let there = self.shared.endpoint_of(request.object.volume);
            if endpoint.is_none() || there == endpoint {
                return Some(request);
            }
            self.settle(&request, Effect::NotApplied);
        }
        self.nearby(endpoint)
    }

    fn settle(&mut self, request: &Request, effect: Effect) {
        match (request.kind, effect, &self.versions) {
            (Kind::Put, Effect::Applied, Some(versions)) => {
                versions.written(request.object.index, request.version);
            }
            (Kind::Put, Effect::NotApplied, Some(versions)) => {
                versions.refused(request.object.index)
            }
            (Kind::Put, Effect::Applied, None) if self.options.mix.has(Kind::Delete) => {
                self.deletable(request).push_back(request.object.index);
            }
            (Kind::Put, Effect::Applied, None) => self.written.push_back(request.object.index),
            (Kind::Delete, Effect::NotApplied, _) => {
                self.deletable(request).push_front(request.object.index);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::content::Content;
    use crate::object::{Keys, Object, Objects};
    use crate::plan::Verify;
    use crate::sizes::Sizes;
    use crate::target::Target;

    fn shared(volumes: &[u32], routes: &[(u32, usize)]) -> Arc<Shared> {
        let sizes = Sizes::Fixed(1000);
        Arc::new(Shared {
            target: Target::Hayloft,
            endpoints: Vec::new(),
            routes: BTreeMap::from_iter(routes.iter().copied()),
            objects: Objects {
                seed: 1,
                keys: Keys::Random,
                alts: 1,
                volumes: volumes.to_vec(),
                sizes,
            },
            content: Content::new(),
            verify: Verify::Full,
            fsync: false,
        })
    }

    fn options(mix: &str, missing: f64) -> StreamOptions {
        let (popularity, mix) = (PopularityArg::Zipf(0.9), mix.parse().unwrap());
        StreamOptions { count: 100, popularity, mix, missing, range_len: 300, stream: 1 }
    }

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        let stream = || {
            let mut mixed =
                Mixed::new(&shared(&[1], &[]), &options("get=8,put=1,range=1", 0.3), None, 0, 2);
            (0..1000).map(|_| mixed.next(None).unwrap()).collect::<Vec<_>>()
        };
        let requests = stream();
        assert_eq!(requests, stream());
        let missing = requests.iter().filter(|request| request.is_missing).count();
        assert!((180..300).contains(&missing), "{missing}");
        for request in requests.iter().filter(|request| request.kind == Kind::Range) {
            assert!(request.range.1 == 300 && request.range.0 <= 700);
        }
    }

    /// Otherwise the server would answer a repeated stream from its page cache.
    #[test]
    fn streams_differ_in_requests_but_not_in_content_and_popularity() {
        let (shared, plain) = (shared(&[1], &[]), options("get=1", 0.0));
        let asked = |stream| {
            let options = StreamOptions { stream, ..plain.clone() };
            let mut mixed = Mixed::new(&shared, &options, None, 0, 1);
            (0..10_000).map(|_| mixed.next(None).unwrap().object).collect::<Vec<_>>()
        };
        let (one, other) = (asked(1), asked(2));
        let same = one.iter().zip(&other).filter(|(one, other)| one.index == other.index).count();
        assert!(same < 2000, "{same} of 10000 requests are equal");
        assert!(other.iter().all(|object| *object == shared.objects.get(object.index)));
        let favourite = |objects: &[Object]| {
            let times = |index| objects.iter().filter(|object| object.index == index).count();
            (0..100).max_by_key(|index| times(*index))
        };
        assert_eq!(
            favourite(&one),
            favourite(&other),
            "popularity follows from the seed, not the stream"
        );
    }

    #[test]
    fn threads_write_different_objects_and_delete_only_their_own() {
        let shared = shared(&[1], &[]);
        let mut written = HashSet::new();
        for thread in 0..2 {
            let mut mixed = Mixed::new(&shared, &options("put=2,delete=1", 0.0), None, thread, 2);
            let mut there = HashSet::new();
            for _ in 0..300 {
                let request = mixed.next(None).unwrap();
                let index = request.object.index;
                mixed.settle(&request, Effect::Applied);
                if request.kind == Kind::Put {
                    assert!(index >= 100 && written.insert(index) && there.insert(index));
                } else {
                    assert!(request.kind == Kind::Delete && there.remove(&index));
                }
            }
        }
    }

    #[test]
    fn an_overwrite_raises_the_version_expected_by_reads() {
        let (shared, versions) = (shared(&[1], &[]), Arc::new(Versions::new(100)));
        let mut mixed = Mixed::new(&shared, &options("put=1", 0.0), Some(&versions), 0, 1);
        let request = mixed.next(None).unwrap();
        assert!(request.object.index < 100 && request.version > 0);
        assert_eq!(versions.oldest(request.object.index), 0);
        mixed.settle(&request, Effect::Applied);
        assert_eq!(versions.oldest(request.object.index), request.version);
    }

    #[test]
    fn a_routed_connection_gets_requests_for_its_shard() {
        let shared = shared(&[1, 2], &[(1, 0), (2, 1)]);
        let mut mixed = Mixed::new(&shared, &options("get=1,put=1", 0.5), None, 0, 1);
        for _ in 0..100 {
            assert_eq!(mixed.next(Some(1)).unwrap().object.volume, 2);
        }
    }

    #[test]
    fn with_writes_in_flight_on_every_object_a_put_becomes_a_get() {
        let (shared, versions) = (shared(&[1], &[]), Arc::new(Versions::new(100)));
        let mut mixed = Mixed::new(&shared, &options("put=1", 0.0), Some(&versions), 0, 1);
        for index in 0..100 {
            assert!(versions.begin(index));
        }
        assert_eq!(mixed.next(None).unwrap().kind, Kind::Get);
        versions.refused(7);
        let written = (0..100).map(|_| mixed.next(None).unwrap()).find(|it| it.kind == Kind::Put);
        assert_eq!(written.unwrap().object.index, 7);
    }

    #[test]
    fn a_routed_connection_deletes_objects_of_its_shard() {
        let shared = shared(&[1, 2], &[(1, 0), (2, 1)]);
        let mut mixed = Mixed::new(&shared, &options("delete=1", 0.0), None, 0, 1);
        let put = mixed.next(Some(0)).unwrap();
        assert_eq!((put.kind, put.object.volume), (Kind::Put, 1));
        mixed.settle(&put, Effect::Applied);
        let other = mixed.next(Some(1)).unwrap();
        assert_eq!((other.kind, other.object.volume), (Kind::Put, 2));
        mixed.settle(&other, Effect::Applied);
        for (endpoint, written) in [(1, other), (0, put)] {
            let delete = mixed.next(Some(endpoint)).unwrap();
            assert_eq!((delete.kind, delete.object), (Kind::Delete, written.object));
            mixed.settle(&delete, Effect::NotApplied);
        }
        // Without an endpoint the oldest object is deleted.
        assert_eq!(mixed.next(None).unwrap().object, put.object);
    }

    #[test]
    fn a_shard_without_popular_objects_gets_reads_of_others() {
        let shared = shared(&[1, 2], &[(1, 0), (2, 1)]);
        for (count, volume) in [(100, Some(2)), (1, None)] {
            let options = StreamOptions {
                count,
                popularity: PopularityArg::Zipf(20.0),
                ..options("get=1", 0.0)
            };
            let mut mixed = Mixed::new(&shared, &options, None, 0, 1);
            for endpoint in [0, 1] {
                let found = mixed.next(Some(endpoint)).map(|request| request.object.volume);
                assert_eq!(found, if endpoint == 0 { Some(1) } else { volume });
            }
        }
    }
}
