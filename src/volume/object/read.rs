//! GET and HEAD: from an id to verified bytes with one read.

use std::ops::Range;

use crate::base::limits::{REPLY_HEADROOM, UNIT};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
use crate::runtime::background::Waited;
use crate::runtime::buffer::Buf;
use crate::volume::Volume;
use crate::volume::error::{Damage, GetError, IoError};
use crate::volume::format::{
    Attribute, AttributeSet, Kind, NeedleHeader, Unreadable, attributes, decode_header, footer_at,
    verify_data, verify_meta,
};
use crate::volume::health::Severity;
use crate::volume::index::Location;
use crate::volume::io::{VolumeFile, count};

/// A needle that was read and verified. The buffer has space for a response head before the data.
pub struct Needle {
    /// Buffer. Everything before `data` may be overwritten once the attributes are no longer needed.
    pub buf: Buf,
    /// Range of the data in `buf`; empty when only the head was read.
    pub data: Range<usize>,
    /// Length of the body (bytes).
    pub body_len: u64,
    /// Entity tag: XXH3-64 of the body.
    pub etag: u64,
    /// Time of modification (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Time at which the needle expires (nanoseconds since 1970); `None` for never.
    pub expires_ns: Option<u64>,
    /// Whether the needle is a manifest: `data` is then what a [`Body`](crate::volume::Body) needs, and not
    /// the body.
    pub is_large: bool,
    /// Cookie of the needle.
    pub cookie: Cookie,
    /// Version: it rises with every write to the volume.
    pub version: u64,
    /// Incarnation of the file that it was read from.
    pub(in crate::volume) incarnation: u64,
    /// Range of the attributes in `buf`.
    attributes: Range<usize>,
}

impl Needle {
    /// Returns the content type as it was stored.
    #[must_use]
    pub fn content_type(&self) -> Option<&[u8]> {
        let is_type = |one: &Attribute<'_>| one.code == Attribute::CONTENT_TYPE;
        attributes(self.stored_attributes()).find(is_type).map(|one| one.value)
    }

    /// Returns the attributes that this build knows.
    #[must_use]
    pub fn attributes(&self) -> AttributeSet<'_> {
        AttributeSet::decode(self.stored_attributes())
    }

    /// Returns the attributes as they are stored.
    #[must_use]
    pub fn stored_attributes(&self) -> &[u8] {
        &self.buf[self.attributes.clone()]
    }
}

/// Part of a needle to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadExtent {
    /// The whole needle.
    Whole,
    /// Header, attributes and chunk checksums.
    Head,
}

/// Maximum length of the part of a needle that a HEAD needs (bytes): header, attributes, 16 chunk
/// checksums.
const FRONT_LEN: u64 = (128 + 4096 + 128_u64).next_multiple_of(UNIT);

enum Verdict {
    Found(NeedleHeader),
    Other,
    /// The needle has expired.
    Absent,
    Failed(GetError),
}

impl Verdict {
    /// Whether other bytes were read than were written.
    fn is_of_wrong_bytes(&self) -> bool {
        matches!(self, Self::Failed(GetError::Unreadable(_, Damage::Checksum(_))))
    }
}

/// A needle that may be the one that is wanted, and how much of it is read.
struct Candidate {
    at: Location,
    id: NeedleId,
    /// `None` if the needle is wanted whatever its cookie is.
    cookie: Option<Cookie>,
    extent: ReadExtent,
    /// Length of the read (bytes).
    len: usize,
}

impl Volume {
    /// Reads a whole needle. `buffer` returns a buffer of at least the requested length (bytes), or
    /// `None`.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get(
        &self,
        id: NeedleId,
        cookie: Cookie,
        buffer: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<Needle, GetError> {
        self.fetch(id, Some(cookie), ReadExtent::Whole, buffer).await
    }

    /// Reads the part of a needle that a HEAD needs.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn head(
        &self,
        id: NeedleId,
        cookie: Cookie,
        buffer: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<Needle, GetError> {
        self.fetch(id, Some(cookie), ReadExtent::Head, buffer).await
    }

    /// Reads what [`Self::head`] does, whatever the cookie of the needle is.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn head_without_cookie(
        &self,
        id: NeedleId,
        buffer: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<Needle, GetError> {
        self.fetch(id, None, ReadExtent::Head, buffer).await
    }

