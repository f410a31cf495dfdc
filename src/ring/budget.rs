//! Limits how many completed operations are resumed per event loop iteration; the others wait for the next
//! iteration (`docs/decisions/short-turns.md`).

use std::collections::VecDeque;

use io_uring::cqueue;

/// Maximum number of completed transfers resumed per iteration, in sixteenths of the operations in flight, of
/// which each connection has one.
const ITERATION_SIXTEENTHS: usize = 4;
/// Maximum size of the completed transfers resumed per iteration (bytes). A longer transfer is resumed alone.
pub const ITERATION_BYTES: usize = 144 << 10;
/// Maximum number of new requests resumed per iteration. While more wait, the shard is overloaded: the
/// others wait, and completed transfers are limited by bytes alone.
pub const ARRIVALS_MAX: usize = 32;
/// Increase of the limit of bytes for each iteration that an overload lasts (bytes). The requests of a short
/// burst are answered soon; a lasting overload must not hold up the transfers under way.
pub const OVERLOAD_STEP_BYTES: usize = 16 << 10;
/// Maximum of the limit of bytes during an overload (bytes).
pub const OVERLOAD_BYTES_MAX: usize = 1 << 20;

/// A completion as the kernel reported it.
pub struct Ended {
    pub user_data: u64,
    pub result: i32,
    pub flags: u32,
}

impl From<cqueue::Entry> for Ended {
    fn from(entry: cqueue::Entry) -> Self {
        Self { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() }
    }
}

/// Completions that were not resumed yet.
pub struct ReadyCompletions {
    transfers: VecDeque<Ended>,
    /// Completed receives, which may be new requests.
    arrivals: VecDeque<Ended>,
    /// Number of consecutive iterations with more than [`ARRIVALS_MAX`] new requests.
    overloaded: usize,
}

/// Remaining budget of an iteration.
pub struct IterationBudget {
    arrivals: usize,
    transfers: usize,
    /// Bytes of transfers. The first transfer is resumed even if it is longer.
    bytes: usize,
    /// Whether no transfer was resumed yet.
    is_first: bool,
}

impl ReadyCompletions {
    pub fn new() -> Self {
        Self {
            transfers: VecDeque::with_capacity(1024),
            arrivals: VecDeque::with_capacity(1024),
            overloaded: 0,
        }
    }

    pub fn add_transfer(&mut self, ended: Ended) {
        self.transfers.push_back(ended);
    }

    pub fn add_arrival(&mut self, ended: Ended) {
        self.arrivals.push_back(ended);
    }

    pub fn is_empty(&self) -> bool {
        self.transfers.is_empty() && self.arrivals.is_empty()
    }

    /// Whether new requests are left that the iteration did not resume.
    pub fn is_overloaded(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Begins an iteration. `in_flight` is the number of operations in flight, including the completions
    /// queued here.
    pub fn begin(&mut self, in_flight: usize) -> IterationBudget {
        let arrivals = self.arrivals.len().min(ARRIVALS_MAX);
        self.overloaded = if self.arrivals.len() > ARRIVALS_MAX { self.overloaded + 1 } else { 0 };
        let (transfers, bytes) = match self.overloaded {
            0 => (((in_flight - arrivals) * ITERATION_SIXTEENTHS / 16).max(1), ITERATION_BYTES),
            lasts => (
                usize::MAX,
                (ITERATION_BYTES + lasts * OVERLOAD_STEP_BYTES).min(OVERLOAD_BYTES_MAX),
            ),
        };
        IterationBudget { arrivals, transfers, bytes, is_first: true }
    }

    /// Removes and returns the completion to resume next: new requests first, since they may lead to reads,
    /// and then transfers.
    pub fn next(&mut self, budget: &mut IterationBudget) -> Option<Ended> {
        if budget.arrivals > 0 {
            budget.arrivals -= 1;
            return self.arrivals.pop_front();
        }
        let len = usize::try_from(self.transfers.front()?.result).unwrap_or(0);
        if budget.transfers == 0 || budget.bytes == 0 || (len > budget.bytes && !budget.is_first) {
            return None;
        }
        budget.transfers -= 1;
        budget.bytes = budget.bytes.saturating_sub(len);
        budget.is_first = false;
        self.transfers.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHOTO: i32 = 64 << 10;

    fn ended(user_data: u64, result: i32) -> Ended {
        Ended { user_data, result, flags: 0 }
    }

    /// Runs an iteration with `in_flight` operations in flight, and returns the user data of the resumed
    /// completions.
    fn iteration(ready: &mut ReadyCompletions, in_flight: usize) -> Vec<u64> {
        let mut budget = ready.begin(in_flight);
        std::iter::from_fn(|| ready.next(&mut budget)).map(|ended| ended.user_data).collect()
    }

    #[test]
    fn iteration_resumes_two_photos_or_many_small_transfers() {
        let mut ready = ReadyCompletions::new();
        (0..5).for_each(|number| ready.add_transfer(ended(number, PHOTO)));
        assert_eq!(iteration(&mut ready, 64), [0, 1]);
        ready.add_arrival(ended(9, 100));
        assert_eq!(iteration(&mut ready, 64), [9, 2, 3], "requests first");
        assert_eq!(iteration(&mut ready, 64), [4]);
        assert!(ready.is_empty());
        (0..64).for_each(|number| ready.add_transfer(ended(number, 9 << 10)));
        assert_eq!(iteration(&mut ready, 64).len(), ITERATION_BYTES / (9 << 10));
    }

    #[test]
    fn transfers_without_bytes_are_limited_by_number() {
        let mut ready = ReadyCompletions::new();
        (0..8).for_each(|number| ready.add_transfer(ended(number, -5)));
        assert_eq!(iteration(&mut ready, 16), [0, 1, 2, 3], "four sixteenths of those in flight");
        assert_eq!(iteration(&mut ready, 0), [4], "at least one");
    }

    #[test]
    fn overload_raises_the_byte_limit_of_transfers_in_steps() {
        let (mut ready, many) = (ReadyCompletions::new(), 4096);
        (0..many).for_each(|number| ready.add_transfer(ended(number, PHOTO)));
        (0..many).for_each(|number| ready.add_arrival(ended(many + number, 100)));
        let photos: Vec<usize> =
            (0..100).map(|_| iteration(&mut ready, 8192).len() - ARRIVALS_MAX).collect();
        let photo = usize::try_from(PHOTO).unwrap();
        let bytes = (1..=100)
            .map(|nth| OVERLOAD_BYTES_MAX.min(ITERATION_BYTES + nth * OVERLOAD_STEP_BYTES));
        assert!(photos.iter().copied().eq(bytes.map(|bytes| bytes / photo)), "{photos:?}");
        assert_eq!((photos[0], photos[99]), (2, OVERLOAD_BYTES_MAX / photo));
        assert!(ready.is_overloaded());
        while ready.is_overloaded() {
            iteration(&mut ready, 8192);
        }
        assert_eq!(iteration(&mut ready, 8192).len(), 2, "the overload is over");
        (0..=ARRIVALS_MAX as u64).for_each(|number| ready.add_arrival(ended(number, 100)));
        assert_eq!(
            iteration(&mut ready, 8192).len(),
            ARRIVALS_MAX + 2,
            "a new overload begins at the first step"
        );
    }
}
