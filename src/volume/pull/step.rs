//! The steps of a pull: its begin, the bytes of the stream as they arrive, its end.

use std::rc::Rc;

use super::not_pulled::NotPulled;
use super::parser::Parsed;
use super::pulled_record::Pulled;
use crate::volume::Slot;
use crate::volume::format::{ExchangeKind, Replica};

impl Slot {
    /// Begins a pull: the bytes of a stream in the exchange format are to arrive. Returns its number. If
    /// `is_complete`, nothing but what the source has is here when it has ended. A pull in progress ends.
    ///
    /// # Errors
    /// [`NotPulled::NotReplica`], [`NotPulled::Closing`].
    pub async fn begin_pull(&self, is_complete: bool) -> Result<u64, NotPulled> {
        let _turn = self.pull.take().await?;
        self.volume().replica().ok_or(NotPulled::NotReplica)?;
        let number = self.handle.random();
        self.pull.begin(number, is_complete);
        Ok(number)
    }

    /// Stores the records that are complete with the next `bytes` of the stream. When this returns, they are
    /// durable. Of a large body only what is complete counts.
    ///
    /// # Errors
    /// See [`NotPulled`]. Some of the records may have been stored; the pull has ended.
    pub async fn pull(self: &Rc<Self>, number: u64, bytes: &[u8]) -> Result<Pulled, NotPulled> {
        let _turn = self.pull.take().await?;
        self.pull.get(number)?.parser.push(bytes);
        let pulled = self.store_parsed(number).await;
        if pulled.is_err() {
            self.pull.end(number);
        }
        pulled
    }

    async fn store_parsed(self: &Rc<Self>, number: u64) -> Result<Pulled, NotPulled> {
        let (mut pulled, mut records) = (Pulled::default(), Vec::new());
        loop {
            let parsed = self.pull.get(number)?.parser.next()?;
            match parsed {
                Some(Parsed::Start(start)) => self.begin_stream(&start).await?,
                Some(Parsed::Record(record)) if record.head.kind == ExchangeKind::End => {
                    pulled += self.store(number, std::mem::take(&mut records)).await?;
                    let is_complete = self.pull.get(number)?.is_complete;
                    self.end_stream(record.head.version, is_complete).await?;
                }
                Some(Parsed::Record(record)) => records.push(record),
                None => break,
            }
        }
        pulled += self.store(number, records).await?;
        Ok(pulled)
    }

    /// Ends a pull of which everything has arrived. Returns what the volume is a copy of now.
    ///
    /// # Errors
    /// [`NotPulled::Bad`] if the stream is not complete; [`NotPulled::Superseded`], [`NotPulled::NotReplica`],
    /// [`NotPulled::Closing`].
    pub async fn finish_pull(&self, number: u64) -> Result<Replica, NotPulled> {
        let _turn = self.pull.take().await?;
        let finished = self.pull.get(number)?.parser.finish();
        self.pull.end(number);
        finished?;
        self.volume().replica().ok_or(NotPulled::NotReplica)
    }

    /// Ends a pull that does not go on. What it has not completed is abandoned.
    pub async fn abandon_pull(&self, number: u64) {
        // If the volume is being closed, that abandons it.
        if let Ok(_turn) = self.pull.take().await {
            self.pull.end(number);
        }
    }
}
