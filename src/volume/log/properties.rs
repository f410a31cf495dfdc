//! What a log says about itself, apart from its index: since when something in it is dead, and its highest
//! key. Both are functions of the needles in the log, so that a checkpoint and the log after it give what
//! the whole log gives.

use std::collections::{BTreeMap, HashMap};

use crate::base::limits::UNIT;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::volume::format::{Footer, Kind, NeedleHeader};
use crate::volume::log::expiry_sums::{Expiring, ExpirySums};

/// The parts of an id that no manifest names yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnnamedParts {
    /// Version of the first of them.
    pub version: u64,
    /// Their length on disk (bytes).
    pub len: u64,
}

/// Properties of a log.
#[derive(Debug, Default)]
pub struct LogProperties {
    oldest_dead: Option<u64>,
    key_max: u64,
    /// Parts that no manifest names yet. Those that cannot change `oldest_dead` are left out.
    unnamed: BTreeMap<NeedleId, UnnamedParts>,
    /// Number of uploads of an id, and of their needles, that are in progress.
    held: HashMap<NeedleId, u32>,
    expiry: ExpirySums,
}

impl LogProperties {
    /// Returns what a checkpoint has saved of a log.
    pub fn restored(
        oldest_dead: Option<u64>,
        key_max: u64,
        unnamed: impl IntoIterator<Item = (NeedleId, UnnamedParts)>,
        expiry: ExpirySums,
    ) -> Self {
        let unnamed = unnamed.into_iter().collect();
        Self { oldest_dead, key_max, unnamed, held: HashMap::new(), expiry }
    }

    /// Time since which something in the log is dead (nanoseconds since 1970); `None` when nothing is. It is
    /// the version of the first needle or tombstone that superseded another needle, or of the first part of
    /// an abandoned upload if that is lower. It never rises.
    ///
    /// A version is a time of the wall clock, except after the clock went back: then versions go on from the
    /// highest one by one, and run ahead of the clock until it has caught up.
    pub fn oldest_dead(&self) -> Option<u64> {
        self.oldest_dead
    }

    /// Highest key of all needles and tombstones in the log, dead or not; 0 when there are none.
    pub fn key_max(&self) -> u64 {
        self.key_max
    }

    /// Sums of the bytes that expire. Of objects that were superseded, some may still be counted: after a
    /// crash, those whose successors are in the part of the log that the last checkpoint does not cover.
    pub fn expiry(&self) -> &ExpirySums {
        &self.expiry
    }

    /// Takes note that an object that expires was superseded or deleted.
    pub fn forget_expiring(&mut self, object: Option<Expiring>) {
        if let Some(object) = object {
            self.expiry.remove(object);
        }
    }

    /// The parts that no manifest names yet, as far as they can change [`Self::oldest_dead`].
    pub fn unnamed(&self) -> impl ExactSizeIterator<Item = (NeedleId, UnnamedParts)> {
        self.unnamed.iter().map(|(id, parts)| (*id, *parts))
    }

    /// Takes note of the next needle of the log.
    pub fn note(&mut self, header: &NeedleHeader) {
        self.note_key(header.owner());
        match header.kind {
            Kind::Part => self.add_part(header.id, header.version, header.layout().len as u64),
            // Another manifest has named them before.
            Kind::Manifest if header.keeps_parts => {}
            Kind::Manifest => self.name_parts(header.id, header.parts_len()),
            Kind::Data
            | Kind::Tombstone
            | Kind::Loss
            | Kind::UnidentifiedLoss
            | Kind::DamagedRange => {}
        }
        if let Some(object) = Expiring::of(header) {
            self.expiry.add(object);
        }
        let supersedes = match header.kind {
            // `previous` is the needle in this file that it supersedes.
            Kind::Data | Kind::Tombstone | Kind::Manifest | Kind::Loss => header.previous != 0,
            Kind::Part | Kind::UnidentifiedLoss | Kind::DamagedRange => false,
        };
        if supersedes {
            self.note_death(header.version);
        }
    }

    /// Takes note of the next needle of the log, of which only the footer is known. `version` is the version
    /// of the last needle before it whose header is valid.
    pub fn note_damaged(&mut self, footer: &Footer, version: u64) {
        self.note_key(footer.owner());
        if footer.kind == Kind::Part {
            self.add_part(footer.id, version, u64::from(footer.units) * UNIT);
        }
    }

    /// Takes note that a needle died at this time (nanoseconds since 1970). A time that is not known, 0,
    /// counts as the earliest possible one.
    pub fn note_death(&mut self, at: u64) {
        if !chosen(Sabotage::DeadWithoutTime) {
            let at = at.max(1);
            self.oldest_dead = Some(self.oldest_dead.map_or(at, |oldest| oldest.min(at)));
        }
    }

