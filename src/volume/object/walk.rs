//! Iteration over all live needles of a volume in file order, each verified.

use std::rc::Rc;

use crate::base::limits::REPLY_HEADROOM;
use crate::base::types::{Cookie, NeedleId};
use crate::runtime::buffer::Buf;
use crate::volume::Volume;
use crate::volume::error::{Damage, IoError};
use crate::volume::format::{NeedleHeader, decode_header, footer_at, verify_data, verify_meta};
use crate::volume::index::Location;
use crate::volume::log::scan::WINDOW;
use crate::volume::object::read::{Needle, whole};

/// Dead ranges of the log that are longer than this (bytes) are not read.
const GAP: u64 = 64 << 10;

/// A live needle, all bytes of which were verified. The parts of a multipart object are not included.
pub struct LiveNeedle {
    /// Offset and length of the needle.
    pub at: Location,
    /// Id of the needle.
    pub id: NeedleId,
    /// Cookie that a reader must present.
    pub cookie: Cookie,
    /// Version; the highest version of an id counts.
    pub version: u64,
    /// Whether it has expired: it counts as absent.
    pub is_expired: bool,
    /// Content of the needle.
    pub needle: Needle,
}

/// A live needle that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedNeedle {
    /// Offset and length of the needle.
    pub at: Location,
    /// Id of the needle, where that can be determined.
    pub id: Option<NeedleId>,
    /// Kind of damage.
    pub damage: Damage,
}

/// Iterates over the needles that were live when it was created. The file is read in long sections.
pub struct Walk {
    volume: Rc<Volume>,
    places: Vec<Location>,
    next: usize,
    /// The window holds bytes `start..end` of the file.
    window: Option<Buf>,
    start: u64,
    end: u64,
}

impl Volume {
    /// Begins at the first live needle. Takes 16 bytes of memory per needle. Returns `None` when the pool
    /// has no buffer.
    #[must_use]
    pub fn walk(self: &Rc<Self>) -> Option<Walk> {
        let mut places: Vec<Location> = self.contents.borrow().index().locations().collect();
        places.sort_unstable_by_key(|at| at.offset);
        // The record of a lost object may be indexed under several hashes.
        places.dedup();
        let window = self.handle.pool().alloc(usize::try_from(WINDOW).expect("about 1.5 MiB"))?;
        let volume = Rc::clone(self);
        Some(Walk { volume, places, next: 0, window: Some(window), start: 0, end: 0 })
    }

    /// Returns the header of the needle at `at` if all its bytes verify; otherwise the damage.
    fn examine(&self, bytes: &[u8], at: Location) -> Result<NeedleHeader, DamagedNeedle> {
        let incarnation = self.superblock.incarnation;
        let damaged = |id, what| DamagedNeedle { at, id, damage: Damage::Checksum(what) };
        let header = match decode_header(bytes, incarnation, at.offset) {
            Some((header, 0)) if header.layout().len as u64 == at.len => header,
            _ => {
                let footer = footer_at(bytes, incarnation, at.offset + at.len);
                let id = footer.and_then(|footer| footer.owner());
                return Err(damaged(id, crate::volume::format::Unreadable::Header));
            }
        };
        if header.kind.is_loss() {
            let (id, damage) = (header.owner(), Damage::Lost(header.body_len));
            return Err(DamagedNeedle { at, id, damage });
        }
        let verified = verify_meta(bytes, &header, incarnation);
        let verified = verified.and_then(|()| verify_data(bytes, &header));
        verified.map_err(|what| damaged(Some(header.id), what))?;
        Ok(header)
    }
}

impl Walk {
    /// Returns the locations of the live needles, in file order.
    #[must_use]
    pub fn places(&self) -> &[Location] {
        &self.places
    }

    /// Length of the buffer that the next needle needs (bytes); `None` after the last needle.
    #[must_use]
    pub fn buffer_len(&self) -> Option<usize> {
        self.places.get(self.next).map(|at| REPLY_HEADROOM + to_usize(at.len))
    }

    /// Reads and verifies the next needle into `buf`.
    ///
    /// # Errors
    /// [`DamagedNeedle`]; the iteration continues after it.
    ///
    /// # Panics
    /// If there is no next needle, or `buf` is shorter than [`Self::buffer_len`].
    pub async fn next(&mut self, mut buf: Buf) -> Result<LiveNeedle, DamagedNeedle> {
        let at = self.places[self.next];
        let read = self.fill().await;
        self.next += 1;
        let window = self.window.as_ref().expect("the walk holds the window between reads");
        let from = to_usize(at.offset - self.start);
        let bytes = &window[from..from + to_usize(at.len)];
        let examined = self.volume.examine(bytes, at);
        if let Err(error) = read {
            let id = examined.map_or_else(|damaged| damaged.id, |header| Some(header.id));
            return Err(DamagedNeedle { at, id, damage: Damage::Io(error) });
        }
        let header = examined?;
        buf[REPLY_HEADROOM..REPLY_HEADROOM + bytes.len()].copy_from_slice(bytes);
        let needle = whole(buf, &header, self.volume.superblock.incarnation);
        let NeedleHeader { id, cookie, version, .. } = header;
        let is_expired = self.volume.is_expired(&header);
        Ok(LiveNeedle { at, id, cookie, version, is_expired, needle })
    }

    /// Makes sure that the next needle is in the window. If the device cannot read it, the window holds
    /// its readable sectors.
    async fn fill(&mut self) -> Result<(), IoError> {
        let at = self.places[self.next];
        if at.offset >= self.start && at.offset + at.len <= self.end {
            return Ok(());
        }
        let file = Rc::clone(&self.volume.file);
        let reads = &file.stats.other_reads;
        let window = self.window.take().expect("the walk holds the window between reads");
        let end = self.section_end();
        let (window, read) =
            file.read(window, 0, to_usize(end - at.offset), at.offset, reads).await;
        self.start = at.offset;
        if read.is_ok() {
            self.end = end;
            self.window = Some(window);
            return Ok(());
        }
        // A part of the section cannot be read: it may belong to another needle.
        let len = to_usize(at.len);
        let (window, read) = file.read(window, 0, len, at.offset, reads).await;
        let (window, _) = match read {
            Ok(()) => (window, 0),
            Err(_) => file.read_damaged(window, 0, len, at.offset).await,
        };
        self.end = at.offset + at.len;
        self.window = Some(window);
        read
    }

    /// End of a section that begins with the next needle and holds as many of the following needles as
    /// are close together.
    fn section_end(&self) -> u64 {
        let rest = &self.places[self.next..];
        let (start, mut end) = (rest[0].offset, rest[0].offset + rest[0].len);
        for at in &rest[1..] {
            if at.offset > end + GAP || at.offset + at.len > start + WINDOW {
                break;
            }
            end = at.offset + at.len;
        }
        end
    }
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("inside the window")
}
