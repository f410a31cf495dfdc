//! A needle that is being received. Its data is received into the buffer from which it will be written.

use crate::base::limits::{CONTENT_TYPE_MAX, NEEDLE_DATA_MAX};
use crate::runtime::buffer::{Buf, PAGE, Pool};
use crate::volume::format::{
    Attribute, EXPIRY_LEN, ExpiryValue, HEADER_LEN, NeedleLayout, attribute_bytes,
    encode_chunk_table, expiry_of, put_chunk_table,
};
use crate::volume::object::upload_key::UploadKey;

/// A needle that is being received. Its data is in the buffer from which it will be written.
pub struct Draft {
    buf: Option<Buf>,
    layout: NeedleLayout,
    /// Time of modification (nanoseconds since 1970); `None` for the time at which it is stored.
    pub(in crate::volume) modified_ns: Option<u64>,
    /// Time at which the needle expires (nanoseconds since 1970); `None` for never.
    pub(in crate::volume) expires_ns: Option<u64>,
    /// In a manifest: the body that it represents.
    pub(in crate::volume) multipart: Option<MultipartBody>,
    /// Whether it is a copy of a needle of another volume: its time of modification counts also if it is in
    /// the future.
    pub(in crate::volume) is_copy: bool,
}

/// What is stored in the attributes of a needle.
#[derive(Clone, Copy, Debug, Default)]
pub struct DraftAttributes<'a> {
    /// Content type, as in the HTTP header.
    pub content_type: Option<&'a [u8]>,
    /// Time at which the needle expires (nanoseconds since 1970); `None` for never.
    pub expires_ns: Option<u64>,
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
        let attributes = DraftAttributes { content_type, expires_ns: None };
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
        let (buf, expires_ns) = (Some(buf), expiry_of(attributes));
        Some(Self { buf, layout, modified_ns: None, expires_ns, multipart: None, is_copy: true })
    }

    fn with_layout(
        pool: &Pool,
        attributes: DraftAttributes<'_>,
        layout: impl FnOnce(usize) -> NeedleLayout,
    ) -> Option<Self> {
        let DraftAttributes { content_type, expires_ns } = attributes;
        let code = Attribute::CONTENT_TYPE;
        let content_type = content_type.map(|value| Attribute { code, value });
        let expiry = expires_ns.map(ExpiryValue::new);
        // In this order: the expiry must be in the first block of the needle.
        let expiry = expiry.as_ref().map(ExpiryValue::attribute);
        let len = [&expiry, &content_type].into_iter().flatten().map(Attribute::encoded_len).sum();
        let layout = layout(len);
        let mut buf = pool.alloc(layout.len)?;
        let len = attribute_bytes(expiry.as_slice(), &mut buf[HEADER_LEN..]);
        attribute_bytes(content_type.as_slice(), &mut buf[HEADER_LEN + len..]);
        let buf = Some(buf);
        Some(Self { buf, layout, modified_ns: None, expires_ns, multipart: None, is_copy: false })
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
    pub fn data_mut(&mut self) -> &mut [u8] {
        let range = self.layout.data_range();
        &mut self.buf.as_mut().expect("the buffer is not taken")[range]
    }

    /// Returns the buffer with a chunk table of these checksums, and the layout.
    pub fn finished_with(self, sums: &[u64]) -> (Buf, NeedleLayout) {
        let mut buf = self.buf.expect("the buffer is not taken");
        put_chunk_table(&mut buf, &self.layout, sums);
        (buf, self.layout)
    }

    /// Returns the buffer with the chunk table filled in, the layout, and XXH3-64 of the data.
    pub fn finished(self) -> (Buf, NeedleLayout, u64) {
        let mut buf = self.buf.expect("the buffer is not taken");
        let checksum = encode_chunk_table(&mut buf, &self.layout);
        (buf, self.layout, checksum)
    }
}
