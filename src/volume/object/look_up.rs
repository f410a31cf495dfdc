//! Looking up the needle that a write would supersede.

use crate::base::limits::UNIT;
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
use crate::volume::Volume;
use crate::volume::error::Refusal;
use crate::volume::format::{Kind, NeedleHeader, decode_header, footer_at};
use crate::volume::health::Severity;
use crate::volume::index::Location;
use crate::volume::io::count;

/// Result of looking up an id.
pub enum Present {
    /// No needle has the id.
    No,
    /// The needle has the id.
    Yes(NeedleHeader, Location),
    /// The needle has the id, but has expired: it counts as absent, and is superseded by what takes its name.
    Expired(NeedleHeader, Location),
    /// The needle has the id, but its header cannot be read and the footer holds the cookie; or it is the
    /// record of a lost object.
    Damaged(Cookie, Location),
    /// A needle with the hash of the id cannot be identified.
    Unknown,
    /// The device cannot read what would identify the needle, at least at present.
    Lost,
}

/// What identifies a needle.
enum Identity {
    Readable(NeedleHeader),
    Attributed(NeedleId, Cookie),
    Unknown,
    Lost,
}

impl Volume {
    /// Looks up `id` in the index and confirms it by reading the needle: a matching hash does not prove
    /// identity.
    pub(in crate::volume) async fn look_up(&self, id: NeedleId) -> Result<Present, Refusal> {
        let hash = self.hasher.hash(id);
        let (mut below, mut result) = (u64::MAX, Present::No);
        loop {
            let candidate = self.contents.borrow().index().newest_below(hash, below);
            let Some(at) = candidate else { return Ok(result) };
            below = at.offset;
            match self.identify(at).await? {
                Identity::Readable(header) if header.id == id => {
                    return Ok(self.present(header, at));
                }
                Identity::Attributed(owner, cookie) if owner == id => {
                    return Ok(Present::Damaged(cookie, at));
                }
                Identity::Unknown if !matches!(result, Present::Lost) => result = Present::Unknown,
                Identity::Unknown => {}
                Identity::Lost => result = Present::Lost,
                _ => count(&self.stats().false_candidates, 1),
            }
        }
    }

    fn present(&self, header: NeedleHeader, at: Location) -> Present {
        match self.is_expired(&header) && !chosen(Sabotage::ExpiredKeepsName) {
            true => Present::Expired(header, at),
            false => Present::Yes(header, at),
        }
    }

    /// Returns the object that the needle at `at` belongs to, and its cookie, if its first or its last unit
    /// says so.
    pub(in crate::volume) async fn owner_of(&self, at: Location) -> Option<(NeedleId, Cookie)> {
        match self.identify(at).await.ok()? {
            Identity::Readable(header) => Some((header.id, header.cookie)),
            Identity::Attributed(owner, cookie) => Some((owner, cookie)),
            Identity::Unknown | Identity::Lost => None,
        }
    }

    async fn identify(&self, at: Location) -> Result<Identity, Refusal> {
        let unit = UNIT as usize;
        let incarnation = self.superblock.incarnation;
        let reads = &self.file.stats.other_reads;
        let mut buf = self.handle.pool().alloc(unit).ok_or(Refusal::NoBuffer)?;
        let mut was_wrong = false;
        let result = loop {
            let (back, result) = self.file.read(buf, 0, unit, at.offset, reads).await;
            buf = back;
            if result.is_err() {
                break result;
            }
            if let Some((header, 0)) = decode_header(&buf, incarnation, at.offset) {
                if was_wrong {
                    self.file.note_wrong_bytes(at.offset..at.offset + UNIT, Severity::Soft);
                }
                return Ok(match (header.kind, header.owner()) {
                    (Kind::Loss, Some(owner)) => Identity::Attributed(owner, header.cookie),
                    (_, Some(_)) => Identity::Readable(header),
                    (_, None) => Identity::Unknown,
                });
            }
            if was_wrong {
                self.file.note_wrong_bytes(at.offset..at.offset + UNIT, Severity::Hard);
                break result;
            }
            // Some errors go away.
            was_wrong = true;
        };
        count(&self.stats().damaged_reads, 1);
        let header_lost = result.is_err();
        let end = at.offset + at.len;
        let (buf, result) = self.file.read(buf, 0, unit, end - UNIT, reads).await;
        let footer = result.ok().and_then(|()| footer_at(&buf[..unit], incarnation, end));
        Ok(match footer {
            Some(footer) => match footer.owner() {
                Some(owner) => Identity::Attributed(owner, footer.cookie),
                None => Identity::Unknown,
            },
            None if result.is_err() || header_lost => Identity::Lost,
            None => Identity::Unknown,
        })
    }
}
