//! The exchange format: the records of a volume as a stream of bytes, for copies of volumes. It is the same
//! for every machine, and independent of places in a file.
//!
//! - `start`: the first bytes of a stream. `record_kind`, `record_head`: records.
//! - `sequence`: which record may follow which; a stream that is cut short is noticed.
//! - `bad_exchange`: what is wrong with a stream.
//! - `digest`: digests of objects, by which copies are compared.

mod bad_exchange;
mod digest;
mod record_head;
mod record_kind;
mod sequence;
mod start;

pub use bad_exchange::BadExchange;
pub use digest::{DigestedObject, damaged_digest};
pub use record_head::{RECORD_HEAD_LEN, RecordHead};
pub use record_kind::ExchangeKind;
pub use sequence::ExchangeSequence;
pub use start::{EXCHANGE_START_LEN, ExchangeStart};
