//! Which of what has ended goes on in a turn, and what waits for another one
//! (`docs/decisions/short-turns.md`).

use std::collections::VecDeque;

use io_uring::cqueue;

/// For all operations in flight, of which each connection has one, so many sixteenths of their number in
/// transfers go on in a turn,
const TURN_SIXTEENTHS: usize = 4;
/// and of so many bytes at most, or one that is longer.
pub const TURN_BYTES: usize = 144 << 10;
/// So many new requests go on in a turn. More of them are a crowd: what comes beyond waits, and transfers
/// share the turn by bytes alone.
pub const ARRIVALS_MAX: usize = 32;
/// So many bytes more for each turn that the crowd lasts: one that comes of a pause is soon answered, one
/// that stays must not keep the photos that were begun,
pub const CROWD_STEP_BYTES: usize = 16 << 10;
/// up to so many.
pub const CROWD_BYTES: usize = 1 << 20;

/// What the kernel said of an operation that has ended.
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

/// What has ended and waits for its turn.
pub struct Turns {
    transfers: VecDeque<Ended>,
    /// Receives of what may be new requests.
    arrivals: VecDeque<Ended>,
    /// Turns since there was no crowd.
    crowded: usize,
}

/// What may still go on in a turn.
pub struct Turn {
    arrivals: usize,
    transfers: usize,
    /// Bytes of transfers, all of which are for a single one however long it is.
    bytes: usize,
    is_untouched: bool,
}

impl Turns {
    pub fn new() -> Self {
        Self {
            transfers: VecDeque::with_capacity(1024),
            arrivals: VecDeque::with_capacity(1024),
            crowded: 0,
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

    /// Whether more requests wait than a turn has taken.
    pub fn is_crowded(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Begins a turn while so many operations are in flight, these here included.
    pub fn begin(&mut self, in_flight: usize) -> Turn {
        let arrivals = self.arrivals.len().min(ARRIVALS_MAX);
        self.crowded = if self.arrivals.len() > ARRIVALS_MAX { self.crowded + 1 } else { 0 };
        let (transfers, bytes) = match self.crowded {
            0 => (((in_flight - arrivals) * TURN_SIXTEENTHS / 16).max(1), TURN_BYTES),
            lasts => (usize::MAX, (TURN_BYTES + lasts * CROWD_STEP_BYTES).min(CROWD_BYTES)),
        };
        Turn { arrivals, transfers, bytes, is_untouched: true }
    }

    /// What goes on next: requests, which may lead to reads, and then transfers.
    pub fn next(&mut self, turn: &mut Turn) -> Option<Ended> {
        if turn.arrivals > 0 {
            turn.arrivals -= 1;
            return self.arrivals.pop_front();
        }
        let len = usize::try_from(self.transfers.front()?.result).unwrap_or(0);
        if turn.transfers == 0 || turn.bytes == 0 || (len > turn.bytes && !turn.is_untouched) {
            return None;
        }
        turn.transfers -= 1;
        turn.bytes = turn.bytes.saturating_sub(len);
        turn.is_untouched = false;
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

    /// Whose turn it is, with so many in flight.
    fn turn(turns: &mut Turns, in_flight: usize) -> Vec<u64> {
        let mut turn = turns.begin(in_flight);
        std::iter::from_fn(|| turns.next(&mut turn)).map(|ended| ended.user_data).collect()
    }

    #[test]
    fn two_photos_go_on_and_small_ones_go_on_together() {
        let mut turns = Turns::new();
        (0..5).for_each(|number| turns.add_transfer(ended(number, PHOTO)));
        assert_eq!(turn(&mut turns, 64), [0, 1]);
        turns.add_arrival(ended(9, 100));
        assert_eq!(turn(&mut turns, 64), [9, 2, 3], "requests first");
        assert_eq!(turn(&mut turns, 64), [4]);
        assert!(turns.is_empty());
        (0..64).for_each(|number| turns.add_transfer(ended(number, 9 << 10)));
        assert_eq!(turn(&mut turns, 64).len(), TURN_BYTES / (9 << 10));
    }

    #[test]
    fn transfers_that_failed_or_read_nothing_take_part() {
        let mut turns = Turns::new();
        (0..8).for_each(|number| turns.add_transfer(ended(number, -5)));
        assert_eq!(turn(&mut turns, 16), [0, 1, 2, 3], "four sixteenths of those in flight");
        assert_eq!(turn(&mut turns, 0), [4], "but one at least");
    }

    #[test]
    fn a_crowd_is_answered_quickly_at_first_and_keeps_no_photos_for_long() {
        let (mut turns, many) = (Turns::new(), 4096);
        (0..many).for_each(|number| turns.add_transfer(ended(number, PHOTO)));
        (0..many).for_each(|number| turns.add_arrival(ended(many + number, 100)));
        let photos: Vec<usize> =
            (0..100).map(|_| turn(&mut turns, 8192).len() - ARRIVALS_MAX).collect();
        assert_eq!(photos[0], 2);
        assert!(photos.is_sorted() && photos[99] == CROWD_BYTES / PHOTO as usize, "{photos:?}");
        assert!(turns.is_crowded());
        while turns.is_crowded() {
            turn(&mut turns, 8192);
        }
        assert_eq!(turn(&mut turns, 8192).len(), 2, "the crowd is gone");
        (0..=ARRIVALS_MAX as u64).for_each(|number| turns.add_arrival(ended(number, 100)));
        assert_eq!(turn(&mut turns, 8192).len(), ARRIVALS_MAX + 2, "another one begins anew");
    }
}
