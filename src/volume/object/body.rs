//! Reading a multipart object section by section, each verified before it is handed over. A range touches
//! only the chunks that hold it.

use std::ops::Range;
use std::rc::Rc;

use crate::base::limits::{CHUNK, REPLY_HEADROOM, UNIT};
use crate::base::sabotage::{Sabotage, chosen};
use crate::base::types::{Cookie, NeedleId};
use crate::runtime::background::Waited;
use crate::runtime::buffer::Buf;
use crate::volume::Volume;
use crate::volume::error::{Damage, GetError};
use crate::volume::format::{Manifest, NeedleLayout, PartEntry, Unreadable, data_checksum};
use crate::volume::health::Severity;
use crate::volume::io::count;
use crate::volume::object::read::Needle;

/// A multipart object that is being read: its manifest, and how far the reader is. Between two pieces it
/// holds no lease on the file, so that a slow reader does not keep the file of an earlier generation.
pub struct Body {
    id: NeedleId,
    cookie: Cookie,
    /// `None` only while it is read again in another generation.
    manifest: Option<Needle>,
    /// Bytes of the body still to be read.
    rest: Range<u64>,
    part: usize,
    /// Start of that part within the body (bytes).
    part_start: u64,
    /// Number of its first chunk, counted over all parts.
    part_chunk: usize,
}

/// Extent of one read: whole chunks of one part.
struct Section {
    /// Range within the data of the part (bytes).
    data: Range<u64>,
    /// Number of the first chunk, counted over all parts.
    chunk: usize,
    /// Offset of the read in the file (bytes).
    offset: u64,
    /// Length of the read (bytes).
    len: usize,
    /// Bytes read before the data for the sake of alignment.
    skew: usize,
}

impl Volume {
    /// Opens bytes `range` of the body of `id`, which `manifest` represents.
    ///
    /// # Errors
    /// [`GetError::Unreadable`].
    ///
    /// # Panics
    /// If the manifest is of another generation.
    pub fn body(
        &self,
        id: NeedleId,
        cookie: Cookie,
        manifest: Needle,
        range: Range<u64>,
    ) -> Result<Body, GetError> {
        self.expect_own(&manifest);
        let sound = Manifest::decode(&manifest.buf[manifest.data.clone()])
            .is_some_and(|parts| parts.is_sound(manifest.body_len, self.superblock.log_end()));
        if !sound || range.end > manifest.body_len {
            count(&self.stats().damaged_reads, 1);
            return Err(GetError::Unreadable(id, Damage::Checksum(Unreadable::Meta)));
        }
        let manifest = Some(manifest);
        Ok(Body { id, cookie, manifest, rest: range, part: 0, part_start: 0, part_chunk: 0 })
    }

    /// Checks that a manifest names parts in the file of this generation.
    fn expect_own(&self, manifest: &Needle) {
        let own = self.superblock.incarnation;
        assert_eq!(
            manifest.incarnation, own,
            "a manifest names parts in the file of its generation"
        );
    }

    /// Reads the next bytes of `body` into `buf`, after the space for a response head. Returns their range in
    /// the buffer. After an error the rest of the body cannot be read.
    ///
    /// # Errors
    /// [`GetError::Unreadable`].
    ///
    /// # Panics
    /// If nothing remains, `buf` is shorter than [`Body::buffer_len`] of a chunk, or the manifest is of
    /// another generation.
    pub async fn read_body(
        &self,
        body: &mut Body,
        buf: Buf,
    ) -> Result<(Buf, Range<usize>), GetError> {
        assert!(body.remaining() > 0 && buf.len() >= Body::buffer_len(CHUNK));
        self.expect_own(body.manifest());
        let section = body.next_section(buf.len());
        let start = REPLY_HEADROOM + section.skew;
        let len = usize::try_from(section.data.end - section.data.start).expect("inside a buffer");
        let buf = self.read_section(body, &section, buf, start..start + len).await?;
        let within = |at: u64| {
            start + usize::try_from(at - body.part_start - section.data.start).expect("in `buf`")
        };
        let end = body.rest.end.min(body.part_start + section.data.end);
        let missing = usize::from(end == body.rest.end && chosen(Sabotage::RangeOffByOne));
        let wanted = within(body.rest.start)..within(end) - missing;
        body.rest.start = end;
        Ok((buf, wanted))
    }

