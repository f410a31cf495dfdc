//! The health of the volumes of a shard: reads of random needles, and orders of the main thread, which
//! decides.

use std::rc::Rc;
use std::sync::Arc;

use super::assignment::{Assignment, ErrorPlaces, KnownHealth};
use super::order::OrderError;
use super::volume_summary::VolumeSummary;
use super::volumes::Volumes;
use crate::base::limits::SUSPECT_HARD;
use crate::base::types::VolumeId;
use crate::node::metrics::VolumeMetrics;
use crate::volume::{ProbePlan, Slot};

/// Random needles that are read of a volume of whose health nothing is known, before it serves.
const PROBED_BEFORE_SERVING: u32 = 32;

impl Volumes {
    /// Starts the task that reads random needles of a volume.
    pub(super) fn start_probes(&self, slot: &Rc<Slot>, metrics: &Arc<VolumeMetrics>) {
        let metrics = Arc::clone(metrics);
        let on_read = move |began: Option<u64>| {
            metrics.board.health.probe_began_ns.set(began.unwrap_or(0));
        };
        slot.start_probes(&ProbePlan {
            interval_ns: self.plans.probe_interval_ns,
            on_read: Rc::new(on_read),
            on_end: Rc::from(self.publisher(slot.id())),
        });
    }

    /// Applies what is known of the health of a volume that was just opened. If nothing is known, because the
    /// record could not be read, finds out before the volume serves.
    pub(super) async fn apply_health(&self, slot: &Rc<Slot>, assignment: &Assignment) {
        let volume = slot.volume();
        let disk = self.files.disk_of(volume.dir());
        let file = assignment.files.iter().find(|file| file.disk == disk);
        match file.and_then(|file| file.health.as_ref()) {
            Some(KnownHealth { is_suspect, errors }) => {
                let is_same_file = errors.incarnation == volume.incarnation();
                let places = if is_same_file { &errors.places[..] } else { &[] };
                volume.recall_errors(Some(places));
                if *is_suspect {
                    volume.suspect();
                }
            }
            None => {
                volume.recall_errors(None);
                slot.probe_before_serving(PROBED_BEFORE_SERVING).await;
                if volume.stats().hard_errors.get() >= SUSPECT_HARD {
                    volume.suspect();
                }
            }
        }
    }

    /// Asks for a burst of reads of a volume.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn request_burst(&self, id: VolumeId, needles: u32) -> Result<(), OrderError> {
        self.slot_to_change(id)?.request_burst(needles);
        Ok(())
    }

    /// Makes a volume suspect: it admits no more writes. Returns a summary of it.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn suspect(&self, id: VolumeId) -> Result<VolumeSummary, OrderError> {
        let volume = self.slot_to_change(id)?.volume();
        volume.suspect();
        self.publish();
        Ok(VolumeSummary::of(&volume))
    }

    /// Ends the suspicion of a volume. Returns whether it was suspect.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn clear(&self, id: VolumeId) -> Result<bool, OrderError> {
        let was_suspect = self.slot_to_change(id)?.volume().clear();
        self.publish();
        Ok(was_suspect)
    }

    /// Returns the places of hard errors of a volume.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn error_places(&self, id: VolumeId) -> Result<ErrorPlaces, OrderError> {
        let volume = self.slot_to_change(id)?.volume();
        Ok(ErrorPlaces { incarnation: volume.incarnation(), places: volume.error_places() })
    }
}
