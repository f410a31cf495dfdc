//! The state of a copy of a volume on another node.

use super::hold::Hold;
use super::lack::Lack;
use super::samples::Samples;
use crate::base::stream_position::StreamPosition;

/// The state of a copy of a volume on another node.
#[derive(Debug)]
pub(super) struct CopyState {
    /// Version up to which both nodes have everything.
    mark: u64,
    samples: Samples,
    /// Whether the master lists it; `None` as long as it was not asked.
    is_listed: Option<bool>,
    /// What it may lack; `None` if it is not behind.
    lack: Option<Lack>,
    hold: Hold,
}

impl CopyState {
    /// A copy of which this node has never known anything. It may lack everything that is in the volume,
    /// whose highest version is `newest`; 0 if it is empty.
    pub(super) fn unknown(newest: u64, now_ns: u64) -> Self {
        let lack = (newest > 0).then(|| Lack::new(0, now_ns));
        Self::new(0, Some(true), lack)
    }

    /// A copy that had everything up to `mark` when an earlier start noted it.
    pub(super) fn remembered(mark: u64, now_ns: u64) -> Self {
        Self::new(mark, None, Some(Lack::new(mark, now_ns)))
    }

    fn new(mark: u64, is_listed: Option<bool>, lack: Option<Lack>) -> Self {
        let (samples, hold) = (Samples::default(), Hold::default());
        Self { mark, samples, is_listed, lack, hold }
    }

    /// Version up to which both nodes have everything.
    pub(super) fn mark(&self) -> u64 {
        self.mark
    }

    /// Whether it may lack something.
    pub(super) fn is_behind(&self) -> bool {
        self.lack.is_some()
    }

    /// Whether the volume is held because of it.
    pub(super) fn is_held(&self) -> bool {
        self.lack.as_ref().is_some_and(|lack| lack.is_held)
    }

    /// Whether the master lists it.
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed == Some(true)
    }

    /// Number of the offer to it that is under way.
    pub(super) fn offering(&self) -> Option<u64> {
        self.lack.as_ref().and_then(Lack::offering)
    }

    /// Records whether the master lists it.
    pub(super) fn set_listed(&mut self, is_listed: bool, now_ns: u64) {
        let was_listed = self.is_listed.replace(is_listed) == Some(true);
        // Also when it comes back: what it has missed since it was gone is not known.
        if !is_listed || !was_listed && self.is_held() {
            self.trouble(now_ns);
        }
    }

    /// An exchange has failed, or the node did not answer, or was started anew: the volume is held.
    pub(super) fn trouble(&mut self, now_ns: u64) {
        self.samples.clear();
        let mark = self.mark;
        let lack = self.lack.get_or_insert_with(|| Lack::new(mark, now_ns));
        lack.trouble(now_ns);
        if !lack.is_held {
            lack.is_held = true;
            self.hold.begin(now_ns);
        }
    }

    /// Looks at the volume, whose highest version is `newest`: while nothing fails, the mark follows it.
    pub(super) fn look(&mut self, newest: u64, now_ns: u64) {
        if self.lack.is_none()
            && let Some(settled) = self.samples.add(newest, now_ns)
        {
            self.mark = self.mark.max(settled);
        }
    }

    /// Whether a piece of changes may be offered to it now.
    pub(super) fn wants_offer(&self, now_ns: u64) -> bool {
        self.is_listed() && self.lack.as_ref().is_some_and(|lack| lack.is_due(now_ns))
    }

    /// Begins the offer of this number. Returns where its piece begins; `None` if nothing is lacking.
    pub(super) fn begin_offer(&mut self, number: u64) -> Option<StreamPosition> {
        self.lack.as_mut().map(|lack| lack.begin(number))
    }

    /// A piece has arrived.
    pub(super) fn offered(&mut self, next: StreamPosition, is_end: bool) {
        self.mark = self.mark.max(next.version);
        if let Some(lack) = &mut self.lack {
            lack.succeeded(next, is_end);
        }
    }

    /// A piece did not arrive.
    pub(super) fn not_offered(&mut self, now_ns: u64) {
        if let Some(lack) = &mut self.lack {
            lack.failed(now_ns);
        }
    }

    /// Ends its being behind, if nothing is lacking any more. `well_since_ns`: since when the node has
    /// answered without interruption.
    pub(super) fn settle(&mut self, well_since_ns: Option<u64>, now_ns: u64) {
        let (Some(lack), Some(well_since_ns)) = (&self.lack, well_since_ns) else { return };
        let calm_ns = now_ns.saturating_sub(lack.calm_since_ns().max(well_since_ns));
        let is_over = !lack.is_held || calm_ns >= self.hold.length_ns();
        if !lack.is_offered || !is_over {
            return;
        }
        if lack.is_held {
            self.hold.end(now_ns);
        }
        self.lack = None;
    }
}
