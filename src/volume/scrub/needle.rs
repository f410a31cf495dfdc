//! Verifying one needle: its header, its other sections, its footer. What does not match is read again once:
//! some errors go away.

use std::rc::Rc;

use super::copies::{COPIES_MAX, Copied, Copies};
use super::flaw::{Finding, Flaw};
use super::parts::{Parts, SeenPart, digest_of};
use super::scrubbed::Scrubbed;
use crate::base::limits::UNIT;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::Volume;
use crate::volume::format::{
    HEADER_LEN, Kind, NeedleHeader, Spare, Unreadable, damaged_spare, decode_header, footer_at,
    verify_data, verify_meta,
};
use crate::volume::health::Severity;
use crate::volume::index::Location;
use crate::volume::log::log_reader::LogReader;
use crate::volume::log::scan::{FoundNeedle, ScanFilter};

/// Reads and verifies needles of a volume.
pub(in crate::volume) struct Examiner<'a> {
    /// The volume.
    pub volume: &'a Rc<Volume>,
    /// Its log. Sectors that cannot be read are zeros in it.
    pub reader: LogReader,
    /// End of what may be read (bytes).
    pub to: u64,
    /// Parts that no manifest has named so far.
    pub parts: Parts,
    /// What was done so far.
    pub done: Scrubbed,
    /// Copies of live needles, of a walk that makes them.
    pub copies: Copies,
}

impl<'a> Examiner<'a> {
    /// Creates an examiner that may read up to `to` (bytes).
    pub fn new(volume: &'a Rc<Volume>, reader: LogReader, to: u64) -> Self {
        Self {
            volume,
            reader,
            to,
            parts: Parts::default(),
            done: Scrubbed::default(),
            copies: Copies::default(),
        }
    }

    /// Makes sure that the window holds a range.
    pub async fn fill(&mut self, offset: u64, len: u64) {
        let filled = self.reader.fill(offset, len, self.to).await;
        filled.expect("sectors that cannot be read are replaced by zeros");
    }

    /// Reads a range again. Returns whether the device could not read all of it.
    pub async fn fill_again(&mut self, offset: u64, len: u64) -> bool {
        let filled = self.reader.fill_again(offset, len, self.to).await;
        filled.expect("sectors that cannot be read are replaced by zeros") > 0
    }

    /// Returns the needle of which the unit at `at` is a header or the footer, if it is `wanted` and within
    /// `from..end`; and its end.
    pub async fn recognise(
        &mut self,
        at: u64,
        (from, end): (u64, u64),
        wanted: &ScanFilter,
    ) -> Option<(FoundNeedle, u64)> {
        self.fill(at, UNIT).await;
        let incarnation = self.volume.superblock.incarnation;
        let unit = self.reader.bytes(at, UNIT);
        if let Some((header, back)) = decode_header(unit, incarnation, at) {
            let offset = at.checked_sub(back).filter(|offset| *offset >= from)?;
            let location = Location { offset, len: header.layout().len as u64 };
            let needle_end = offset + location.len;
            let fits = wanted.accepts(header.sequence, header.epoch) && needle_end <= end;
            return fits.then_some((FoundNeedle::Whole(header, location), needle_end));
        }
        let footer = footer_at(unit, incarnation, at + UNIT)?;
        let fits = footer.start >= from && wanted.accepts(footer.sequence, footer.epoch);
        fits.then_some((FoundNeedle::Damaged(footer), at + UNIT))
    }

    /// Whether the index has this needle.
    pub fn is_live(&self, found: &FoundNeedle) -> bool {
        self.indexed(found) == Some(found.location())
    }

    /// Returns what the index has at the offset of this needle.
    fn indexed(&self, found: &FoundNeedle) -> Option<Location> {
        let id = match found {
            FoundNeedle::Whole(header, _) => header.id,
            FoundNeedle::Damaged(footer) => footer.id,
        };
        let (at, contents) = (found.location(), self.volume.contents.borrow());
        let mut candidates = contents.index().candidates(self.volume.hasher.hash(id));
        candidates.find(|candidate| candidate.offset == at.offset)
    }

    /// Verifies a needle as far as somebody may need it. Returns what is wrong.
    pub async fn examine(&mut self, found: &FoundNeedle) -> Vec<Finding> {
        match found {
            FoundNeedle::Whole(header, at) => self.examine_whole(header, *at, found).await,
            FoundNeedle::Damaged(footer) => {
                let matters = match footer.kind {
                    Kind::Data | Kind::Manifest | Kind::Loss => self.is_live(found),
                    // The manifest misses it, if there is one.
                    Kind::Part => false,
                    Kind::Tombstone | Kind::UnidentifiedLoss | Kind::DamagedRange => true,
                };
                let at = found.location();
                let is_io = matters && self.fill_again(at.offset, UNIT).await;
                let flaw = Flaw::Needle(Unreadable::Header);
                let finding = Finding { at, id: footer.owner(), flaw, is_io };
                matters.then_some(finding).into_iter().collect()
            }
        }
    }

