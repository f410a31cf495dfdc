//! What a load is: where to, how many connections, for how long; and what all its threads share.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use clap::ValueEnum;
use serde::Serialize;

use crate::content::Content;
use crate::object::Objects;
use crate::schedule::{Arrivals, Schedule};
use crate::target::Target;

const SECOND: u64 = 1_000_000_000;

/// How much of a body is compared with what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Every byte.
    Full,
    /// Its length, and the stamp at its beginning.
    Head,
    /// Its length.
    None,
}

/// A server's address, and how it is called in `Host`.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where to connect to.
    pub address: SocketAddr,
    /// `HOST:PORT`.
    pub host: String,
}

/// What all threads share.
pub struct Shared {
    /// What is put under load.
    pub target: Target,
    /// Connections are spread over them.
    pub endpoints: Vec<Endpoint>,
    /// Which endpoint the requests for a volume go to; empty when any will do.
    pub routes: BTreeMap<u32, usize>,
    /// The objects.
    pub objects: Objects,
    /// Their content.
    pub content: Content,
    /// How much of it is compared.
    pub verify: Verify,
    /// Whether SeaweedFS is asked to make writes durable.
    pub fsync: bool,
}

impl Shared {
    /// Whether requests for a volume go to an endpoint of its own.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        !self.routes.is_empty()
    }

    /// That endpoint.
    #[must_use]
    pub fn endpoint_of(&self, volume: u32) -> Option<usize> {
        self.routes.get(&volume).copied()
    }
}

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// A closed loop: each connection asks again when it was answered.
    Closed,
    /// An open loop: so many requests per second.
    Rate(f64, Arrivals),
    /// An open loop: at the times of a trace.
    Trace,
}

/// A load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Threads, at least 1.
    pub threads: usize,
    /// The cores that they are pinned to, in turn; none when empty.
    pub cores: Vec<usize>,
    /// Connections of all threads.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub pipeline: usize,
    /// How requests come.
    pub pace: Pace,
    /// Before the measured time (nanoseconds).
    pub warmup: u64,
    /// The measured time (nanoseconds); until there are no more requests if not given.
    pub duration: Option<u64>,
    /// How long answers are waited for at the end (nanoseconds).
    pub patience: u64,
    /// Decides when requests of a Poisson process arrive.
    pub seed: u64,
}

impl Plan {
    /// The core of a thread.
    #[must_use]
    pub fn core(&self, thread: usize) -> Option<usize> {
        self.cores.get(thread % self.cores.len().max(1)).copied()
    }

    /// Whether requests come whether or not there were answers.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.pace != Pace::Closed
    }

    /// The endpoints of a thread's connections, one for each: together they spread evenly.
    #[must_use]
    pub fn endpoints_of(&self, thread: usize, endpoints: usize) -> Vec<usize> {
        // Every thread gets neighbours, so that with as many endpoints as threads each thread has all.
        let (first, end) = (
            thread * self.connections / self.threads,
            (thread + 1) * self.connections / self.threads,
        );
        (first..end).map(|connection| connection % endpoints).collect()
    }

    /// The schedule of a thread, if there is a rate.
    #[must_use]
    pub fn schedule(&self, thread: usize) -> Option<Schedule> {
        let Pace::Rate(rate, arrivals) = self.pace else { return None };
        Some(Schedule::new(arrivals, rate, self.seed, thread, self.threads))
    }

    /// Its times when it starts at `start` (nanoseconds of the monotonic clock).
    #[must_use]
    pub fn times(&self, start: u64) -> Times {
        let begin = start + self.warmup;
        let end = self.duration.map_or(u64::MAX, |duration| begin + duration);
        Times { start, begin, end, patience: self.patience }
    }
}

/// The times of a load (nanoseconds of the monotonic clock).
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When it starts.
    pub start: u64,
    /// When it begins to be measured.
    pub begin: u64,
    /// When that ends.
    pub end: u64,
    /// How long answers are waited for after the end.
    pub patience: u64,
}

impl Times {
    /// Whether a time is in the measured time.
    #[must_use]
    pub fn measures(&self, time: u64) -> bool {
        (self.begin..self.end).contains(&time)
    }

    /// The number of the second that a time is in, from the beginning of the measured time on.
    #[must_use]
    pub fn second(&self, time: u64) -> i64 {
        let since = i128::from(time) - i128::from(self.begin);
        i64::try_from(since.div_euclid(i128::from(SECOND))).expect("a time of this century")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_over_threads_and_endpoints() {
        let plan = Plan {
            threads: 3,
            cores: vec![4, 5],
            connections: 10,
            pipeline: 1,
            pace: Pace::Closed,
            warmup: 0,
            duration: None,
            patience: 0,
            seed: 0,
        };
        let all: Vec<Vec<usize>> = (0..3).map(|thread| plan.endpoints_of(thread, 2)).collect();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 4]);
        assert_eq!(all.concat().iter().filter(|endpoint| **endpoint == 0).count(), 5);
        assert_eq!((plan.core(0), plan.core(1), plan.core(2)), (Some(4), Some(5), Some(4)));
    }

    #[test]
    fn seconds_are_counted_from_the_measured_time_on() {
        let times = Times { start: 0, begin: 2 * SECOND, end: 5 * SECOND, patience: 0 };
        assert_eq!(times.second(0), -2);
        assert_eq!(times.second(2 * SECOND - 1), -1);
        assert_eq!(times.second(2 * SECOND), 0);
        assert!(
            !times.measures(2 * SECOND - 1)
                && times.measures(2 * SECOND)
                && !times.measures(5 * SECOND)
        );
    }
}
