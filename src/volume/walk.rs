//! All live needles of a volume, in the order in which they stand in the file, each verified.

use std::rc::Rc;

use super::Volume;
use super::error::{Damage, IoError};
use super::format::{NeedleHeader, decode_header, footer_at, verify_data, verify_meta};
use super::index::Location;
use super::read::{Needle, whole};
use super::scan::WINDOW;
use crate::buffer::Buf;
use crate::limits::REPLY_HEADROOM;
use crate::types::{Cookie, NeedleId};

/// Where so many bytes of the log are dead, they are not read.
const GAP: u64 = 64 << 10;

/// A live needle. Every byte of it was verified; the parts of a large body are not part of it.
pub struct LiveNeedle {
    /// Where it stands.
    pub at: Location,
    /// Whose it is.
    pub id: NeedleId,
    /// What a reader must know.
    pub cookie: Cookie,
    /// The highest version of an id wins.
    pub version: u64,
    /// Its content.
    pub needle: Needle,
}

/// A live needle that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedNeedle {
    /// Where it stands.
    pub at: Location,
    /// Whose it is, where that can be told.
    pub id: Option<NeedleId>,
    /// What is wrong with it.
    pub damage: Damage,
}

/// A way through the live needles of a volume: those that it had at the beginning. The file is read in
/// long pieces.
pub struct Walk {
    volume: Rc<Volume>,
    places: Vec<Location>,
    next: usize,
    /// Bytes `start..end` of the file.
    window: Option<Buf>,
    start: u64,
    end: u64,
}

impl Volume {
    /// Begins at the first live needle. Takes 16 bytes of memory for each; nothing when the pool has no
    /// buffer.
    #[must_use]
    pub fn walk(self: &Rc<Self>) -> Option<Walk> {
        let mut places: Vec<Location> = self.contents.borrow().index().locations().collect();
        places.sort_unstable_by_key(|at| at.offset);
        let window = self.handle.pool().alloc(usize::try_from(WINDOW).expect("about 1.5 MiB"))?;
        let volume = Rc::clone(self);
        Some(Walk { volume, places, next: 0, window: Some(window), start: 0, end: 0 })
    }

    /// The header of the needle at `at`, all of whose bytes are whole; else what is wrong.
    fn examine(&self, bytes: &[u8], at: Location) -> Result<NeedleHeader, DamagedNeedle> {
        let incarnation = self.superblock.incarnation;
        let damaged = |id, what| DamagedNeedle { at, id, damage: Damage::Checksum(what) };
        let header = match decode_header(bytes, incarnation, at.offset) {
            Some((header, 0)) if header.layout().len as u64 == at.len => header,
            _ => {
                let footer = footer_at(bytes, incarnation, at.offset + at.len);
                let id = footer.map(|footer| footer.id);
                return Err(damaged(id, super::format::Unreadable::Header));
            }
        };
        let verified = verify_meta(bytes, &header, incarnation);
        let verified = verified.and_then(|()| verify_data(bytes, &header));
        verified.map_err(|what| damaged(Some(header.id), what))?;
        Ok(header)
    }
}

impl Walk {
    /// Where the live needles stand, in the order of the file.
    #[must_use]
    pub fn places(&self) -> &[Location] {
        &self.places
    }

    /// Length of the buffer that the next needle needs (bytes); nothing when there is none.
    #[must_use]
    pub fn buffer_len(&self) -> Option<usize> {
        self.places.get(self.next).map(|at| REPLY_HEADROOM + to_usize(at.len))
    }

    /// Reads and verifies the next needle, into `buf`.
    ///
    /// # Errors
    /// [`DamagedNeedle`]; the walk goes on behind it.
    ///
    /// # Panics
    /// When there is none, or `buf` is shorter than [`Self::buffer_len`].
    pub async fn next(&mut self, mut buf: Buf) -> Result<LiveNeedle, DamagedNeedle> {
        let at = self.places[self.next];
        let read = self.fill().await;
        self.next += 1;
        let window = self.window.as_ref().expect("the window is at home between reads");
        let from = to_usize(at.offset - self.start);
        let bytes = &window[from..from + to_usize(at.len)];
        let examined = self.volume.examine(bytes, at);
        if let Err(error) = read {
            let id = examined.map_or_else(|damaged| damaged.id, |header| Some(header.id));
            return Err(DamagedNeedle { at, id, damage: Damage::Io(error) });
        }
        let header = examined?;
        buf[REPLY_HEADROOM..REPLY_HEADROOM + bytes.len()].copy_from_slice(bytes);
        let needle = whole(buf, &header);
        Ok(LiveNeedle { at, id: header.id, cookie: header.cookie, version: header.version, needle })
    }

    /// Makes sure that the next needle stands in the window. When the device does not give it back,
    /// what can be had of it does.
    async fn fill(&mut self) -> Result<(), IoError> {
        let at = self.places[self.next];
        if at.offset >= self.start && at.offset + at.len <= self.end {
            return Ok(());
        }
        let file = Rc::clone(&self.volume.file);
        let reads = &file.stats.other_reads;
        let window = self.window.take().expect("the window is at home between reads");
        let end = self.stretch();
        let (window, read) =
            file.read(window, 0, to_usize(end - at.offset), at.offset, reads).await;
        self.start = at.offset;
        if read.is_ok() {
            self.end = end;
            self.window = Some(window);
            return Ok(());
        }
        // Something in the stretch cannot be read: it may be another needle.
        let len = to_usize(at.len);
        let (window, read) = file.read(window, 0, len, at.offset, reads).await;
        let (window, _) = match read {
            Ok(()) => (window, 0),
            Err(_) => file.read_damaged(window, len, at.offset).await,
        };
        self.end = at.offset + at.len;
        self.window = Some(window);
        read
    }

    /// Where a piece ends that begins with the next needle and holds as many of those behind it as
    /// stand close together.
    fn stretch(&self) -> u64 {
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