    /// Copies a needle, if it lives: its attributes, and its data if `with_data`. Returns whether the walk
    /// goes on behind it: not if the copies are long enough without it.
    pub async fn keep_copy(&mut self, found: &FoundNeedle, with_data: bool) -> bool {
        let FoundNeedle::Whole(header, at) = found else { return true };
        let is_object = matches!(header.kind, Kind::Data | Kind::Manifest);
        if !is_object || at.offset < self.copies.from || !self.is_live(found) {
            return true;
        }
        let layout = header.layout();
        if with_data && self.copies.len > 0 {
            let is_long = self.copies.len + layout.data_len > COPIES_MAX;
            if is_long || !self.reader.holds(at.offset, at.len) {
                self.copies.stopped_at = Some(at.offset);
                return false;
            }
        }
        let copy = match with_data {
            true => self.copy_of_all(header, *at).await,
            false => self.copy_of_attributes(header, *at).await,
        };
        self.copies.kept.insert(at.offset, copy.map_or(Copied::Damaged, Copied::Whole));
        true
    }

    async fn copy_of_all(&mut self, header: &NeedleHeader, at: Location) -> Option<Vec<u8>> {
        if let Some((Flaw::Needle(_), _)) = self.verify(header, at).await {
            return None;
        }
        let layout = header.layout();
        let bytes = self.reader.bytes(at.offset, at.len);
        let data = if header.kind == Kind::Data { layout.data_range() } else { 0..0 };
        let copy = [&bytes[layout.attributes()], &bytes[data]].concat();
        // A needle without data counts, too.
        self.copies.len += copy.len() + HEADER_LEN;
        Some(copy)
    }

    async fn copy_of_attributes(&mut self, header: &NeedleHeader, at: Location) -> Option<Vec<u8>> {
        let layout = header.layout();
        let (len, incarnation) = (layout.data_start as u64, self.volume.superblock.incarnation);
        self.fill(at.offset, len).await;
        let mut verified = verify_meta(self.reader.bytes(at.offset, len), header, incarnation);
        if verified.is_err() {
            self.fill_again(at.offset, len).await;
            verified = verify_meta(self.reader.bytes(at.offset, len), header, incarnation);
        }
        verified.ok()?;
        Some(self.reader.bytes(at.offset, len)[layout.attributes()].to_vec())
    }

    async fn examine_whole(
        &mut self,
        header: &NeedleHeader,
        at: Location,
        found: &FoundNeedle,
    ) -> Vec<Finding> {
        let id = header.owner();
        if matches!(header.kind, Kind::Data | Kind::Manifest) {
            match self.indexed(found) {
                // It is dead.
                None => return Vec::new(),
                Some(indexed) if indexed == at => {}
                Some(_) => return vec![Finding { at, id, flaw: Flaw::NotIndexed, is_io: false }],
            }
        }
        let flaw = self.verify(header, at).await;
        match header.kind {
            Kind::Part => {
                self.done.parts += 1;
                let digest = flaw.is_none().then(|| digest_of(self.data(header, at)));
                let is_io = flaw.is_some_and(|(_, is_io)| is_io);
                self.parts.add(at.offset, SeenPart { len: header.data_len, digest, is_io });
                return Vec::new();
            }
            Kind::Data | Kind::Manifest | Kind::Tombstone => self.done.needles += 1,
            Kind::Loss | Kind::UnidentifiedLoss | Kind::DamagedRange => {}
        }
        if let Some((flaw, is_io)) = flaw {
            return vec![Finding { at, id, flaw, is_io }];
        }
        if header.kind == Kind::Manifest && !chosen(Sabotage::SkipParts) {
            let layout = header.layout();
            let data = &self.reader.bytes(at.offset, at.len)[layout.data_range()];
            return self.parts.check(header.id, at, data);
        }
        Vec::new()
    }

    fn data(&mut self, header: &NeedleHeader, at: Location) -> &[u8] {
        &self.reader.bytes(at.offset, at.len)[header.layout().data_range()]
    }

    /// Verifies all sections of a needle. Returns what is wrong, also after reading it again, and whether the
    /// device could not read it. The window holds the needle afterwards.
    async fn verify(&mut self, header: &NeedleHeader, at: Location) -> Option<(Flaw, bool)> {
        self.fill(at.offset, at.len).await;
        let first = Some(self.flaw_of(header, at)?);
        let is_io = self.fill_again(at.offset, at.len).await;
        let flaw = if chosen(Sabotage::ReadOnce) { first } else { self.flaw_of(header, at) };
        if flaw.is_none() {
            self.done.healed += 1;
            let range = at.offset..at.offset + at.len;
            self.volume.file.note_wrong_bytes(range, Severity::Soft);
        }
        flaw.map(|flaw| (flaw, is_io))
    }

    fn flaw_of(&mut self, header: &NeedleHeader, at: Location) -> Option<Flaw> {
        let incarnation = self.volume.superblock.incarnation;
        flaw_of(self.reader.bytes(at.offset, at.len), header, incarnation, at)
    }
}

/// Returns what is wrong with the bytes of a needle, one of whose headers was read.
fn flaw_of(bytes: &[u8], header: &NeedleHeader, incarnation: u64, at: Location) -> Option<Flaw> {
    if let Err(what) = verified(bytes, header, incarnation) {
        return Some(Flaw::Needle(what));
    }
    match damaged_spare(bytes, header, incarnation, at.offset)? {
        Spare::Header => Some(Flaw::HeaderCopy),
        Spare::Footer if chosen(Sabotage::SkipFooters) => None,
        Spare::Footer => Some(Flaw::Footer),
    }
}

fn verified(bytes: &[u8], header: &NeedleHeader, incarnation: u64) -> Result<(), Unreadable> {
    verify_meta(bytes, header, incarnation)?;
    if chosen(Sabotage::ScrubHeadersOnly) { Ok(()) } else { verify_data(bytes, header) }
}

#[cfg(test)]
mod tests;
