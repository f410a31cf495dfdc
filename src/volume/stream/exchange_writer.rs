//! The bytes of a stream in the exchange format.

use super::collector::Collector;
use crate::base::stream_position::{BodyPosition, ExchangeState};
use crate::volume::Volume;
use crate::volume::format::{
    ExchangeKind, ExchangeStart, Footer, Kind, NeedleHeader, RecordHead, data_checksum,
};
use crate::volume::log::scan::FoundNeedle;
use crate::volume::scrub::copies::{COPIES_MAX, Copied};
use crate::volume::scrub::walk::{Depth, LogWalk};

/// Largest number of records in a piece.
const RECORDS_MAX: u64 = 4000;

/// Collects the bytes of a piece.
pub(super) struct ExchangeWriter {
    deletions: bool,
    /// Random number of the stream.
    stream: u64,
    /// Number of the next record of the stream, and of the first one of this piece.
    number: u64,
    first: u64,
    /// The large object whose body follows.
    body: Option<BodyPosition>,
    bytes: Vec<u8>,
}

impl ExchangeWriter {
    /// Begins a piece, and the stream if it is the first one.
    pub(super) fn new(volume: &Volume, from: &ExchangeState, deletions: bool) -> Self {
        let stream = from.stream.unwrap_or_else(|| volume.handle.random());
        let mut bytes = Vec::with_capacity(COPIES_MAX + COPIES_MAX / 8);
        if from.stream.is_none() {
            let superblock = &volume.superblock;
            let start = ExchangeStart {
                volume: superblock.volume,
                stream,
                incarnation: superblock.incarnation,
                since: from.at.version,
                lineage: superblock.lineage(),
                deletions,
            };
            bytes.extend_from_slice(&start.encode());
        }
        let number = from.records;
        Self { deletions, stream, number, first: number, body: from.body, bytes }
    }

    /// Appends a record. One that no reader would accept, of a forged needle, counts as damaged.
    fn push(&mut self, head: RecordHead, payload: &[u8]) -> bool {
        let head =
            RecordHead { number: self.number, payload_checksum: data_checksum(payload), ..head };
        let fits = head.fits() && head.payload_len() == payload.len();
        if fits {
            self.bytes.extend_from_slice(&head.encode(self.stream));
            self.bytes.extend_from_slice(payload);
            self.number += 1;
        }
        fits
    }

    fn push_damaged(&mut self, head: RecordHead) {
        let damaged = RecordHead {
            kind: ExchangeKind::Damaged,
            attributes_len: 0,
            data_len: 0,
            offset: 0,
            ..head
        };
        let is_pushed = self.push(damaged, &[]);
        assert!(is_pushed, "a record without attributes and data is always possible");
    }

    /// Appends a piece of the body that is being sent.
    pub(super) fn push_piece(&mut self, data: &[u8]) {
        let Some(body) = &mut self.body else { return };
        let head = RecordHead {
            kind: ExchangeKind::Piece,
            offset: body.offset,
            data_len: u32::try_from(data.len()).expect("a part is at most 1 MiB long"),
            ..head_of_body(body)
        };
        body.offset += data.len() as u64;
        if body.offset >= body.body_len {
            self.body = None;
        }
        let is_pushed = self.push(head, data);
        assert!(is_pushed, "a piece lies within its body");
    }

    /// Ends the body that is being sent, because the object was replaced or deleted, or is damaged.
    pub(super) fn withdraw(&mut self, is_damaged: bool) {
        let Some(body) = self.body.take() else { return };
        let head = RecordHead { kind: ExchangeKind::Withdrawn, ..head_of_body(&body) };
        let is_pushed = self.push(head, &[]);
        assert!(is_pushed, "a record without attributes and data is always possible");
        if is_damaged {
            self.push_damaged(head);
        }
    }

    /// Returns the body that is being sent.
    pub(super) fn body(&self) -> Option<&BodyPosition> {
        self.body.as_ref()
    }

    /// Appends the end of the stream.
    pub(super) fn end(&mut self, position: u64) {
        let is_pushed = self.push(RecordHead::end(self.number, position), &[]);
        assert!(is_pushed, "positions are possible versions");
    }

