//! Parameters of a load, and the state that its threads share.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use clap::ValueEnum;
use serde::Serialize;

use crate::content::Content;
use crate::object::Objects;
use crate::schedule::{Arrivals, Schedule};
use crate::target::Target;

const SECOND: u64 = 1_000_000_000;

/// Part of a body that is compared with the expected content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Every byte
    Full,
    /// Length, and the stamp at the beginning
    Head,
    /// Length
    None,
}

/// Address of a server, and its name in `Host`.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// `HOST:PORT`.
    pub host: String,
}

/// State that all threads share.
pub struct Shared {
    /// Kind of server under load.
    pub target: Target,
    /// Servers that connections are distributed over.
    pub endpoints: Vec<Endpoint>,
    /// Index of the endpoint for each volume's requests; empty when any endpoint will do.
    pub routes: BTreeMap<u32, usize>,
    /// Objects that can be stored and requested.
    pub objects: Objects,
    /// Content of the objects.
    pub content: Content,
    /// Part of the content that is compared.
    pub verify: Verify,
    /// Whether SeaweedFS must make writes durable.
    pub fsync: bool,
}

impl Shared {
    /// Whether the requests for a volume go to a particular endpoint.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        !self.routes.is_empty()
    }

    /// Endpoint of a volume's requests; `None` when any will do.
    #[must_use]
    pub fn endpoint_of(&self, volume: u32) -> Option<usize> {
        self.routes.get(&volume).copied()
    }
}

/// Load model: the rule by which requests are issued.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: each connection sends its next request when the last one is answered.
    Closed,
    /// Open loop: requests per second, and their distribution in time.
    Rate(f64, Arrivals),
    /// Open loop with the times of a trace.
    Trace,
}

/// Parameters of a load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of threads, at least 1.
    pub threads: usize,
    /// Cores to pin the threads to, in turn; empty for no pinning.
    pub cores: Vec<usize>,
    /// Number of connections of all threads together.
    pub connections: usize,
    /// Requests in flight on each connection.
    pub pipeline: usize,
    /// Load model.
    pub pace: Pace,
    /// Time under load before the measured time (nanoseconds).
    pub warmup: u64,
    /// Measured time (nanoseconds); `None` until the source has no more requests.
    pub duration: Option<u64>,
    /// Time to wait for answers after the end (nanoseconds); also the limit of retries of refused requests.
    pub patience: u64,
    /// Seed of the arrivals of a Poisson process.
    pub seed: u64,
}

impl Plan {
    /// Core that a thread is pinned to.
    #[must_use]
    pub fn core(&self, thread: usize) -> Option<usize> {
        self.cores.get(thread % self.cores.len().max(1)).copied()
    }

    /// Whether requests are issued regardless of answers (open loop).
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.pace != Pace::Closed
    }

    /// Endpoint index of each connection of a thread. Over all threads the endpoints are used evenly.
    #[must_use]
    pub fn endpoints_of(&self, thread: usize, endpoints: usize) -> Vec<usize> {
        // Each thread gets consecutive connections, so with as many endpoints as threads it reaches every
        // endpoint.
        let (first, end) = (
            thread * self.connections / self.threads,
            (thread + 1) * self.connections / self.threads,
        );
        (first..end).map(|connection| connection % endpoints).collect()
    }

    /// Schedule of a thread in an open loop with a rate.
    #[must_use]
    pub fn schedule(&self, thread: usize) -> Option<Schedule> {
        let Pace::Rate(rate, arrivals) = self.pace else { return None };
        Some(Schedule::new(arrivals, rate, self.seed, thread, self.threads))
    }

    /// Points in time of a load that starts at `start` (nanoseconds of the monotonic clock).
    #[must_use]
    pub fn times(&self, start: u64) -> Times {
        let begin = start + self.warmup;
        let end = self.duration.map_or(u64::MAX, |duration| begin + duration);
        Times { start, begin, end, patience: self.patience }
    }
}

/// Points in time of a load (nanoseconds of the monotonic clock).
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Start of the load, including warm-up.
    pub start: u64,
    /// Beginning of the measured time.
    pub begin: u64,
    /// End of the measured time.
    pub end: u64,
    /// Time to wait for answers after the end (nanoseconds).
    pub patience: u64,
}

impl Times {
    /// Whether `time` is within the measured time.
    #[must_use]
    pub fn measures(&self, time: u64) -> bool {
        (self.begin..self.end).contains(&time)
    }

    /// Number of the second that contains `time`; second 0 begins with the measured time.
    #[must_use]
    pub fn second(&self, time: u64) -> i64 {
        let since = i128::from(time) - i128::from(self.begin);
        i64::try_from(since.div_euclid(i128::from(SECOND)))
            .expect("seconds of 64-bit nanoseconds fit i64")
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
    fn second_zero_begins_with_the_measured_time() {
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
