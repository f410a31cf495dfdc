//! What a search looks for.

use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::{Kind, NeedleHeader};
use crate::volume::log::scan::FoundNeedle;

/// The name that a search looks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought {
    /// Id of the object.
    pub id: NeedleId,
    /// Its cookie.
    pub cookie: Cookie,
}

/// The newest needle with this name and cookie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Newest {
    /// A tombstone, with this header.
    Deletion(NeedleHeader),
    /// A tombstone of which only the footer can be read.
    DamagedDeletion,
    /// An object. It was not deleted.
    Object,
}

impl Sought {
    /// Returns what a needle is, if it has the name and the cookie.
    pub fn recognise(&self, found: &FoundNeedle) -> Option<Newest> {
        let (cookie, kind) = match found {
            FoundNeedle::Whole(header, _) => (header.cookie, header.kind),
            FoundNeedle::Damaged(footer) => (footer.cookie, footer.kind),
        };
        if found.owner() != Some(self.id) || !cookie.matches(self.cookie) {
            return None;
        }
        match (kind, found) {
            (Kind::Tombstone, FoundNeedle::Whole(header, _)) => Some(Newest::Deletion(*header)),
            (Kind::Tombstone, FoundNeedle::Damaged(_)) => Some(Newest::DamagedDeletion),
            (Kind::Data | Kind::Manifest | Kind::Loss, _) => Some(Newest::Object),
            (Kind::Part | Kind::UnidentifiedLoss | Kind::DamagedRange, _) => None,
        }
    }
}