    /// Reads a section of `body`, whose data will be at `data` of the buffer, and verifies its chunks. Wrong
    /// bytes are read once more: some errors go away.
    async fn read_section(
        &self,
        body: &Body,
        section: &Section,
        mut buf: Buf,
        data: Range<usize>,
    ) -> Result<Buf, GetError> {
        let file = Rc::clone(&self.file);
        let (stats, offset) = (&file.stats, section.offset);
        count(&stats.get_read_bytes, section.len as u64);
        let failed = |what| {
            count(&stats.damaged_reads, 1);
            GetError::Unreadable(body.id, what)
        };
        let parts = body.parts();
        let mut was_wrong = false;
        loop {
            let began = self.handle.now();
            let read = file.read(buf, REPLY_HEADROOM, section.len, offset, &stats.get_reads);
            let (back, result) = read.await;
            buf = back;
            self.pace.waited(Waited::Read, began);
            result.map_err(|error| failed(Damage::Io(error)))?;
            let mut chunks = buf[data.clone()].chunks(CHUNK as usize).enumerate();
            let wrong = chunks.find(|(n, chunk)| !is_intact(chunk, parts.sum(section.chunk + n)));
            let wrong = wrong.map(|(n, _)| section.chunk + n);
            if wrong.is_some() && !was_wrong {
                was_wrong = true;
                continue;
            }
            let range = offset..offset + section.len as u64;
            match wrong {
                Some(chunk) => {
                    file.note_wrong_bytes(range, Severity::Hard);
                    return Err(failed(Damage::Checksum(Unreadable::Chunk(chunk))));
                }
                None if was_wrong => file.note_wrong_bytes(range, Severity::Soft),
                None => {}
            }
            return Ok(buf);
        }
    }
}

/// Whether a chunk matches its checksum in the manifest.
fn is_intact(chunk: &[u8], sum: u64) -> bool {
    data_checksum(chunk) == sum || chosen(Sabotage::SkipChunkChecksum)
}

impl Body {
    /// Returns the needle of the manifest.
    ///
    /// # Panics
    /// While the manifest is taken.
    #[must_use]
    pub fn manifest(&self) -> &Needle {
        self.manifest.as_ref().expect("the manifest is read again before it is used")
    }

    /// Returns the needle of the manifest and ends the reading.
    ///
    /// # Panics
    /// While the manifest is taken.
    #[must_use]
    pub fn into_manifest(mut self) -> Needle {
        self.take_manifest()
    }

    /// Id and cookie of the object.
    pub(in crate::volume) fn name(&self) -> (NeedleId, Cookie) {
        (self.id, self.cookie)
    }

    /// Incarnation of the file that holds the parts.
    pub(in crate::volume) fn incarnation(&self) -> u64 {
        self.manifest().incarnation
    }

    /// Takes the manifest, which must be replaced before the next piece is read.
    pub(in crate::volume) fn take_manifest(&mut self) -> Needle {
        self.manifest.take().expect("the manifest is read again before it is used")
    }

    /// Continues with the manifest of the same object in another generation.
    pub(in crate::volume) fn replace_manifest(&mut self, manifest: Needle) {
        self.manifest = Some(manifest);
    }

    /// Number of bytes still to be read.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// Length of a buffer into which this number of bytes can be read at once; at least one chunk.
    #[must_use]
    pub fn buffer_len(bytes: u64) -> usize {
        let chunks = usize::try_from(bytes.max(CHUNK)).expect("at most 1 MiB");
        REPLY_HEADROOM + chunks + 2 * UNIT as usize
    }

    fn parts(&self) -> Manifest<'_> {
        let manifest = self.manifest();
        Manifest::decode(&manifest.buf[manifest.data.clone()])
            .expect("verified when the body was opened")
    }

    /// Returns the part that holds the next byte.
    fn seek(&mut self) -> PartEntry {
        loop {
            let part = self.parts().part(self.part);
            if self.rest.start < self.part_start + u64::from(part.len) {
                return part;
            }
            self.part += 1;
            self.part_start += u64::from(part.len);
            self.part_chunk += part.chunks();
        }
    }

    fn next_section(&mut self, buffer: usize) -> Section {
        let part = self.seek();
        let room = (buffer - REPLY_HEADROOM - 2 * UNIT as usize) as u64 / CHUNK;
        let first = (self.rest.start - self.part_start) / CHUNK;
        let last = (self.rest.end - self.part_start).min(u64::from(part.len)).div_ceil(CHUNK);
        let end = (last.min(first + room) * CHUNK).min(u64::from(part.len));
        let data = first * CHUNK..end;
        let data_start = NeedleLayout::data(0, part.len as usize).data_start as u64;
        let begin = part.offset + data_start + data.start;
        let offset = begin / UNIT * UNIT;
        let len = (begin + (data.end - data.start)).next_multiple_of(UNIT) - offset;
        let to_usize = |len: u64| usize::try_from(len).expect("inside a buffer");
        let chunk = self.part_chunk + to_usize(first);
        Section { data, chunk, offset, len: to_usize(len), skew: to_usize(begin - offset) }
    }
}
