//! A piece of a stream.

use super::record::StreamRecord;
use crate::base::stream_position::StreamPosition;

/// What a piece may have and cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceLimits {
    /// Number of records.
    pub records: usize,
    /// Length of the attributes of all records (bytes). The last record may exceed it.
    pub attributes: usize,
    /// Bytes read from the device, without those that are read to find the begin of the piece. The last
    /// commit may exceed it.
    pub read: u64,
}

impl Default for PieceLimits {
    /// As a running daemon reads them: an answer of at most about 1 MiB.
    fn default() -> Self {
        Self { records: 2000, attributes: 256 << 10, read: 8 << 20 }
    }
}

/// A piece of a stream of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its records, in the order of the log.
    pub records: Vec<StreamRecord>,
    /// Where the stream goes on.
    pub next: StreamPosition,
    /// Whether it ends at the end of the log.
    pub is_end: bool,
}
