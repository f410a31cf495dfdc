//! Part of a stream of records, as a request to store it: a small stream of its own.

use crate::base::types::VolumeId;
use crate::volume::format::{ExchangeStart, RecordHead};

/// What a segment follows.
#[derive(Clone, Copy, Debug)]
pub struct SegmentStart {
    /// Lineage of the source.
    pub lineage: u64,
    /// Position up to which everything is stored.
    pub since: u64,
    /// Whether the records include deletions.
    pub deletions: bool,
}

/// Records of a stream that are stored together.
#[derive(Debug)]
pub struct Segment {
    start: SegmentStart,
    stream: u64,
    number: u64,
    bytes: Vec<u8>,
    /// Position after the last record.
    position: u64,
}

impl Segment {
    /// Begins a segment.
    #[must_use]
    pub fn new(volume: VolumeId, start: SegmentStart) -> Self {
        let SegmentStart { lineage, since, deletions } = start;
        // Binds the checksums of the records to this segment.
        let stream = lineage.rotate_left(32) ^ since;
        let start_record =
            ExchangeStart { volume, stream, incarnation: 0, since, lineage, deletions };
        let bytes = start_record.encode().to_vec();
        Self { start, stream, number: 0, bytes, position: since }
    }

    /// Appends a record with its attributes and data, which were verified.
    pub fn push(&mut self, head: &RecordHead, attributes: &[u8], data: &[u8]) {
        self.push_head(*head);
        self.bytes.extend_from_slice(attributes);
        self.bytes.extend_from_slice(data);
        self.position = self.position.max(head.version);
    }

    /// Appends the head of a record whose payload follows elsewhere.
    pub(super) fn push_head(&mut self, head: RecordHead) {
        let head = RecordHead { number: self.number, ..head };
        self.bytes.extend_from_slice(&head.encode(self.stream));
        self.number += 1;
    }

    /// What it follows.
    #[must_use]
    pub fn start(&self) -> SegmentStart {
        self.start
    }

    /// Whether it has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// Length so far (bytes).
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What the next segment follows.
    #[must_use]
    pub fn next(&self) -> SegmentStart {
        SegmentStart { since: self.position, ..self.start }
    }

    /// Ends it at `position` at least. Returns its bytes.
    #[must_use]
    pub fn finish(mut self, position: u64) -> Vec<u8> {
        let end = RecordHead::end(self.number, self.position.max(position));
        self.bytes.extend_from_slice(&end.encode(self.stream));
        self.bytes
    }

    /// Takes the bytes so far.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}