    /// What has no id, or one that is not known, has no key.
    fn note_key(&mut self, id: Option<NeedleId>) {
        self.key_max = self.key_max.max(id.map_or(0, |id| id.key.0));
    }

    fn add_part(&mut self, id: NeedleId, version: u64, len: u64) {
        if let Some(parts) = self.unnamed.get_mut(&id) {
            parts.len = parts.len.saturating_add(len);
        } else if self.oldest_dead.is_none_or(|oldest| version < oldest) {
            self.unnamed.insert(id, UnnamedParts { version, len });
        }
    }

    /// A manifest names `len` bytes of the parts of its id. When parts of several uploads of one id are
    /// waiting, the first version of them all is kept, which is never too late.
    fn name_parts(&mut self, id: NeedleId, len: u64) {
        if let Some(parts) = self.unnamed.get_mut(&id) {
            parts.len = parts.len.saturating_sub(len);
            if parts.len == 0 {
                self.unnamed.remove(&id);
            }
        }
    }

    /// Records that an upload of this id, or one of its needles, is in progress: a manifest may still name
    /// the parts.
    pub fn hold_parts(&mut self, id: NeedleId) {
        *self.held.entry(id).or_default() += 1;
    }

    /// Ends a [`Self::hold_parts`], which may have been of an earlier generation. After the last one, parts
    /// that no manifest names are dead.
    pub fn release_parts(&mut self, id: NeedleId) {
        let others = self.held.get(&id).map_or(0, |held| held.saturating_sub(1));
        if others > 0 {
            self.held.insert(id, others);
        } else {
            self.held.remove(&id);
            self.abandon(id);
        }
    }

    /// Declares all parts dead that no manifest names and no upload in progress holds: the log has ended.
    pub fn abandon_unheld(&mut self) {
        let unheld = self.unnamed.keys().filter(|id| !self.held.contains_key(id));
        let unheld: Vec<NeedleId> = unheld.copied().collect();
        unheld.into_iter().for_each(|id| self.abandon(id));
    }

    fn abandon(&mut self, id: NeedleId) {
        if let Some(parts) = self.unnamed.remove(&id)
            && !chosen(Sabotage::AbandonedIsAlive)
        {
            self.note_death(parts.version);
        }
    }

    /// Memory in use (bytes), approximately. Nodes of the tree are at least half full.
    pub fn memory(&self) -> usize {
        self.unnamed.len() * 2 * size_of::<(NeedleId, UnnamedParts)>() + self.expiry.memory()
    }

