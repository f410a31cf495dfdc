//! Restoring the state of a volume from the pieces of a checkpoint. If any part is not correct, nothing of it
//! is used.

use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::NeedleId;
use crate::runtime::Handle;
use crate::volume::checkpoint::convert::{damaged_range, log_end, unnamed_parts};
use crate::volume::format::{
    CheckpointFooter, CheckpointPiece, CheckpointProperty, LogPosition, PieceKind, SegmentRecord,
    decode_damage, decode_pairs, decode_properties,
};
use crate::volume::log::contents::Contents;
use crate::volume::log::expiry_sums::ExpirySums;
use crate::volume::log::properties::{LogProperties, UnnamedParts};
use crate::volume::log::recover::Saved;
use crate::volume::log::{DamageSource, DamagedRange};

/// State restored so far.
pub struct Restoring {
    contents: Contents,
    log_end: u64,
    stash: Vec<(u64, u64)>,
    damage: Vec<DamagedRange>,
    /// First hash of the next segment.
    from: u64,
    /// End of the last needle (bytes).
    end: u64,
    segments: u64,
    entries: u64,
    parts: u64,
    properties: u64,
    oldest_dead: Option<u64>,
    key_max: Option<u64>,
    expiry: Option<Vec<(u32, u64)>>,
    unnamed: Vec<(NeedleId, UnnamedParts)>,
    last: PieceKind,
}

impl Restoring {
    /// Begins to restore `contents`, which are empty, of a log that ends at `log_end` at the latest.
    pub fn new(contents: Contents, log_end: u64) -> Self {
        Self {
            contents,
            log_end,
            stash: Vec::new(),
            damage: Vec::new(),
            from: 0,
            end: 0,
            segments: 0,
            entries: 0,
            parts: 0,
            properties: 0,
            oldest_dead: None,
            key_max: None,
            expiry: None,
            unnamed: Vec::new(),
            last: PieceKind::Header,
        }
    }

    /// Applies a piece. Returns `None` if it is not correct. Yields to other tasks in between.
    pub async fn take(&mut self, handle: &Handle, piece: &CheckpointPiece<'_>) -> Option<()> {
        handle.yield_now().await;
        if (piece.kind as u32) < self.last as u32 {
            return None;
        }
        self.last = piece.kind;
        match piece.kind {
            PieceKind::Header | PieceKind::Footer => return None,
            PieceKind::Stash => self.stash.extend(decode_pairs(piece.payload, piece.count)?),
            PieceKind::Segments => {
                let mut rest = piece.payload;
                for _ in 0..piece.count {
                    let (segment, behind) = SegmentRecord::decode(rest)?;
                    self.take_segment(segment)?;
                    rest = behind;
                    handle.yield_now().await;
                }
                return rest.is_empty().then_some(());
            }
            PieceKind::Parts => {
                for (manifest, len) in decode_pairs(piece.payload, piece.count)? {
                    self.contents.restore_parts(manifest, len.min(self.log_end));
                }
                self.parts += u64::from(piece.count);
            }
            PieceKind::Damage => {
                let places = decode_damage(piece.payload, piece.count)?;
                self.damage.extend(places.map(damaged_range));
            }
            PieceKind::Properties => {
                for property in decode_properties(piece.payload, piece.count)? {
                    self.take_property(property)?;
                }
                self.properties += u64::from(piece.count);
            }
        }
        Some(())
    }

    /// Applies a property. Returns `None` if there is one twice that occurs once.
    fn take_property(&mut self, property: CheckpointProperty) -> Option<()> {
        let is_first = match property {
            CheckpointProperty::OldestDead(at) => self.oldest_dead.replace(at).is_none(),
            CheckpointProperty::KeyMax(key) => self.key_max.replace(key).is_none(),
            CheckpointProperty::ExpirySums(days) => self.expiry.replace(days).is_none(),
            CheckpointProperty::UnnamedParts(parts) => {
                self.unnamed.extend(parts.iter().map(unnamed_parts));
                true
            }
        };
        is_first.then_some(())
    }

