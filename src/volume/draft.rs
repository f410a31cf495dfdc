//! A needle on its way in: its data is received to where it will be written from.

use super::append::RoomKey;
use super::format::{
    Attribute, HEADER_LEN, Layout, attribute_bytes, encode_chunk_table, put_chunk_table,
};
use crate::buffer::{Buf, PAGE, Pool};
use crate::limits::{CONTENT_TYPE_MAX, NEEDLE_DATA_MAX};

/// A needle being received: its data stands where it will be written from.
pub struct Draft {
    buf: Option<Buf>,
    layout: Layout,
    /// Nothing for the time at which it is stored.
    pub(super) modified_ns: Option<u64>,
    /// With a manifest: what it stands for.
    pub(super) large: Option<LargeBody>,
}

/// The body that a manifest stands for.
#[derive(Clone, Copy)]
pub struct LargeBody {
    /// Its length (bytes).
    pub len: u64,
    /// Its XXH3-64.
    pub etag: u64,
    /// Length of its parts on disk (units).
    pub parts_units: u32,
    /// Where there is room for the manifest.
    pub room: RoomKey,
}

impl Draft {
    /// A buffer of `pool` for data of this length (bytes), with room in front for what precedes
    /// it; nothing when the pool has none.
    ///
    /// # Panics
    /// When a length is beyond its limit.
    #[must_use]
    pub fn new(pool: &Pool, content_type: Option<&[u8]>, data_len: u64) -> Option<Self> {
        assert!(data_len <= NEEDLE_DATA_MAX);
        let data_len = usize::try_from(data_len).expect("1 MiB");
        Self::with_layout(pool, content_type, |attributes| Layout::data(attributes, data_len))
    }

    /// The same for a manifest with so much data (bytes).
    pub fn manifest(
        pool: &Pool,
        content_type: Option<&[u8]>,
        data_len: usize,
        body: LargeBody,
    ) -> Option<Self> {
        let layout = |attributes| Layout::manifest(attributes, data_len);
        let draft = Self::with_layout(pool, content_type, layout)?;
        Some(Self { large: Some(body), ..draft })
    }

    fn with_layout(
        pool: &Pool,
        content_type: Option<&[u8]>,
        layout: impl FnOnce(usize) -> Layout,
    ) -> Option<Self> {
        let attribute =
            content_type.map(|value| Attribute { code: Attribute::CONTENT_TYPE, value });
        let layout = layout(attribute.as_ref().map_or(0, Attribute::encoded_len));
        let mut buf = pool.alloc(layout.len)?;
        attribute_bytes(attribute.as_slice(), &mut buf[HEADER_LEN..]);
        Some(Self { buf: Some(buf), layout, modified_ns: None, large: None })
    }

    /// The same with a time of modification (nanoseconds since 1970), which counts unless it is still to
    /// come when the needle is stored.
    #[must_use]
    pub fn modified(self, modified_ns: Option<u64>) -> Self {
        Self { modified_ns, ..self }
    }

    /// What a buffer for data of this length takes of a pool at most (bytes).
    #[must_use]
    pub fn memory(data_len: u64) -> usize {
        let data_len = usize::try_from(data_len).expect("1 MiB");
        Layout::data(4 + CONTENT_TYPE_MAX, data_len).len.next_multiple_of(PAGE)
    }

    /// Length of the data (bytes).
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.layout.data_len
    }

    /// The buffer, and where in it the data begins; to be given back with [`Self::restore`].
    ///
    /// # Panics
    /// When the buffer is out already.
    pub fn take(&mut self) -> (Buf, usize) {
        (self.buf.take().expect("the buffer is at home"), self.layout.data_start)
    }

    /// Takes the buffer back.
    pub fn restore(&mut self, buf: Buf) {
        self.buf = Some(buf);
    }

    /// Where the data goes.
    ///
    /// # Panics
    /// When the buffer is out.
    pub fn data_mut(&mut self) -> &mut [u8] {
        let range = self.layout.data_range();
        &mut self.buf.as_mut().expect("the buffer is at home")[range]
    }

    /// The buffer with a chunk table of these checksums, and the layout.
    pub fn sealed_with(self, sums: &[u64]) -> (Buf, Layout) {
        let mut buf = self.buf.expect("the buffer is at home");
        put_chunk_table(&mut buf, &self.layout, sums);
        (buf, self.layout)
    }

    /// The buffer with the chunk table filled in, the layout, and XXH3-64 of the data.
    pub fn sealed(self) -> (Buf, Layout, u64) {
        let mut buf = self.buf.expect("the buffer is at home");
        let checksum = encode_chunk_table(&mut buf, &self.layout);
        (buf, self.layout, checksum)
    }
}
