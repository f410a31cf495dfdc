//! A reader of a stream in the exchange format. Everything it returns is verified.

use std::io::{self, Read};

use thiserror::Error;

use crate::volume::format::{
    BadExchange, EXCHANGE_START_LEN, ExchangeKind, ExchangeSequence, ExchangeStart,
    RECORD_HEAD_LEN, RecordHead,
};

/// Why a stream cannot be read further.
#[derive(Debug, Error)]
pub enum NotRead {
    /// The error of the connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not those that were sent, or not all.
    #[error(transparent)]
    Bad(#[from] BadExchange),
}

/// A record of a stream.
#[derive(Debug)]
pub struct Record<'a> {
    /// Its head.
    pub head: RecordHead,
    /// Whether it completes an object or a deletion.
    pub is_complete: bool,
    /// The attributes of the object, as they are stored.
    pub attributes: &'a [u8],
    /// The data: a body, or a piece of one.
    pub data: &'a [u8],
}

/// A reader of a stream in the exchange format.
pub struct RecordReader<R> {
    input: R,
    start: ExchangeStart,
    order: ExchangeSequence,
    payload: Vec<u8>,
}

impl<R: Read> RecordReader<R> {
    /// Reads the start of a stream.
    ///
    /// # Errors
    /// See [`NotRead`].
    pub fn open(mut input: R) -> Result<Self, NotRead> {
        let mut start = [0; EXCHANGE_START_LEN];
        fill(&mut input, &mut start)?;
        let start = ExchangeStart::decode(&start)?;
        Ok(Self { input, start, order: ExchangeSequence::default(), payload: Vec::new() })
    }

    /// Returns the start of the stream.
    #[must_use]
    pub fn start(&self) -> &ExchangeStart {
        &self.start
    }

    /// Reads the next record. The last one is the end of the stream, after which nothing must be read.
    ///
    /// # Errors
    /// See [`NotRead`].
    pub fn read(&mut self) -> Result<Record<'_>, NotRead> {
        let mut head = [0; RECORD_HEAD_LEN];
        fill(&mut self.input, &mut head)?;
        let head = RecordHead::decode(&head, self.start.stream, self.order.next_number())?;
        self.payload.resize(head.payload_len(), 0);
        fill(&mut self.input, &mut self.payload)?;
        head.verify(&self.payload)?;
        let is_complete = self.order.take(&head)?;
        let (attributes, data) = self.payload.split_at(usize::from(head.attributes_len));
        Ok(Record { head, is_complete, attributes, data })
    }
}

impl Record<'_> {
    /// Whether it is the end of the stream.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.head.kind == ExchangeKind::End
    }
}

/// Fills a buffer. A stream that ends before is cut short.
fn fill(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), NotRead> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => NotRead::Bad(BadExchange::Cut),
        _ => NotRead::Io(error),
    })
}
