//! Causes that are damage of the disk.

use hayloft::base::types::VolumeId;
use hayloft::runtime::sim::history::Answer;

use super::{Causes, ChangeKind, RequestInfo};
use crate::node::seen::Value;

impl Causes {
    /// Whether parts of the log of the volume may not have been read when it was opened.
    pub fn is_blind(&self, volume: VolumeId) -> bool {
        self.blind.contains(&volume)
    }

    /// Whether something in the volume may be damaged, or may not have been read.
    pub fn may_be_damaged(&self, volume: VolumeId) -> bool {
        self.damages.is_of_volume(volume) || self.is_blind(volume) || self.failed(volume, false)
    }

    /// Whether the file of the volume may have been made by a compaction.
    pub fn may_be_compacted(&self, volume: VolumeId) -> bool {
        let is_later = self.monitor.current(volume).is_none_or(|file| file.generation > 0);
        is_later || self.compactions.is_ordered(volume)
    }

    /// Whether the volume may be suspect.
    pub(super) fn is_suspect(&self, volume: VolumeId) -> bool {
        let now = self.world.now();
        self.damages.may_make_suspect(volume)
            || self.changed(Some(volume), 0, now, &[ChangeKind::Suspect])
    }

    /// The answer 500, if it says that the object is damaged, and it may be; `None` if that has another
    /// cause.
    pub fn damage_of(&self, asked: &RequestInfo) -> Option<Answer> {
        let (now, name) = (self.world.now(), asked.name?);
        let has_other_cause =
            now >= self.drain_deadline.get() || self.failed(name.0, false) || self.is_blind(name.0);
        if has_other_cause || !self.damages.may_hit(name, asked.called, now) {
            return None;
        }
        let of_head = asked.needs_header_only;
        Some(if of_head { Answer::HeadUnreadable } else { Answer::Unreadable })
    }

    /// Whether the answer to a request may end early since the object is damaged.
    pub(super) fn may_end_early(&self, asked: &RequestInfo) -> bool {
        let now = self.world.now();
        asked.name.is_some_and(|name| self.damages.may_hit(name, asked.called, now))
    }

    /// Asserts that all of a value can be read.
    pub fn check_read(&self, asked: &RequestInfo, value: Value) {
        let name = asked.name.expect("a read names an object");
        self.damages.check_read(name, value.number, asked.called, self.world.now());
    }

    /// Asserts that the header of a value can be read.
    pub fn check_head(&self, asked: &RequestInfo, value: Value) {
        let name = asked.name.expect("a read names an object");
        self.damages.check_head(name, value.number, asked.called, self.world.now());
    }
}