    async fn fetch(
        &self,
        id: NeedleId,
        cookie: Option<Cookie>,
        extent: ReadExtent,
        mut buffer: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<Needle, GetError> {
        let hash = self.hasher.hash(id);
        let (mut below, mut newest) = (u64::MAX, 0);
        let mut spare: Option<Buf> = None;
        loop {
            // The borrow ends before the read begins: the index may change during the read.
            let candidate = self.contents.borrow().index().newest_below(hash, below);
            let Some(at) = candidate else {
                // The id may have been superseded, and thus moved to a higher offset, while another
                // candidate was read.
                let again = self.contents.borrow().index().newest_below(hash, u64::MAX);
                if again.is_some_and(|at| newest > 0 && at.offset > newest) {
                    below = u64::MAX;
                    continue;
                }
                if self.index_is_incomplete {
                    let error = IoError::Errno(nix::libc::EIO);
                    return Err(GetError::Unreadable(id, Damage::Io(error)));
                }
                return Err(GetError::NotFound);
            };
            below = at.offset;
            newest = newest.max(at.offset);
            let len = match extent {
                ReadExtent::Whole => at.len,
                ReadExtent::Head => at.len.min(FRONT_LEN),
            };
            let len = usize::try_from(len).expect("a needle is about 1 MiB at most");
            let wanted = REPLY_HEADROOM + len;
            let fitting = spare.take().filter(|buf| buf.len() >= wanted);
            let buf = fitting.or_else(|| buffer(wanted));
            let buf = buf.ok_or(GetError::NeedBuffer(wanted))?;
            let file = self.file.clone();
            if extent == ReadExtent::Whole {
                count(&file.stats.get_read_bytes, len as u64);
            }
            let candidate = Candidate { at, id, cookie, extent, len };
            let (buf, verdict) = self.read_candidate(&file, buf, &candidate).await;
            match verdict {
                Verdict::Failed(_) if chosen(Sabotage::NotFoundForUnreadable) => {
                    return Err(GetError::NotFound);
                }
                Verdict::Found(header) if is_permitted(&header, cookie) => {
                    return Ok(needle(buf, &header, self.superblock.incarnation, extent));
                }
                Verdict::Found(_) | Verdict::Absent => return Err(GetError::NotFound),
                Verdict::Other => count(&file.stats.false_candidates, 1),
                Verdict::Failed(error) => {
                    count(&file.stats.damaged_reads, 1);
                    // It may be another needle with the same hash, or the cookie may be wrong.
                    match self.owner_of(at).await {
                        Some((owner, _)) if owner != id => count(&file.stats.false_candidates, 1),
                        Some((_, held)) if !opens(cookie, held) => return Err(GetError::NotFound),
                        _ => return Err(error),
                    }
                }
            }
            spare = Some(buf);
        }
    }

    /// Reads a candidate into the buffer, and decides what it is. Wrong bytes are read once more: some errors
    /// go away.
    async fn read_candidate(
        &self,
        file: &VolumeFile,
        mut buf: Buf,
        candidate: &Candidate,
    ) -> (Buf, Verdict) {
        let Candidate { at, len, extent, .. } = *candidate;
        let reads = match extent {
            ReadExtent::Whole => &file.stats.get_reads,
            ReadExtent::Head => &file.stats.other_reads,
        };
        let mut was_wrong = false;
        loop {
            let began = self.handle.now();
            let (back, result) = file.read(buf, REPLY_HEADROOM, len, at.offset, reads).await;
            buf = back;
            self.pace.waited(Waited::Read, began);
            let bytes = &buf[REPLY_HEADROOM..REPLY_HEADROOM + len];
            let verdict = match result {
                Ok(()) => self.judge(bytes, candidate),
                Err(error) => {
                    let unreadable = GetError::Unreadable(candidate.id, Damage::Io(error));
                    return (buf, Verdict::Failed(unreadable));
                }
            };
            let is_wrong = verdict.is_of_wrong_bytes();
            if is_wrong && !was_wrong && !chosen(Sabotage::GetReadsOnce) {
                was_wrong = true;
                continue;
            }
            if is_wrong || was_wrong {
                let severity = if is_wrong { Severity::Hard } else { Severity::Soft };
                file.note_wrong_bytes(at.offset..at.offset + len as u64, severity);
            }
            return (buf, verdict);
        }
    }

    /// Decides whether these bytes are the needle that is wanted, complete and undamaged.
    fn judge(&self, bytes: &[u8], candidate: &Candidate) -> Verdict {
        let Candidate { at, id, cookie, extent, .. } = *candidate;
        let incarnation = self.superblock.incarnation;
        let failed = |what| Verdict::Failed(GetError::Unreadable(id, Damage::Checksum(what)));
        let header = match decode_header(bytes, incarnation, at.offset) {
            Some((header, 0)) if header.layout().len as u64 == at.len => header,
            _ => {
                // A needle with the same hash may be damaged: its footer then identifies it. If the
                // footer is damaged, too, the answer must not be "not found".
                let whole = bytes.len() as u64 == at.len;
                let footer = footer_at(bytes, incarnation, at.offset + at.len).filter(|_| whole);
                return match footer.and_then(|footer| Some((footer.owner()?, footer.cookie))) {
                    Some((owner, _)) if owner != id => Verdict::Other,
                    Some((_, held)) if !opens(cookie, held) => Verdict::Failed(GetError::NotFound),
                    _ => failed(Unreadable::Header),
                };
            }
        };
        match header.owner() {
            Some(owner) if owner != id => return Verdict::Other,
            Some(_) if header.kind != Kind::Loss => {}
            None if chosen(Sabotage::UnknownIdIsOther) => return Verdict::Other,
            // Without an id, the record may be that of any object with this hash.
            Some(_) | None => return Verdict::Failed(lost(id, cookie, &header)),
        }
        // Before its checksums: a damaged needle that has expired is not missed.
        if self.is_gone(&header) {
            return Verdict::Absent;
        }
        if let Err(what) = verify_meta(bytes, &header, incarnation) {
            return failed(what);
        }
        if extent == ReadExtent::Whole
            && let Err(what) = verified(bytes, &header)
        {
            return failed(what);
        }
        Verdict::Found(header)
    }

    /// Whether a reader finds nothing, because the needle has expired.
    fn is_gone(&self, header: &NeedleHeader) -> bool {
        self.is_expired(header) && !chosen(Sabotage::ServeExpired)
    }
}

/// Whether the cookie of a request opens the needle.
fn is_permitted(header: &NeedleHeader, cookie: Option<Cookie>) -> bool {
    opens(cookie, header.cookie) || chosen(Sabotage::IgnoreCookie)
}

/// Whether a request with this cookie, or for a needle with any, opens a needle with the cookie `held`.
fn opens(cookie: Option<Cookie>, held: Cookie) -> bool {
    cookie.is_none_or(|cookie| held.matches(cookie))
}

/// Verifies the data of a needle before it is served.
fn verified(bytes: &[u8], header: &NeedleHeader) -> Result<(), Unreadable> {
    if chosen(Sabotage::SkipChecksum) { Ok(()) } else { verify_data(bytes, header) }
}

/// Returns the answer to a GET of an object that a compaction could not carry over. Where its id is known, so
/// is its cookie.
fn lost(id: NeedleId, cookie: Option<Cookie>, record: &NeedleHeader) -> GetError {
    let is_denied = record.owner().is_some() && !opens(cookie, record.cookie);
    match is_denied || chosen(Sabotage::NotFoundForLost) {
        true => GetError::NotFound,
        false => GetError::Unreadable(id, Damage::Lost(record.body_len)),
    }
}

/// Returns the needle of `header`, whose verified bytes are in `buf` after the space for a response head.
pub(in crate::volume) fn whole(buf: Buf, header: &NeedleHeader, incarnation: u64) -> Needle {
    needle(buf, header, incarnation, ReadExtent::Whole)
}

fn needle(buf: Buf, header: &NeedleHeader, incarnation: u64, extent: ReadExtent) -> Needle {
    let layout = header.layout();
    let shift = |range: Range<usize>| range.start + REPLY_HEADROOM..range.end + REPLY_HEADROOM;
    let data = match extent {
        ReadExtent::Whole => shift(layout.data_range()),
        ReadExtent::Head => shift(layout.data_start..layout.data_start),
    };
    Needle {
        data,
        body_len: header.body_len,
        etag: header.data_checksum,
        modified_ns: header.modified_ns,
        expires_ns: header.expires_ns,
        is_large: header.kind == Kind::Manifest,
        cookie: header.cookie,
        version: header.version,
        incarnation,
        attributes: shift(layout.attributes()),
        buf,
    }
}
