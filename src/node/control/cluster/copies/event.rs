//! What the tasks beside the main one tell it.

use super::location::Located;
use super::peer_state::PeerAnswer;
use super::replication::{Offer, PeerName};
use crate::node::control::{OfferedPiece, Refused};

/// What the tasks beside the main one tell it.
#[derive(Debug)]
pub(super) enum Event {
    /// The master has said where copies are; `None` if it could not be asked.
    Located(Option<Located>),
    /// A node was probed; without an answer it did not answer.
    Probed(PeerName, Option<PeerAnswer>),
    /// A piece was offered.
    Offered(Box<(Offer, Result<OfferedPiece, Refused>)>),
}
