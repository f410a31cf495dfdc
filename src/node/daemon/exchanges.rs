//! Pieces of streams in the exchange format, for the admin API.

use std::rc::Rc;

use super::manager::{ManagerState, refused};
use crate::node::control::{ExchangeAnswer, ExchangeRequest, ExchangedPiece, Refused};
use crate::node::shard::ReadExchange;
use crate::volume::ExchangePiece;

impl ManagerState {
    /// Answers a request for a piece of a stream.
    pub(super) async fn exchange(self: Rc<Self>, request: ExchangeRequest) {
        let piece = self.read_exchange(&request).await;
        request.answer(piece);
    }

    async fn read_exchange(&self, request: &ExchangeRequest) -> ExchangeAnswer {
        let ExchangeRequest { id, from, deletions, .. } = *request;
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let piece = self.ask(shard, ReadExchange { volume: id, from, deletions }).await;
        let piece = piece.map_err(|error| refused(id, "read", error))?;
        let ExchangePiece { bytes, next, is_end } = piece;
        Ok(ExchangedPiece { bytes, next, is_end })
    }
}
