//! GET and HEAD: from an id to verified bytes, with one read.

use std::ops::Range;

use super::Volume;
use super::error::{Damage, GetError, IoError};
use super::format::{
    Attribute, Kind, NeedleHeader, Unreadable, attributes, decode_header, footer_at, verify_data,
    verify_meta,
};
use super::index::Location;
use super::io::count;
use crate::buffer::Buf;
use crate::limits::{REPLY_HEADROOM, UNIT};
use crate::sabotage::{Sabotage, chosen};
use crate::types::{Cookie, NeedleId};

/// A needle read and verified. In front of its data is room for a response head.
pub struct Needle {
    /// The bytes; all in front of `data` is free to be overwritten once `content_type` was used.
    pub buf: Buf,
    /// Where the data stands in `buf`; empty when only the head was asked for.
    pub data: Range<usize>,
    /// Length of the body (bytes).
    pub body_len: u64,
    /// Entity tag: XXH3-64 of the body.
    pub etag: u64,
    /// When it was modified (nanoseconds since 1970).
    pub modified_ns: u64,
    /// Whether it is a manifest: `data` then is what a [`super::Body`] needs, not the body.
    pub is_large: bool,
    content_type: Option<Range<usize>>,
}

impl Needle {
    /// Content type, as it was stored.
    #[must_use]
    pub fn content_type(&self) -> Option<&[u8]> {
        self.content_type.clone().map(|range| &self.buf[range])
    }
}

/// How much of a needle to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of it.
    Whole,
    /// Header, attributes and chunk checksums.
    Head,
}

/// The longest front of a needle that a HEAD needs: header, attributes, 16 chunk checksums.
const FRONT_LEN: u64 = (128 + 4096 + 128_u64).next_multiple_of(UNIT);

enum Judged {
    Found(NeedleHeader),
    Other,
    Failed(GetError),
}

impl Volume {
    /// Reads a needle whole. `buffer` gives a buffer of at least so many bytes, or nothing.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get(
        &self,
        id: NeedleId,
        cookie: Cookie,
        buffer: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<Needle, GetError> {
        self.fetch(id, cookie, Extent::Whole, buffer).await
    }

    /// Reads what a HEAD tells of a needle.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn head(
        &self,
        id: NeedleId,
        cookie: Cookie,
        buffer: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<Needle, GetError> {
        self.fetch(id, cookie, Extent::Head, buffer).await
    }

    async fn fetch(
        &self,
        id: NeedleId,
        cookie: Cookie,
        extent: Extent,
        mut buffer: impl FnMut(usize) -> Option<Buf>,
    ) -> Result<Needle, GetError> {
        let hash = self.hasher.hash(id);
        let (mut below, mut newest) = (u64::MAX, 0);
        let mut spare: Option<Buf> = None;
        loop {
            // The borrow ends before the read begins: the index may change meanwhile.
            let candidate = self.contents.borrow().index().newest_below(hash, below);
            let Some(at) = candidate else {
                // The needle may have moved to the front while another one was being read.
                let again = self.contents.borrow().index().newest_below(hash, u64::MAX);
                if again.is_some_and(|at| newest > 0 && at.offset > newest) {
                    below = u64::MAX;
                    continue;
                }
                if self.incomplete {
                    let error = IoError::Errno(nix::libc::EIO);
                    return Err(GetError::Unreadable(id, Damage::Io(error)));
                }
                return Err(GetError::NotFound);
            };
            below = at.offset;
            newest = newest.max(at.offset);
            let len = match extent {
                Extent::Whole => at.len,
                Extent::Head => at.len.min(FRONT_LEN),
            };
            let len = usize::try_from(len).expect("a needle is about 1 MiB at most");
            let wanted = REPLY_HEADROOM + len;
            let fitting = spare.take().filter(|buf| buf.len() >= wanted);
            let buf = fitting.or_else(|| buffer(wanted));
            let buf = buf.ok_or(GetError::NeedBuffer(wanted))?;
            let file = self.file.clone();
            let reads = match extent {
                Extent::Whole => &file.stats.get_reads,
                Extent::Head => &file.stats.other_reads,
            };
            if extent == Extent::Whole {
                count(&file.stats.get_read_bytes, len as u64);
            }
            let (buf, result) = file.read(buf, REPLY_HEADROOM, len, at.offset, reads).await;
            if let Err(error) = result {
                count(&file.stats.damaged_reads, 1);
                return Err(GetError::Unreadable(id, Damage::Io(error)));
            }
            match self.judge(&buf[REPLY_HEADROOM..wanted], at, id, cookie, extent) {
                Judged::Failed(_) if chosen(Sabotage::NotFoundForUnreadable) => {
                    return Err(GetError::NotFound);
                }
                Judged::Found(header)
                    if header.cookie.matches(cookie) || chosen(Sabotage::IgnoreCookie) =>
                {
                    return Ok(needle(buf, &header, extent));
                }
                Judged::Found(_) => return Err(GetError::NotFound),
                Judged::Other => count(&file.stats.false_candidates, 1),
                Judged::Failed(error) => {
                    count(&file.stats.damaged_reads, 1);
                    return Err(error);
                }
            }
            spare = Some(buf);
        }
    }

