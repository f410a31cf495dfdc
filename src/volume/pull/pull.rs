//! A pull in progress, as whoever receives the stream sees it.

use std::rc::Rc;

use super::large::LargePull;
use super::not_pulled::NotPulled;
use super::parser::{ExchangeParser, Parsed};
use super::pulled_record::Pulled;
use crate::volume::Slot;
use crate::volume::format::{ExchangeKind, Replica};

/// A pull: the bytes of a stream in the exchange format arrive, and its records are stored. Between two steps
/// nothing runs. When it is dropped, what it has not completed is abandoned.
pub struct Pull {
    pub(super) slot: Rc<Slot>,
    number: u64,
    /// Whether nothing but what the source has is here when it has ended.
    is_complete: bool,
    parser: ExchangeParser,
    /// The large object whose pieces are arriving.
    pub(super) large: Option<LargePull>,
}

impl Slot {
    /// Begins a pull. If `is_complete`, nothing but what the source has is here when its stream has ended. A
    /// pull in progress makes no further step.
    ///
    /// # Errors
    /// [`NotPulled::NotReplica`], [`NotPulled::Closing`].
    pub async fn begin_pull(self: &Rc<Self>, is_complete: bool) -> Result<Pull, NotPulled> {
        let _turn = self.pull.take().await?;
        self.volume().replica().ok_or(NotPulled::NotReplica)?;
        Ok(Pull {
            slot: Rc::clone(self),
            number: self.pull.begin(),
            is_complete,
            parser: ExchangeParser::default(),
            large: None,
        })
    }
}

impl Pull {
    /// Stores the records that are complete with the next `bytes` of the stream. When this returns, they are
    /// durable. Of a large body only what is complete counts.
    ///
    /// # Errors
    /// See [`NotPulled`]. Some of the records may have been stored. The pull cannot go on.
    pub async fn take(&mut self, bytes: &[u8]) -> Result<Pulled, NotPulled> {
        let slot = Rc::clone(&self.slot);
        let _turn = slot.pull.take_for(self.number).await?;
        self.parser.push(bytes);
        let (mut pulled, mut records) = (Pulled::default(), Vec::new());
        while let Some(parsed) = self.parser.next()? {
            match parsed {
                Parsed::Start(start) => slot.begin_stream(&start).await?,
                Parsed::Record(record) if record.head.kind == ExchangeKind::End => {
                    pulled += self.store(std::mem::take(&mut records)).await?;
                    slot.end_stream(record.head.version, self.is_complete).await?;
                }
                Parsed::Record(record) => records.push(record),
            }
        }
        pulled += self.store(records).await?;
        Ok(pulled)
    }

    /// Ends a pull of which everything has arrived. Returns what the volume is a copy of now.
    ///
    /// # Errors
    /// [`NotPulled::Bad`] if the stream is not complete; [`NotPulled::Superseded`],
    /// [`NotPulled::NotReplica`], [`NotPulled::Closing`].
    pub async fn finish(self) -> Result<Replica, NotPulled> {
        let _turn = self.slot.pull.take_for(self.number).await?;
        self.parser.finish()?;
        self.slot.volume().replica().ok_or(NotPulled::NotReplica)
    }
}
