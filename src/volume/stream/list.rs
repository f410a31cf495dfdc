//! Lists: records of what is in a volume, without bodies.

use super::collector::Collector;
use super::not_read::NotStreamed;
use super::piece::{Piece, PieceLimits};
use super::record::{RecordKind, StreamRecord};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::stream_position::StreamPosition;
use crate::volume::Slot;
use crate::volume::format::{
    Attribute, DigestedObject, Kind, NeedleHeader, attributes, damaged_digest,
};
use crate::volume::log::scan::FoundNeedle;
use crate::volume::scrub::copies::Copied;
use crate::volume::scrub::walk::{Depth, LogWalk};

impl Slot {
    /// Reads the next piece of a stream: objects that live now, and with `deletions` the records of
    /// deletions. An object that exists from the first piece to the end of the log is in some piece; in
    /// several, each time with a higher version, if it is stored again meanwhile.
    ///
    /// # Errors
    /// See [`NotStreamed`].
    pub async fn read_records(
        &self,
        from: StreamPosition,
        deletions: bool,
        limits: PieceLimits,
    ) -> Result<Piece, NotStreamed> {
        let _turn = self.streams.take().await?;
        loop {
            let volume = self.volume();
            if deletions {
                volume.expect_history(from.version)?;
            }
            let mut list = List { deletions, limits, records: Vec::new(), attributes: 0 };
            let (next, is_end) = self.collect(&volume, from, limits.read, &mut list).await?;
            // The index of a superseded generation tells nothing.
            if self.is_current(&volume) || chosen(Sabotage::StreamSupersededFile) {
                return Ok(Piece { records: list.records, next, is_end });
            }
        }
    }
}

/// Collects the records of a piece.
struct List {
    deletions: bool,
    limits: PieceLimits,
    records: Vec<StreamRecord>,
    /// Length of the attributes so far (bytes).
    attributes: usize,
}

impl Collector for List {
    const DEPTH: Depth = Depth::Attributes;

    fn is_full(&self) -> bool {
        self.records.len() >= self.limits.records || self.attributes >= self.limits.attributes
    }

    fn take(&mut self, walk: &mut LogWalk<'_, '_>, found: &FoundNeedle) {
        if let Some(record) = self.record(walk, found) {
            self.attributes += record.content_type.as_ref().map_or(0, Vec::len);
            self.records.push(record);
        }
    }
}

impl List {
    fn record(&self, walk: &mut LogWalk<'_, '_>, found: &FoundNeedle) -> Option<StreamRecord> {
        let id = found.owner()?;
        let header = match found {
            FoundNeedle::Whole(header, _) => header,
            FoundNeedle::Damaged(footer) => {
                let is_object = matches!(footer.kind, Kind::Data | Kind::Manifest | Kind::Loss);
                let damaged = StreamRecord {
                    is_large: footer.kind == Kind::Manifest,
                    ..StreamRecord::bare(RecordKind::Damaged, id)
                };
                return (is_object && walk.is_live(found)).then_some(damaged);
            }
        };
        let is_live = || walk.is_live(found) || chosen(Sabotage::StreamTheDead);
        match header.kind {
            Kind::Data | Kind::Manifest => {
                let is_live = is_live();
                let stored = walk.take_copy(found.location());
                is_live.then(|| object(header, stored))
            }
            Kind::Loss => is_live().then_some(StreamRecord::bare(RecordKind::Damaged, id)),
            Kind::Tombstone if self.deletions => Some(StreamRecord {
                cookie: Some(header.cookie),
                version: header.version,
                modified_ns: Some(header.modified_ns),
                ..StreamRecord::bare(RecordKind::Deletion, id)
            }),
            _ => None,
        }
    }
}

/// Returns the record of a live object, with its attributes as they are stored if they are undamaged.
fn object(header: &NeedleHeader, stored: Option<Copied>) -> StreamRecord {
    let stored = stored.and_then(Copied::into_bytes);
    let digest = stored.as_deref().map(|attributes| {
        let object = DigestedObject {
            id: header.id,
            cookie: header.cookie,
            modified_ns: header.modified_ns,
            body_len: header.body_len,
            body_checksum: header.data_checksum,
            attributes,
        };
        object.digest()
    });
    let content_type = stored.as_deref().and_then(|stored| {
        let found = attributes(stored).find(|one| one.code == Attribute::CONTENT_TYPE);
        found.map(|found| found.value.to_vec())
    });
    StreamRecord {
        kind: if stored.is_some() { RecordKind::Object } else { RecordKind::Damaged },
        id: header.id,
        cookie: Some(header.cookie),
        version: header.version,
        modified_ns: Some(header.modified_ns),
        expires_ns: header.expires_ns,
        body_len: Some(header.body_len),
        content_type,
        is_large: header.kind == Kind::Manifest,
        digest: Some(digest.unwrap_or_else(|| damaged_digest(header.id))),
    }
}