    /// Whether these bytes are the needle `id`, whole and sound.
    fn judge(
        &self,
        bytes: &[u8],
        at: Location,
        id: NeedleId,
        cookie: Cookie,
        extent: Extent,
    ) -> Judged {
        let incarnation = self.superblock.incarnation;
        let failed = |what| Judged::Failed(GetError::Unreadable(id, Damage::Checksum(what)));
        let header = match decode_header(bytes, incarnation, at.offset) {
            Some((header, 0)) if header.layout().len as u64 == at.len => header,
            _ => {
                // A needle with the same hash may be damaged: its footer tells whose it is. When
                // not even that is left, the answer must not be "not found".
                let whole = bytes.len() as u64 == at.len;
                let footer = footer_at(bytes, incarnation, at.offset + at.len).filter(|_| whole);
                return match footer {
                    Some(footer) if footer.id != id => Judged::Other,
                    Some(footer) if !footer.cookie.matches(cookie) => {
                        Judged::Failed(GetError::NotFound)
                    }
                    _ => failed(Unreadable::Header),
                };
            }
        };
        if header.id != id {
            return Judged::Other;
        }
        if let Err(what) = verify_meta(bytes, &header, incarnation) {
            return failed(what);
        }
        if extent == Extent::Whole
            && !chosen(Sabotage::SkipChecksum)
            && let Err(what) = verify_data(bytes, &header)
        {
            return failed(what);
        }
        Judged::Found(header)
    }
}

/// The needle whose bytes, verified, stand in `buf` behind room for a response head.
pub(super) fn whole(buf: Buf, header: &NeedleHeader) -> Needle {
    needle(buf, header, Extent::Whole)
}

fn needle(buf: Buf, header: &NeedleHeader, extent: Extent) -> Needle {
    let layout = header.layout();
    let shift = |range: Range<usize>| range.start + REPLY_HEADROOM..range.end + REPLY_HEADROOM;
    let stored = &buf[shift(layout.attributes())];
    let content_type = attributes(stored)
        .find(|attribute| attribute.code == Attribute::CONTENT_TYPE)
        .map(|attribute| {
            let start = attribute.value.as_ptr() as usize - buf.as_ptr() as usize;
            start..start + attribute.value.len()
        });
    let data = match extent {
        Extent::Whole => shift(layout.data_range()),
        Extent::Head => shift(layout.data_start..layout.data_start),
    };
    Needle {
        data,
        body_len: header.body_len,
        etag: header.data_checksum,
        modified_ns: header.modified_ns,
        is_large: header.kind == Kind::Manifest,
        content_type,
        buf,
    }
}
