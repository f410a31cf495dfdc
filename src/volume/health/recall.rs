//! The errors of a volume that were known before it was opened.

use std::ops::Range;

use crate::volume::health::Severity;
use crate::volume::{DamageSource, Volume};

impl Volume {
    /// Takes over the places of hard errors that are known from earlier starts. What opening the volume has
    /// found beyond them counts; if nothing is known (`None`), it is taken for known, too.
    pub fn recall_errors(&self, known: Option<&[Range<u64>]>) {
        let stats = self.stats();
        let found = self.file.errors().take().hard_places();
        for counter in
            [&stats.hard_errors, &stats.soft_errors].into_iter().chain(&stats.device_errors)
        {
            counter.set(0);
        }
        let damage = self.damage();
        let reported = damage.iter().filter(|range| range.source == DamageSource::File);
        {
            let mut errors = self.file.errors().borrow_mut();
            for range in reported {
                errors.remember(&(range.at.offset..range.at.offset + range.at.len));
            }
            known.unwrap_or(&found).iter().for_each(|place| errors.remember(place));
        }
        found.into_iter().for_each(|place| self.file.note_device_error(place, Severity::Hard));
    }

    /// Returns the places of hard errors in the file, in its order.
    #[must_use]
    pub fn error_places(&self) -> Vec<Range<u64>> {
        self.file.errors().borrow().hard_places()
    }
}
