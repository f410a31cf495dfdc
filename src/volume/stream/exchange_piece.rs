//! A piece of a stream in the exchange format.

use crate::base::stream_position::ExchangeState;

/// A piece of a stream in the exchange format.
pub struct ExchangePiece {
    /// Its bytes: about 1 MiB at most.
    pub bytes: Vec<u8>,
    /// Where the stream goes on.
    pub next: ExchangeState,
    /// Whether the stream is complete.
    pub is_end: bool,
}
