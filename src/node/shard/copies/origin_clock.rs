//! Origin versions of the changes that a shard receives from clients.

use std::cell::Cell;

/// Origin versions of one shard: times of the wall clock (nanoseconds since 1970), always rising. The lowest
/// byte is the shard's, so that two shards never give out the same one.
pub struct OriginClock {
    shard: u8,
    last: Cell<u64>,
}

impl OriginClock {
    /// The clock of a shard.
    pub fn new(shard: usize) -> Self {
        Self { shard: (shard & 0xff) as u8, last: Cell::new(0) }
    }

    /// Returns the origin version of a change at `now` (nanoseconds since 1970).
    pub fn next(&self, now: u64) -> u64 {
        let time = (now & !0xff).max(self.last.get() + 0x100);
        self.last.set(time);
        time | u64::from(self.shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_and_differ_between_shards() {
        let (first, second) = (OriginClock::new(0), OriginClock::new(1));
        let versions = [1000, 1000, 5000, 2000].map(|now| first.next(now));
        assert_eq!(versions, [768, 1024, 4864, 5120]);
        assert_eq!(second.next(1000), 769);
    }
}
