//! The records of a stream in the exchange format that arrives in pieces of any length.

use super::pulled_record::PulledRecord;
use crate::volume::format::{
    BadExchange, EXCHANGE_START_LEN, ExchangeSequence, ExchangeStart, RECORD_HEAD_LEN, RecordHead,
};

/// What a stream consists of.
#[derive(Debug)]
pub(super) enum Parsed {
    /// Its start.
    Start(ExchangeStart),
    /// A record; the last one is the end of the stream.
    Record(PulledRecord),
}

/// A stream, as far as it has arrived. Everything that it returns is verified.
#[derive(Default)]
pub(super) struct ExchangeParser {
    /// What has arrived and is not parsed.
    rest: Vec<u8>,
    /// Number of the bytes in it that are parsed.
    parsed: usize,
    start: Option<ExchangeStart>,
    head: Option<RecordHead>,
    order: ExchangeSequence,
}

impl ExchangeParser {
    /// Adds bytes that have arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.rest.drain(..self.parsed);
        self.parsed = 0;
        self.rest.extend_from_slice(bytes);
    }

    /// Returns the next part of the stream; `None` if it has not arrived yet.
    ///
    /// # Errors
    /// See [`BadExchange`].
    pub(super) fn next(&mut self) -> Result<Option<Parsed>, BadExchange> {
        let Some(start) = self.start else {
            let Some(bytes) = self.take::<EXCHANGE_START_LEN>() else { return Ok(None) };
            let start = ExchangeStart::decode(&bytes)?;
            self.start = Some(start);
            return Ok(Some(Parsed::Start(start)));
        };
        let head = match self.head {
            Some(head) => head,
            None => {
                let Some(bytes) = self.take::<RECORD_HEAD_LEN>() else { return Ok(None) };
                let head = RecordHead::decode(&bytes, start.stream, self.order.next_number())?;
                self.head = Some(head);
                head
            }
        };
        let end = self.parsed + head.payload_len();
        let Some(payload) = self.rest.get(self.parsed..end) else { return Ok(None) };
        head.verify(payload)?;
        self.order.take(&head)?;
        let payload = payload.to_vec();
        (self.parsed, self.head) = (end, None);
        Ok(Some(Parsed::Record(PulledRecord { head, payload })))
    }

    /// Checks that the stream is complete, and that nothing follows it.
    ///
    /// # Errors
    /// [`BadExchange::Cut`], [`BadExchange::Order`].
    pub(super) fn finish(&self) -> Result<(), BadExchange> {
        self.order.finish()?;
        if self.parsed == self.rest.len() { Ok(()) } else { Err(BadExchange::Order) }
    }

    /// Takes the next bytes, if all of them have arrived.
    fn take<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let bytes = *self.rest.get(self.parsed..)?.first_chunk()?;
        self.parsed += LEN;
        Some(bytes)
    }
}
