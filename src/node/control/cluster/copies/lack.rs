//! What a copy that is behind may lack.

use super::retry::Retry;
use crate::base::stream_position::StreamPosition;

/// What a copy that is behind may lack, and what was done about it.
#[derive(Debug)]
pub(super) struct Lack {
    /// Whether the volume is held because of it.
    pub(super) is_held: bool,
    /// The last time that an exchange failed, or the node did not answer.
    trouble_ns: u64,
    /// Where the next piece begins.
    pub(super) at: StreamPosition,
    /// Whether everything was offered, and no exchange failed since.
    pub(super) is_offered: bool,
    /// Number of the offer that is under way.
    offering: Option<u64>,
    /// Whether an exchange failed while it was: it may be about a change behind the end of the piece.
    is_stale: bool,
    retry: Retry,
}

impl Lack {
    /// A copy may lack everything from `mark` on.
    pub(super) fn new(mark: u64, now_ns: u64) -> Self {
        Self {
            is_held: false,
            trouble_ns: now_ns,
            at: StreamPosition::after(mark),
            is_offered: false,
            offering: None,
            is_stale: false,
            retry: Retry::default(),
        }
    }

    /// An exchange has failed, or the node did not answer: something of late may be missing, too.
    pub(super) fn trouble(&mut self, now_ns: u64) {
        self.trouble_ns = now_ns;
        self.is_offered = false;
        self.is_stale = self.offering.is_some();
    }

    /// Since when there was no trouble.
    pub(super) fn calm_since_ns(&self) -> u64 {
        self.trouble_ns
    }

    /// Number of the offer that is under way.
    pub(super) fn offering(&self) -> Option<u64> {
        self.offering
    }

    /// Whether a piece may be offered now.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        !self.is_offered && self.offering.is_none() && self.retry.is_due(now_ns)
    }

    /// Begins the offer of this number. Returns where its piece begins.
    pub(super) fn begin(&mut self, number: u64) -> StreamPosition {
        (self.offering, self.is_stale) = (Some(number), false);
        self.at
    }

    /// A piece has arrived; the next one begins at `next`, if there is more.
    pub(super) fn succeeded(&mut self, next: StreamPosition, is_end: bool) {
        self.at = next;
        self.is_offered = is_end && !self.is_stale;
        self.offering = None;
        self.retry.reset();
    }

    /// A piece did not arrive.
    pub(super) fn failed(&mut self, now_ns: u64) {
        self.offering = None;
        // The place in the file may be what it failed for.
        self.at = StreamPosition::after(self.at.version);
        self.retry.failed(now_ns);
    }
}