    fn restored_properties(&self) -> LogProperties {
        let is_taken = |mistake| !chosen(mistake);
        let oldest_dead = self.oldest_dead.filter(|_| is_taken(Sabotage::ForgetOldestDead));
        let key_max = self.key_max.filter(|_| is_taken(Sabotage::ForgetKeyMax));
        let unnamed = self.unnamed.iter().copied();
        let unnamed = unnamed.filter(|_| is_taken(Sabotage::ForgetUnnamedParts));
        let days = self.expiry.iter().flatten().copied();
        let expiry = ExpirySums::restored(days.filter(|_| is_taken(Sabotage::ForgetExpirySums)));
        LogProperties::restored(oldest_dead, key_max.unwrap_or(0), unnamed, expiry)
    }

    fn take_segment(&mut self, segment: SegmentRecord<'_>) -> Option<()> {
        let index = self.contents.index_mut();
        let (prefix, depth) = (segment.prefix, segment.depth);
        let (next, extent) = index.restore_segment(self.from, prefix, depth, segment.buckets())?;
        self.from = next;
        self.end = self.end.max(extent.end);
        self.segments += 1;
        self.entries += u64::from(segment.len);
        self.contents.account(extent.len, &extent.sums);
        (self.end <= self.log_end).then_some(())
    }

    /// Whether the highest key is known.
    pub fn has_key_max(&self) -> bool {
        self.key_max.is_some()
    }