    /// Checks that unnamed parts belong to an upload in progress.
    ///
    /// # Panics
    /// If they do not: nobody would declare them dead.
    pub fn audit(&self) {
        let held = self.unnamed.keys().all(|id| self.held.contains_key(id));
        assert!(held, "parts that no manifest names, and no upload in progress");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::Cookie;

    const A: NeedleId = NeedleId::new(7, 1);
    const B: NeedleId = NeedleId::new(3, 0);

    fn header(kind: Kind, id: NeedleId, version: u64, previous: u64) -> NeedleHeader {
        NeedleHeader {
            kind,
            id,
            cookie: Cookie(1),
            version,
            modified_ns: 0,
            attributes_len: 0,
            data_len: 0,
            body_len: 0,
            previous,
            epoch: 0,
            sequence: 1,
            ordinal: 0,
            batch: 0,
            batch_ordinal: 0,
            batch_count: 0,
            parts_units: 0,
            data_checksum: 0,
            expires_ns: None,
            keeps_parts: false,
        }
    }

    /// A part of 1024 bytes.
    fn part(log: &mut LogProperties, id: NeedleId, version: u64) {
        log.note(&header(Kind::Part, id, version, 0));
    }

    /// A manifest of this number of such parts.
    fn manifest(log: &mut LogProperties, id: NeedleId, version: u64, parts: u32) {
        log.note(&NeedleHeader {
            parts_units: 2 * parts,
            ..header(Kind::Manifest, id, version, 0)
        });
    }

    #[test]
    fn oldest_death_is_that_of_the_first_needle_that_supersedes() {
        let mut log = LogProperties::default();
        assert_eq!((log.oldest_dead(), log.key_max()), (None, 0));
        log.note(&header(Kind::Data, A, 10, 0));
        // The tombstone of an earlier generation, whose needle is not in this file.
        log.note(&header(Kind::Tombstone, B, 11, 0));
        assert_eq!((log.oldest_dead(), log.key_max()), (None, 7));
        log.note(&header(Kind::Data, A, 12, 66_048));
        log.note(&header(Kind::Tombstone, A, 13, 67_072));
        assert_eq!(log.oldest_dead(), Some(12));
        log.note(&NeedleHeader { parts_units: 2, ..header(Kind::Manifest, A, 5, 68_096) });
        assert_eq!(log.oldest_dead(), Some(5), "it never rises");
        log.note_death(0);
        assert_eq!(log.oldest_dead(), Some(1), "a time that is not known is the earliest");
    }

    #[test]
    fn parts_are_dead_when_no_upload_can_name_them() {
        let mut log = LogProperties::default();
        log.hold_parts(A);
        log.hold_parts(A);
        part(&mut log, A, 10);
        part(&mut log, A, 11);
        log.audit();
        log.release_parts(A);
        assert_eq!(log.oldest_dead(), None, "one of two is in progress");
        log.release_parts(A);
        assert_eq!(log.oldest_dead(), Some(10));
        assert_eq!(log.unnamed().len(), 0);
        assert_eq!(log.memory(), 0);
    }

    #[test]
    fn parts_that_a_manifest_names_are_alive() {
        let mut log = LogProperties::default();
        log.hold_parts(A);
        log.hold_parts(B);
        part(&mut log, A, 10);
        part(&mut log, B, 11);
        part(&mut log, A, 12);
        assert_eq!(log.unnamed().len(), 2);
        manifest(&mut log, A, 13, 2);
        log.release_parts(A);
        assert_eq!((log.oldest_dead(), log.unnamed().len()), (None, 1));
        log.abandon_unheld();
        assert_eq!((log.oldest_dead(), log.unnamed().len()), (None, 1), "still held");
        log.release_parts(B);
        assert_eq!(log.oldest_dead(), Some(11));
    }

    #[test]
    fn the_rest_of_the_parts_of_several_uploads_is_dead_since_the_first() {
        let mut log = LogProperties::default();
        for version in [10, 11, 12] {
            part(&mut log, A, version);
        }
        manifest(&mut log, A, 13, 2);
        part(&mut log, B, 14);
        assert_eq!(log.oldest_dead(), None);
        log.abandon_unheld();
        assert_eq!((log.oldest_dead(), log.unnamed().len()), (Some(10), 0));
    }

    #[test]
    fn parts_that_cannot_be_the_oldest_are_not_kept() {
        let mut log = LogProperties::default();
        part(&mut log, A, 10);
        log.note(&header(Kind::Data, B, 12, 66_048));
        part(&mut log, B, 13);
        part(&mut log, A, 14);
        let kept: Vec<_> = log.unnamed().collect();
        assert_eq!(kept, [(A, UnnamedParts { version: 10, len: 2048 })]);
        assert!(log.memory() > 0);
        // Claims more than there is.
        manifest(&mut log, A, 15, 9);
        log.abandon_unheld();
        assert_eq!(log.oldest_dead(), Some(12));
    }

    #[test]
    fn hold_of_an_earlier_generation_can_be_released() {
        let mut log = LogProperties::default();
        log.release_parts(A);
        assert_eq!(log.oldest_dead(), None);
        part(&mut log, A, 10);
        log.release_parts(A);
        log.audit();
        assert_eq!(log.oldest_dead(), Some(10));
    }

    #[test]
    fn records_of_losses_count_where_they_supersede_and_have_an_id() {
        let mut log = LogProperties::default();
        log.note(&header(Kind::Loss, A, 10, 0));
        let unidentified = NeedleId::new(u64::MAX, 40);
        log.note(&header(Kind::UnidentifiedLoss, unidentified, 11, 0));
        log.note(&header(Kind::DamagedRange, NeedleId::new(65_536, 1), 12, 0));
        assert_eq!((log.oldest_dead(), log.key_max()), (None, 7));
        log.note(&header(Kind::Loss, B, 13, 66_048));
        log.note(&header(Kind::Data, A, 14, 67_072));
        assert_eq!((log.oldest_dead(), log.key_max()), (Some(13), 7));
    }

    #[test]
    fn damaged_needles_count_with_the_version_before_them() {
        let footer = |kind, id| Footer {
            kind,
            id,
            units: 3,
            sequence: 1,
            epoch: 1,
            ordinal: 0,
            cookie: Cookie(1),
            start: 66_048,
        };
        let mut log = LogProperties::default();
        log.note_damaged(&footer(Kind::Data, A), 9);
        log.note_damaged(&footer(Kind::Part, B), 10);
        assert_eq!((log.oldest_dead(), log.key_max()), (None, 7));
        assert_eq!(
            log.unnamed().collect::<Vec<_>>(),
            [(B, UnnamedParts { version: 10, len: 1536 })]
        );
    }

    #[test]
    #[should_panic(expected = "no upload in progress")]
    fn unnamed_parts_that_nobody_holds_are_noticed() {
        let mut log = LogProperties::default();
        part(&mut log, A, 10);
        log.audit();
    }
}
