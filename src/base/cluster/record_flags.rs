//! Bits of the flags that SeaweedFS stores with a record of version 3.

/// The data is packed with gzip.
pub const GZIP: u8 = 0x01;
/// There is a file name, maybe an empty one.
pub const NAME: u8 = 0x02;
/// There is a content type, maybe an empty one.
pub const MIME: u8 = 0x04;
/// There is a time of modification.
pub const TIME: u8 = 0x08;
/// There is a time to live.
pub const TTL: u8 = 0x10;
/// There are pairs of names and values.
pub const PAIRS: u8 = 0x20;
/// The data is a list of chunks.
pub const CHUNK_MANIFEST: u8 = 0x80;
