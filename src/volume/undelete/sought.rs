//! What a search looks for, and what of it was found.

use std::collections::BTreeMap;

use crate::base::types::{Cookie, NeedleId};
use crate::volume::format::{Kind, NeedleHeader};
use crate::volume::log::scan::FoundNeedle;

/// The names that a search looks for, and the newest needle of each that was found.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    photos: BTreeMap<NeedleId, SoughtPhoto>,
}

#[derive(Clone, Copy, Debug)]
struct SoughtPhoto {
    cookie: Cookie,
    newest: Option<Newest>,
}

/// The newest needle with a name and its cookie.
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
    /// Nothing was found yet.
    pub fn new(photos: impl Iterator<Item = (NeedleId, Cookie)>) -> Self {
        let sought = |(id, cookie)| (id, SoughtPhoto { cookie, newest: None });
        Self { photos: photos.map(sought).collect() }
    }

    /// Returns what a needle is, if it has one of the names and its cookie.
    pub fn recognise(&self, found: &FoundNeedle) -> Option<(NeedleId, Newest)> {
        let id = found.owner()?;
        let (cookie, kind) = match found {
            FoundNeedle::Whole(header, _) => (header.cookie, header.kind),
            FoundNeedle::Damaged(footer) => (footer.cookie, footer.kind),
        };
        if !cookie.matches(self.photos.get(&id)?.cookie) {
            return None;
        }
        let newest = match (kind, found) {
            (Kind::Tombstone, FoundNeedle::Whole(header, _)) => Newest::Deletion(*header),
            (Kind::Tombstone, FoundNeedle::Damaged(_)) => Newest::DamagedDeletion,
            (Kind::Data | Kind::Manifest | Kind::Loss, _) => Newest::Object,
            (Kind::Part | Kind::UnidentifiedLoss | Kind::DamagedRange, _) => return None,
        };
        Some((id, newest))
    }

    /// Returns the newest needle with the name that was found.
    pub fn newest(&self, id: NeedleId) -> Option<Newest> {
        self.photos.get(&id).and_then(|photo| photo.newest)
    }

    /// Takes in what is in a section before everything that was read so far.
    pub fn add_older(&mut self, found: BTreeMap<NeedleId, Newest>) {
        for (id, newest) in found {
            if let Some(photo) = self.photos.get_mut(&id) {
                photo.newest.get_or_insert(newest);
            }
        }
    }

    /// Takes in what is after everything that was read so far.
    pub fn add_newer(&mut self, found: &BTreeMap<NeedleId, Newest>) {
        for (id, newest) in found {
            if let Some(photo) = self.photos.get_mut(id) {
                photo.newest = Some(*newest);
            }
        }
    }

    /// Whether a needle of each was found.
    pub fn is_complete(&self) -> bool {
        self.photos.values().all(|photo| photo.newest.is_some())
    }
}
