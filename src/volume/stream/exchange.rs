//! Streams in the exchange format: everything that a copy of the volume needs.

use super::exchange_piece::ExchangePiece;
use super::exchange_writer::ExchangeWriter;
use super::not_read::NotStreamed;
use crate::base::stream_position::{ExchangeState, StreamPosition};
use crate::volume::Slot;
use crate::volume::format::RISING_MAX;

/// Bytes that are read for a piece at most, as long as nothing lives there.
const READ_MAX: u64 = 8 << 20;

impl Slot {
    /// Reads the next piece of a stream in the exchange format: objects that live now, verified, and with
    /// `deletions` the records of deletions. The stream is complete when it has reached the end of the log.
    /// What [`read_records`](Self::read_records) says of objects that change meanwhile holds here, too.
    ///
    /// # Errors
    /// See [`NotStreamed`].
    pub async fn read_exchange(
        &self,
        from: ExchangeState,
        deletions: bool,
    ) -> Result<ExchangePiece, NotStreamed> {
        let _turn = self.streams.take().await?;
        let version = from.at.version.min(RISING_MAX - 1);
        let from = ExchangeState { at: StreamPosition { version, ..from.at }, ..from };
        loop {
            let volume = self.volume();
            if deletions {
                volume.expect_history(from.at.version)?;
            }
            let mut writer = ExchangeWriter::new(&volume, &from, deletions);
            if from.body.is_some() {
                self.collect_body(&mut writer).await?;
                let (bytes, next) = writer.finish(&from);
                return Ok(ExchangePiece { bytes, next, is_end: false });
            }
            let (at, is_end) = self.collect(&volume, from.at, READ_MAX, &mut writer).await?;
            // The index of a superseded generation tells nothing.
            if !self.is_current(&volume) {
                continue;
            }
            let is_end = is_end && writer.body().is_none();
            if is_end {
                writer.end(at.version);
            }
            let (bytes, next) = writer.finish(&from);
            return Ok(ExchangePiece { bytes, next: ExchangeState { at, ..next }, is_end });
        }
    }
}
