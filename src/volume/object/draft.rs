//! A needle that is being received. Its data is received into the buffer from which it will be written.

use crate::base::limits::{ATTRIBUTES_MAX, CONTENT_TYPE_MAX, NEEDLE_DATA_MAX};
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::buffer::{Buf, Lent, PAGE, Pool};
use crate::volume::format::{
    AttributeSet, ClusterProperties, EXPIRY_LEN, HEADER_LEN, NeedleLayout, crc32c, data_checksum,
    encode_chunk_table_before, expiry_of, put_chunk_table,
};
use crate::volume::object::draft_attributes::{DraftAttributes, Lifetime};
use crate::volume::object::upload_key::UploadKey;

/// A needle that is being received. Its data is in the buffer from which it will be written.
pub struct Draft {
    buf: Option<Buf>,
    layout: NeedleLayout,
    /// Time of modification (nanoseconds since 1970); `None` for the time at which it is stored.
    pub(in crate::volume) modified_ns: Option<u64>,
    /// Whether the time of modification counts also if it is in the future.
    pub(in crate::volume) is_modified_elsewhere: bool,
    /// When it expires.
    lifetime: Lifetime,
    /// Version that it has where it was written first, if not here.
    pub(in crate::volume) origin_version: Option<u64>,
    /// In a manifest: the body that it represents.
    pub(in crate::volume) multipart: Option<MultipartBody>,
    /// Whether it is a copy of a needle of another volume: its attributes stay as they are, and its time of
    /// modification counts also if it is in the future.
    pub(in crate::volume) is_copy: bool,
}

/// The body that a manifest represents.
#[derive(Clone, Copy)]
pub struct MultipartBody {
    /// Length of the body (bytes).
    pub len: u64,
    /// Entity tag: XXH3-64 of the body.
    pub etag: u64,
    /// Length of the parts on disk (units).
    pub parts_units: u32,
    /// CRC32C of the body, if the volume belongs to a cluster.
    pub crc32c: Option<u32>,
    /// The upload, which knows where the parts are and has reserved space for the manifest.
    pub upload: UploadKey,
}

impl Draft {
    /// Creates a draft for data of this length (bytes) in a buffer of `pool`, with space before the data
    /// for header, attributes and chunk table. Returns `None` when the pool has no buffer.
    ///
    /// # Panics
    /// If a length is beyond its limit.
    #[must_use]
    pub fn new(pool: &Pool, content_type: Option<&[u8]>, data_len: u64) -> Option<Self> {
        let attributes = DraftAttributes { content_type, ..DraftAttributes::default() };
        Self::with_attributes(pool, attributes, data_len)
    }

