//! A reservation that ends when it is dropped.

use std::rc::Rc;

use super::reservations::ReservationKey;
use crate::volume::Volume;
use crate::volume::error::Refusal;

/// A reservation: space in the log for later appends. Dropping it releases what was not used. It belongs
/// to its volume; other code refers to it by its key.
pub struct Reservation {
    volume: Rc<Volume>,
    key: ReservationKey,
}

impl Reservation {
    /// Reserves `len` bytes. Returns `None` if this much is not free.
    pub fn new(volume: &Rc<Volume>, len: u64) -> Option<Self> {
        volume.log.has_space(len).then(|| Self::begin(volume, len))
    }

    /// Reserves `len` bytes, or nothing if this much is not free: then what is appended needs free space.
    pub fn of_what_is_free(volume: &Rc<Volume>, len: u64) -> Self {
        Self::new(volume, len).unwrap_or_else(|| Self::begin(volume, 0))
    }

    fn begin(volume: &Rc<Volume>, len: u64) -> Self {
        volume.log.claimed.take(len);
        let key = volume.log.reservations.add(len);
        volume.note_demand();
        Self { volume: Rc::clone(volume), key }
    }

    /// Reserves `len` bytes more.
    ///
    /// # Errors
    /// [`Refusal::Full`] if this much is not free.
    pub fn grow(&self, len: u64) -> Result<(), Refusal> {
        let log = &self.volume.log;
        if !log.has_space(len) {
            return Err(Refusal::Full);
        }
        log.claimed.take(len);
        log.reservations.grow(self.key, len);
        self.volume.note_demand();
        Ok(())
    }

    /// What is left of the reservation (bytes).
    pub fn left(&self) -> u64 {
        self.volume.log.reservations.left(self.key)
    }

    /// Returns the key of the reservation.
    pub fn key(&self) -> ReservationKey {
        self.key
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let log = &self.volume.log;
        log.claimed.give_back(log.reservations.remove(self.key));
        log.audit();
    }
}