    /// Completes the restoring. Returns `None` if something is missing or does not agree.
    pub fn finish(mut self, covers: LogPosition, footer: CheckpointFooter) -> Option<Saved> {
        let reached = footer.reached;
        let fits = covers.fits(self.log_end)
            && reached.fits(self.log_end)
            && covers.tail <= reached.tail
            && covers.sequence <= reached.sequence;
        let counts = (self.stash.len() as u64, self.segments, self.entries, self.parts);
        let wanted = (footer.stash, footer.segments, footer.entries, footer.parts);
        let whole = counts == wanted
            && self.damage.len() as u64 == footer.damage
            && self.properties == footer.properties;
        if !fits || !whole || !self.contents.index_mut().finish_restore(self.from) {
            return None;
        }
        *self.contents.properties_mut() = self.restored_properties();
        for (hash, entry) in self.stash {
            // An entry that moved into the table after the stash was written is already present.
            if let Some(at) = self.contents.index_mut().restore_stashed(hash, entry) {
                self.contents.account_one(at);
                self.end = self.end.max(at.offset + at.len);
            }
        }
        // Each of them is in the index by now, or its record is replayed.
        for lost in self.damage.extract_if(.., |range| range.source == DamageSource::Loss) {
            self.contents.note_loss(lost.at, lost.id);
        }
        let late = chosen(Sabotage::CheckpointTailTooLate);
        let covers = log_end(if late { reached } else { covers });
        let (contents, damage, reached) = (self.contents, self.damage, log_end(reached));
        let saved = Saved { contents, damage, covers, reached, epoch: 0 };
        (self.end <= reached.tail).then_some(saved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sim::disk::Image;
    use crate::volume::format::UnnamedRecord;
    use crate::volume::index::{Hasher, Index, Location};
    use crate::volume::tests::rig::Rig;

    const LOG_END: u64 = 1 << 30;

    fn position(tail: u64, sequence: u64) -> LogPosition {
        LogPosition { record_at: tail - 4096, tail, sequence, record_checksum: 1, version: 1 }
    }

    /// A restoring with a damaged range, a manifest with parts, and all segments of an index; and the footer
    /// that belongs to it.
    fn restoring() -> (Restoring, CheckpointFooter) {
        let mut saved = Contents::new(Index::for_volume(LOG_END));
        for n in 0..16 {
            let hash = Hasher::new(1).hash(NeedleId::new(n, 1));
            saved.insert(hash, Location { offset: 66_048 + n * 512, len: 512 }, 0);
        }
        let contents = Contents::new(Index::for_volume(LOG_END));
        let mut restoring = Restoring {
            damage: vec![DamagedRange::of_file(Location { offset: 65_536, len: 512 }, None)],
            end: 81_920,
            entries: 3,
            parts: 1,
            properties: 2,
            ..Restoring::new(contents, LOG_END)
        };
        while let Some(segment) = saved.index().saved_segment(restoring.from) {
            let (prefix, depth, from) = (segment.prefix, segment.depth, restoring.from);
            let restored = restoring.contents.index_mut();
            let buckets = segment.buckets();
            restoring.from = restored.restore_segment(from, prefix, depth, buckets).unwrap().0;
            restoring.segments += 1;
        }
        let footer = CheckpointFooter {
            reached: position(81_920, 7),
            stash: 0,
            segments: restoring.segments,
            entries: 3,
            parts: 1,
            damage: 1,
            properties: 2,
            len: 0,
            sums: 0,
        };
        (restoring, footer)
    }

    #[test]
    fn a_checkpoint_is_complete_only_if_all_totals_agree() {
        let finish = |change: fn(&mut CheckpointFooter)| {
            let (restoring, mut footer) = restoring();
            change(&mut footer);
            restoring.finish(position(77_824, 6), footer).is_some()
        };
        assert!(finish(|_| ()));
        assert!(!finish(|footer| footer.stash += 1));
        assert!(!finish(|footer| footer.segments += 1));
        assert!(!finish(|footer| footer.entries -= 1));
        assert!(!finish(|footer| footer.parts += 1));
        assert!(!finish(|footer| footer.damage -= 1));
        assert!(!finish(|footer| footer.properties += 1));
        let (mut restoring, footer) = restoring();
        assert_ne!((restoring.segments, restoring.from), (0, 0));
        restoring.from = 0;
        assert!(restoring.finish(position(77_824, 6), footer).is_none(), "segments are missing");
    }

    #[test]
    fn positions_of_a_checkpoint_are_in_order_and_inside_the_log() {
        let finish = |covers, reached| {
            let (restoring, footer) = restoring();
            restoring.finish(covers, CheckpointFooter { reached, ..footer }).is_some()
        };
        assert!(finish(position(81_920, 7), position(81_920, 7)), "nothing was written meanwhile");
        assert!(!finish(position(86_016, 7), position(81_920, 7)), "covers is after reached");
        assert!(!finish(position(81_920, 8), position(81_920, 7)));
        assert!(finish(position(LOG_END, 7), position(LOG_END, 7)));
        assert!(!finish(position(81_920, 7), position(LOG_END + 4096, 7)), "after the log");
        assert!(!finish(position(65_536, 7), position(81_920, 7)), "before the log");
        assert!(!finish(position(77_824, 6), position(77_824, 7)), "a needle is after reached");
    }

    #[test]
    fn pieces_that_are_not_in_order_are_refused() {
        let mut rig = Rig::new(&Image::default());
        let handle = rig.handle();
        rig.run(async move {
            let contents = Contents::new(Index::for_volume(LOG_END));
            let mut restoring = Restoring::new(contents, LOG_END);
            for (kind, is_next) in [
                (PieceKind::Stash, true),
                (PieceKind::Stash, true),
                (PieceKind::Damage, true),
                (PieceKind::Parts, false),
                (PieceKind::Damage, true),
                (PieceKind::Footer, false),
            ] {
                let piece = CheckpointPiece { kind, count: 0, payload: &[], sum: 0 };
                let taken = restoring.take(&handle, &piece).await;
                assert_eq!(taken.is_some(), is_next, "{kind:?}");
            }
        });
    }

    #[test]
    fn a_number_that_occurs_twice_is_refused() {
        let mut restoring = Restoring::new(Contents::new(Index::for_volume(LOG_END)), LOG_END);
        let properties = restoring.restored_properties();
        assert_eq!((properties.oldest_dead(), properties.key_max()), (None, 0), "there are none");
        let mut take = |property| restoring.take_property(property).is_some();
        assert!(take(CheckpointProperty::OldestDead(7)) && take(CheckpointProperty::KeyMax(8)));
        assert!(!take(CheckpointProperty::OldestDead(7)) && !take(CheckpointProperty::KeyMax(8)));
        let unnamed = |n| UnnamedRecord { id: (n, 1), version: n, len: 512 };
        for n in 0..2 {
            assert!(take(CheckpointProperty::UnnamedParts(vec![unnamed(n)])), "in several entries");
        }
        let properties = restoring.restored_properties();
        assert_eq!((properties.oldest_dead(), properties.key_max()), (Some(7), 8));
        assert_eq!(properties.unnamed().len(), 2);
    }
}