    /// Creates a draft with these attributes, as [`Self::new`] does.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn with_attributes(
        pool: &Pool,
        attributes: DraftAttributes<'_>,
        data_len: u64,
    ) -> Option<Self> {
        assert!(data_len <= NEEDLE_DATA_MAX);
        let data_len = usize::try_from(data_len).expect("1 MiB");
        Self::with_layout(pool, attributes, |len| NeedleLayout::data(len, data_len))
    }

    /// Creates a draft for a manifest with data of this length (bytes), as [`Self::new`] does.
    pub fn manifest(
        pool: &Pool,
        attributes: DraftAttributes<'_>,
        data_len: usize,
        body: MultipartBody,
    ) -> Option<Self> {
        let layout = |len| NeedleLayout::manifest(len, data_len);
        let draft = Self::with_layout(pool, attributes, layout)?;
        Some(Self { multipart: Some(body), ..draft })
    }

    /// Creates a draft of a copy with these attributes, as they are stored, as [`Self::new`] does.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn copied(pool: &Pool, attributes: &[u8], data_len: u64) -> Option<Self> {
        assert!(data_len <= NEEDLE_DATA_MAX);
        let data_len = usize::try_from(data_len).expect("1 MiB");
        Self::copy(pool, attributes, NeedleLayout::data(attributes.len(), data_len))
    }

    /// Creates a draft of a copy for a manifest with data of this length (bytes), as [`Self::copied`] does.
    pub(in crate::volume) fn copied_manifest(
        pool: &Pool,
        attributes: &[u8],
        data_len: usize,
        body: MultipartBody,
    ) -> Option<Self> {
        let draft =
            Self::copy(pool, attributes, NeedleLayout::manifest(attributes.len(), data_len))?;
        Some(Self { multipart: Some(body), ..draft })
    }

    fn copy(pool: &Pool, attributes: &[u8], layout: NeedleLayout) -> Option<Self> {
        let mut buf = pool.alloc(layout.len)?;
        buf[layout.attributes()].copy_from_slice(attributes);
        let lifetime = Lifetime { expires_ns: expiry_of(attributes), ..Lifetime::default() };
        let copy = Self { is_copy: true, lifetime, ..Self::of(buf, layout) };
        Some(copy)
    }

    fn with_layout(
        pool: &Pool,
        attributes: DraftAttributes<'_>,
        layout: impl FnOnce(usize) -> NeedleLayout,
    ) -> Option<Self> {
        let set = attributes.set();
        let layout = layout(set.encoded_len());
        let mut buf = pool.alloc(layout.len)?;
        set.encode(&mut buf[HEADER_LEN..]);
        let lifetime = Lifetime::of(&attributes);
        let origin_version = attributes.cluster.origin_version;
        Some(Self { lifetime, origin_version, ..Self::of(buf, layout) })
    }

    /// A draft without anything that is not in its buffer.
    fn of(buf: Buf, layout: NeedleLayout) -> Self {
        Self {
            buf: Some(buf),
            layout,
            modified_ns: None,
            is_modified_elsewhere: false,
            lifetime: Lifetime::default(),
            origin_version: None,
            multipart: None,
            is_copy: false,
        }
    }

    /// Sets the time of modification (nanoseconds since 1970), which counts also if it is in the future: it
    /// was set on another node.
    #[must_use]
    pub fn modified_elsewhere(self, modified_ns: u64) -> Self {
        Self { modified_ns: Some(modified_ns), is_modified_elsewhere: true, ..self }
    }

    /// Sets the time of modification (nanoseconds since 1970). It counts unless it is in the future when
    /// the needle is stored.
    #[must_use]
    pub fn modified(self, modified_ns: Option<u64>) -> Self {
        Self { modified_ns, ..self }
    }

    /// Maximum size of a buffer for data of this length (bytes).
    #[must_use]
    pub fn memory(data_len: u64) -> usize {
        let data_len = usize::try_from(data_len).expect("1 MiB");
        NeedleLayout::data(EXPIRY_LEN + 4 + CONTENT_TYPE_MAX, data_len).len.next_multiple_of(PAGE)
    }

    /// Maximum size of a buffer for data of this length (bytes) with these attributes.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn memory_with(attributes: &DraftAttributes<'_>, data_len: u64) -> usize {
        let data_len = usize::try_from(data_len).expect("1 MiB");
        NeedleLayout::data(attributes.set().encoded_len(), data_len).len.next_multiple_of(PAGE)
    }

    /// Version that the needle has where it was written first, if not here.
    #[must_use]
    pub fn origin_version(&self) -> Option<u64> {
        self.origin_version
    }

    /// Time of modification (nanoseconds since 1970); `None` for the time at which it is stored.
    #[must_use]
    pub fn modified_ns(&self) -> Option<u64> {
        self.modified_ns
    }

    /// Length of the data (bytes).
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.layout.data_len
    }

    /// Takes the buffer out. Also returns the offset of the data in it. It must be returned with
    /// [`Self::restore`].
    ///
    /// # Panics
    /// If the buffer is already taken.
    pub fn take(&mut self) -> (Buf, usize) {
        (self.buf.take().expect("the buffer is not taken"), self.layout.data_start)
    }

    /// Puts the buffer back.
    pub fn restore(&mut self, buf: Buf) {
        self.buf = Some(buf);
    }

    /// Returns the data.
    ///
    /// # Panics
    /// If the buffer is taken.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.buf.as_ref().expect("the buffer is not taken")[self.layout.data_range()]
    }

    /// Returns the data for writing.
    ///
    /// # Panics
    /// If the buffer is taken. While the data is lent.
    pub fn data_mut(&mut self) -> &mut [u8] {
        let range = self.layout.data_range();
        self.buf.as_mut().expect("the buffer is not taken").outside_mut(range)
    }

    /// Lends the data, to be read while the needle is stored. The buffer returns to its pool only when the
    /// handle and its clones were dropped, too.
    ///
    /// # Panics
    /// If the buffer is taken. While the data is lent. If it is that of a manifest, which is written when the
    /// needle is stored.
    pub fn lend(&mut self) -> Lent {
        assert!(self.multipart.is_none(), "the data of a manifest is not known yet");
        let range = self.layout.data_range();
        self.buf.as_mut().expect("the buffer is not taken").lend(range)
    }

    /// Returns the buffer with a chunk table of these checksums, and the layout.
    pub fn finished_with(self, sums: &[u64]) -> (Buf, NeedleLayout) {
        let mut buf = self.buf.expect("the buffer is not taken");
        put_chunk_table(buf.outside_mut(0..self.layout.data_start), &self.layout, sums);
        (buf, self.layout)
    }

    /// Returns the entity tag that the needle will have: XXH3-64 of the body.
    ///
    /// # Panics
    /// If the buffer is taken.
    #[must_use]
    pub fn etag(&self) -> u64 {
        match self.multipart {
            Some(body) => body.etag,
            None => data_checksum(self.data()),
        }
    }

    /// Returns the CRC32C of the body.
    ///
    /// # Panics
    /// If the buffer is taken.
    #[must_use]
    pub fn crc32c(&self) -> u32 {
        match self.multipart {
            Some(body) => body.crc32c.unwrap_or_default(),
            None => crc32c(self.data()),
        }
    }

    /// Fills in what depends on the volume and on the time at which the needle is stored, `now` (nanoseconds
    /// since 1970): the time at which it expires, and the CRC32C, which needles of a cluster have. A copy
    /// of a needle of another volume stays as it is. Returns the needle, and when it expires; `None` if the
    /// attributes need a longer buffer, and `pool` has none.
    ///
    /// # Panics
    /// If the buffer is taken.
    pub(in crate::volume) fn fitted(
        self,
        pool: &Pool,
        volume: Option<&ClusterProperties>,
        now: u64,
    ) -> Option<(Self, Option<u64>)> {
        if self.is_copy {
            let expires_ns = self.lifetime.expires_ns;
            return Some((self, expires_ns));
        }
        let volume_ttl = volume.filter(|_| !chosen(Sabotage::IgnoreTtlOfVolume));
        let expires_ns = self.lifetime.end(volume_ttl, now);
        let Self { buf, layout, .. } = self;
        let mut buf = buf.expect("the buffer is not taken");
        let data = layout.data_range();
        let crc32c = volume.map(|_| match self.multipart {
            Some(body) => body.crc32c.unwrap_or_default(),
            None => crc32c(&buf[data.clone()]),
        });
        let stored = AttributeSet::decode(&buf[layout.attributes()]);
        let set = AttributeSet { expires_ns, crc32c, ..stored };
        if set == stored {
            return Some((Self { buf: Some(buf), ..self }, expires_ns));
        }
        let mut attributes = [0; ATTRIBUTES_MAX];
        let len = set.encode(&mut attributes);
        if len == layout.attributes_len {
            buf.outside_mut(layout.attributes()).copy_from_slice(&attributes[..len]);
            return Some((Self { buf: Some(buf), ..self }, expires_ns));
        }
        let new = match self.multipart {
            Some(_) => NeedleLayout::manifest(len, layout.data_len),
            None => NeedleLayout::data(len, layout.data_len),
        };
        let mut longer = pool.alloc(new.len)?;
        longer[new.attributes()].copy_from_slice(&attributes[..len]);
        longer[new.data_range()].copy_from_slice(&buf[data]);
        Some((Self { buf: Some(longer), layout: new, ..self }, expires_ns))
    }

    /// Returns the buffer with the chunk table filled in, the layout, and XXH3-64 of the data.
    pub fn finished(self) -> (Buf, NeedleLayout, u64) {
        let mut buf = self.buf.expect("the buffer is not taken");
        let (front, rest) = buf.split_mut(self.layout.data_start);
        let checksum = encode_chunk_table_before(front, rest, &self.layout);
        (buf, self.layout, checksum)
    }
}

#[cfg(test)]
mod tests;
