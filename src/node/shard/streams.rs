//! Streams of the records of the volumes of a shard.

use super::order::{OrderError, ReadExchange, ReadRecords};
use super::volumes::Volumes;
use crate::volume::{ExchangePiece, Piece};

impl Volumes {
    /// Reads a piece of the records of a volume.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn read_records(&self, order: ReadRecords) -> Result<Piece, OrderError> {
        let ReadRecords { volume, from, deletions, limits } = order;
        let slot = self.slot_to_change(volume)?;
        slot.read_records(from, deletions, limits).await.map_err(OrderError::NotStreamed)
    }

    /// Reads a piece of the records of a volume in the exchange format.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn read_exchange(&self, order: ReadExchange) -> Result<ExchangePiece, OrderError> {
        let ReadExchange { volume, from, deletions } = order;
        let slot = self.slot_to_change(volume)?;
        slot.read_exchange(from, deletions).await.map_err(OrderError::NotStreamed)
    }
}