    /// Returns the bytes, and the state after them except for the position in the log.
    pub(super) fn finish(self, before: &ExchangeState) -> (Vec<u8>, ExchangeState) {
        let Self { stream, number, body, bytes, .. } = self;
        (bytes, ExchangeState { stream: Some(stream), records: number, body, ..*before })
    }

    fn take_object(&mut self, header: &NeedleHeader, copy: Copied) {
        let head = head_of(header);
        let Copied::Whole(bytes) = copy else { return self.push_damaged(head) };
        let is_large = header.kind == Kind::Manifest;
        let kind = if is_large { ExchangeKind::LargeObject } else { ExchangeKind::Object };
        let data_len = if is_large { 0 } else { header.data_len };
        let attributes_len = header.attributes_len;
        if !self.push(RecordHead { kind, attributes_len, data_len, ..head }, &bytes) {
            return self.push_damaged(head);
        }
        if is_large {
            self.body = Some(BodyPosition {
                id: header.id,
                cookie: header.cookie,
                version: header.version,
                modified_ns: header.modified_ns,
                body_len: header.body_len,
                body_checksum: header.data_checksum,
                offset: 0,
            });
        }
    }
}

impl Collector for ExchangeWriter {
    const DEPTH: Depth = Depth::Copies;

    fn is_full(&self) -> bool {
        let is_long = self.bytes.len() >= COPIES_MAX || self.number - self.first >= RECORDS_MAX;
        is_long || self.body.is_some()
    }

    fn take(&mut self, walk: &mut LogWalk<'_, '_>, found: &FoundNeedle) {
        let is_live = walk.is_live(found);
        match found {
            FoundNeedle::Whole(header, at) => match header.kind {
                Kind::Data | Kind::Manifest => {
                    if let Some(copy) = walk.take_copy(*at).filter(|_| is_live) {
                        self.take_object(header, copy);
                    }
                }
                Kind::Loss if is_live => self.push_damaged(head_of(header)),
                Kind::Tombstone if self.deletions => {
                    let head = RecordHead {
                        kind: ExchangeKind::Deletion,
                        body_len: 0,
                        body_checksum: 0,
                        ..head_of(header)
                    };
                    let is_pushed = self.push(head, &[]);
                    assert!(is_pushed, "a deletion has neither attributes nor data");
                }
                _ => {}
            },
            FoundNeedle::Damaged(footer) if is_live && footer.owner().is_some() => {
                self.push_damaged(head_of_footer(footer));
            }
            FoundNeedle::Damaged(_) => {}
        }
    }
}

fn head_of(header: &NeedleHeader) -> RecordHead {
    RecordHead {
        id: header.id,
        cookie: header.cookie,
        version: header.version,
        modified_ns: header.modified_ns,
        body_len: header.body_len,
        body_checksum: header.data_checksum,
        ..RecordHead::end(0, 0)
    }
}

fn head_of_footer(footer: &Footer) -> RecordHead {
    RecordHead { id: footer.id, cookie: footer.cookie, ..RecordHead::end(0, 0) }
}

fn head_of_body(body: &BodyPosition) -> RecordHead {
    RecordHead {
        id: body.id,
        cookie: body.cookie,
        version: body.version,
        modified_ns: body.modified_ns,
        body_len: body.body_len,
        body_checksum: body.body_checksum,
        ..RecordHead::end(0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::tests::rig::Rig;

    #[test]
    fn piece_is_full_after_its_own_records_and_with_a_body() {
        let (_rig, slot) = Rig::with_volume();
        let volume = slot.volume();
        let before = ExchangeState { stream: Some(1), records: 9000, ..ExchangeState::after(5) };
        let mut writer = ExchangeWriter::new(&volume, &before, true);
        for _ in 0..RECORDS_MAX {
            assert!(!writer.is_full());
            assert!(writer.push(RecordHead::end(0, 7), &[]));
        }
        assert!(writer.is_full());
        let (_, after) = writer.finish(&before);
        assert_eq!(after.records, 9000 + RECORDS_MAX);
    }
}
