//! Pieces of lists of objects, for the admin API.

use std::rc::Rc;

use super::manager::{ManagerState, refused};
use crate::node::control::{
    ListAnswer, ListRequest, ListedObject, ListedPiece, ListedState, Refused,
};
use crate::node::shard::ReadRecords;
use crate::volume::{Piece, PieceLimits, RecordKind, StreamRecord};

impl ManagerState {
    /// Answers a request for a piece of a list.
    pub(super) async fn list(self: Rc<Self>, request: ListRequest) {
        let piece = self.read_piece(&request).await;
        request.answer(piece);
    }

    async fn read_piece(&self, request: &ListRequest) -> ListAnswer {
        let id = request.id;
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let limits = PieceLimits::default();
        let order = ReadRecords {
            volume: id,
            from: request.from,
            deletions: request.deletions,
            limits: PieceLimits { records: limits.records.min(request.objects_max), ..limits },
        };
        let piece = self.ask(shard, order).await;
        piece.map(listed).map_err(|error| refused(id, "listed", error))
    }
}

fn listed(Piece { records, next, is_end }: Piece) -> ListedPiece {
    ListedPiece { objects: records.into_iter().map(object_of).collect(), next, is_end }
}

fn object_of(record: StreamRecord) -> ListedObject {
    ListedObject {
        state: match record.kind {
            RecordKind::Object => ListedState::Live,
            RecordKind::Damaged => ListedState::Damaged,
            RecordKind::Deletion => ListedState::Deleted,
        },
        id: record.id,
        version: record.version,
        modified_ns: record.modified_ns,
        expires_ns: record.expires_ns,
        size: record.body_len,
        content_type: record.content_type,
        is_large: record.is_large,
        digest: record.digest,
    }
}
