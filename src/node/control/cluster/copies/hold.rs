//! How long a node must have answered before a volume is opened again.

/// Shortest and longest time (nanoseconds).
const HOLD_NS: u64 = 5_000_000_000;
const HOLD_MAX_NS: u64 = 600_000_000_000;
/// Time without trouble after which the time is the shortest again (nanoseconds).
const CALM_NS: u64 = 600_000_000_000;

/// How long a node must have answered before a volume is opened again: longer each time that the copy falls
/// behind soon after, so that a node that stalls now and then does not make the volume flap.
#[derive(Debug)]
pub(super) struct Hold {
    length_ns: u64,
    /// When the last hold ended.
    ended_ns: Option<u64>,
}

impl Default for Hold {
    fn default() -> Self {
        Self { length_ns: HOLD_NS, ended_ns: None }
    }
}

impl Hold {
    /// Begins to hold.
    pub(super) fn begin(&mut self, now_ns: u64) {
        let is_again = |ended: u64| now_ns.saturating_sub(ended) < CALM_NS;
        self.length_ns = match self.ended_ns {
            Some(ended) if is_again(ended) => self.length_ns.saturating_mul(2).min(HOLD_MAX_NS),
            _ => HOLD_NS,
        };
    }

    /// Ends the hold.
    pub(super) fn end(&mut self, now_ns: u64) {
        self.ended_ns = Some(now_ns);
    }

    /// How long the node must have answered (nanoseconds).
    pub(super) fn length_ns(&self) -> u64 {
        self.length_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_doubles_up_to_ten_minutes_and_is_short_again_after_calm() {
        let (mut hold, mut now) = (Hold::default(), 0);
        let mut lengths = Vec::new();
        for _ in 0..9 {
            hold.begin(now);
            lengths.push(hold.length_ns() / 1_000_000_000);
            now += hold.length_ns();
            hold.end(now);
            now += 20_000_000_000;
        }
        assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        now += CALM_NS - 20_000_000_000 - 1;
        hold.begin(now);
        assert_eq!(hold.length_ns(), HOLD_MAX_NS, "calm for less than ten minutes");
        hold.end(now);
        hold.begin(now + CALM_NS);
        assert_eq!(hold.length_ns(), HOLD_NS);
    }
}
