//! The access trace: the requests for objects, with their times, as records of fixed length, from which a
//! load can be replayed (`hayloft-loadgen record`). Pure functions over slices; uses no other module.
//!
//! A file is a header and any number of records, 32 bytes each, all integers little-endian:
//!
//! ```text
//! header  0  8  magic "HAYTRACE"          record  0  8  time (nanoseconds since 1970)
//!         8  4  version (1)                       8  8  object: hash of volume, key, alternate key
//!        12  4  length of a record (32)          16  4  size of the object (bytes)
//!        16  8  threshold of sampling            20  4  service time (microseconds)
//!        24  8  time of the start (ns)           24  2  status
//!                                                26  1  method
//!                                                27  1  flags
//!                                                28  4  volume
//! ```
//!
//! Sampling is spatial: an object is in the trace with all its requests if its hash is not above the
//! threshold, else with none (Waldspurger et al., "Efficient MRC construction with SHARDS", FAST 2015). This
//! preserves reuse distances, scaled by the sampling rate. A partial record at the end of a truncated file is
//! ignored. Keys are hashed and cookies omitted: a trace does not reveal the URLs of photos.

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// Magic number at the start of a file.
const MAGIC: [u8; 8] = *b"HAYTRACE";
/// Version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// Length of the header (bytes).
pub const HEADER_LEN: usize = 32;
/// Length of a record (bytes).
pub const RECORD_LEN: usize = 32;

/// Threshold that includes every object.
pub const ALL: u64 = u64::MAX;

/// Flag: the request was for a range of the object.
pub const FLAG_RANGE: u8 = 1;
/// Flag: another shard than that of the client's connection answered the request.
pub const FLAG_CROSSED: u8 = 2;

/// Why a file is no access trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TraceError {
    /// The magic number is missing.
    #[error("this is no access trace of Hayloft; name a file that the daemon wrote")]
    NoTrace,
    /// The version is unknown, or the record length is another one.
    #[error(
        "this access trace has version {0}, and only version {VERSION} is known; use the release that \
         wrote it"
    )]
    Version(u32),
}

/// Method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// Any other method.
    Other = 0,
    /// GET.
    Get = 1,
    /// HEAD.
    Head = 2,
    /// PUT.
    Put = 3,
    /// POST of one object.
    Post = 4,
    /// One object of a batch put.
    Batch = 5,
    /// DELETE, or one object of a multi-delete.
    Delete = 6,
}

impl Method {
    fn from_code(code: u8) -> Self {
        let known = [Self::Get, Self::Head, Self::Put, Self::Post, Self::Batch, Self::Delete];
        known.into_iter().find(|method| *method as u8 == code).unwrap_or(Self::Other)
    }
}

/// Header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Largest hash of the objects in the trace; [`ALL`] includes every object.
    pub threshold: u64,
    /// Start of the trace (nanoseconds since 1970).
    pub started: u64,
}

/// Record of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Arrival of the request (nanoseconds since 1970).
    pub time: u64,
    /// [`object_hash`] of the object.
    pub object: u64,
    /// Length of the object (bytes); 0 if there is none; saturates at [`u32::MAX`].
    pub size: u32,
    /// Time from the request to the last byte of the response (microseconds); saturates.
    pub service_us: u32,
    /// HTTP status of the response.
    pub status: u16,
    /// Method of the request.
    pub method: Method,
    /// [`FLAG_RANGE`] and [`FLAG_CROSSED`].
    pub flags: u8,
    /// Volume id.
    pub volume: u32,
}

/// Hash that identifies an object in a trace (XXH3-64 of volume, key and alternate key).
#[must_use]
pub fn object_hash(volume: u32, key: u64, alt: u32) -> u64 {
    let mut id = [0; 16];
    put(&mut id, 0, &volume.to_le_bytes());
    put(&mut id, 4, &key.to_le_bytes());
    put(&mut id, 12, &alt.to_le_bytes());
    xxh3_64(&id)
}

/// Returns the threshold that includes a share (0 to 1) of all objects, rounded. Even 0 includes the hash 0.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates at the ends"
)]
#[expect(clippy::cast_precision_loss, reason = "a share needs no 64 bits")]
pub fn threshold(share: f64) -> u64 {
    if share >= 1.0 { ALL } else { (share * ALL as f64) as u64 }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a field lies inside its record")
}

impl Header {
    /// Whether the requests for the object with this hash are in the trace.
    #[must_use]
    pub fn includes(&self, object: u64) -> bool {
        object <= self.threshold
    }

    /// Encodes the value as in a file.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        put(&mut out, 0, &MAGIC);
        put(&mut out, 8, &VERSION.to_le_bytes());
        put(&mut out, 12, &(RECORD_LEN as u32).to_le_bytes());
        put(&mut out, 16, &self.threshold.to_le_bytes());
        put(&mut out, 24, &self.started.to_le_bytes());
        out
    }

    /// Decodes a header.
    ///
    /// # Errors
    /// [`TraceError`]: no access trace, or another version or record length.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, TraceError> {
        if get(bytes, 0) != MAGIC {
            return Err(TraceError::NoTrace);
        }
        let (version, len) =
            (u32::from_le_bytes(get(bytes, 8)), u32::from_le_bytes(get(bytes, 12)));
        if version != VERSION || len != RECORD_LEN as u32 {
            return Err(TraceError::Version(version));
        }
        let (threshold, started) =
            (u64::from_le_bytes(get(bytes, 16)), u64::from_le_bytes(get(bytes, 24)));
        Ok(Self { threshold, started })
    }
}

impl Record {
    /// Encodes the value as in a file.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_LEN] {
        let mut out = [0; RECORD_LEN];
        put(&mut out, 0, &self.time.to_le_bytes());
        put(&mut out, 8, &self.object.to_le_bytes());
        put(&mut out, 16, &self.size.to_le_bytes());
        put(&mut out, 20, &self.service_us.to_le_bytes());
        put(&mut out, 24, &self.status.to_le_bytes());
        put(&mut out, 26, &[self.method as u8, self.flags]);
        put(&mut out, 28, &self.volume.to_le_bytes());
        out
    }

    /// Decodes a record. Every byte sequence is a valid record: unknown methods become [`Method::Other`].
    #[must_use]
    pub fn decode(bytes: &[u8; RECORD_LEN]) -> Self {
        Self {
            time: u64::from_le_bytes(get(bytes, 0)),
            object: u64::from_le_bytes(get(bytes, 8)),
            size: u32::from_le_bytes(get(bytes, 16)),
            service_us: u32::from_le_bytes(get(bytes, 20)),
            status: u16::from_le_bytes(get(bytes, 24)),
            method: Method::from_code(bytes[26]),
            flags: bytes[27],
            volume: u32::from_le_bytes(get(bytes, 28)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_encoded_as_documented() {
        let header = Header { threshold: 0x0102_0304_0506_0708, started: 7 };
        let bytes = header.encode();
        assert_eq!(&bytes[..16], b"HAYTRACE\x01\0\0\0\x20\0\0\0");
        assert_eq!(bytes[16..26], [8, 7, 6, 5, 4, 3, 2, 1, 7, 0]);
        assert_eq!(Header::decode(&bytes), Ok(header));
        let mut other = bytes;
        other[8] = 2;
        assert_eq!(Header::decode(&other), Err(TraceError::Version(2)));
        other[0] = b'X';
        assert_eq!(Header::decode(&other), Err(TraceError::NoTrace));
    }

    #[test]
    fn record_is_encoded_as_documented() {
        let record = Record {
            time: 0x0807_0605_0403_0201,
            object: 0x1817_1615_1413_1211,
            size: 0x2423_2221,
            service_us: 0x3433_3231,
            status: 206,
            method: Method::Get,
            flags: FLAG_RANGE | FLAG_CROSSED,
            volume: 9,
        };
        let bytes = record.encode();
        let expected = [
            1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22,
            0x23, 0x24, 0x31, 0x32, 0x33, 0x34, 206, 0, 1, 3, 9, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
        assert_eq!(Record::decode(&bytes), record);
        for code in 0..=6 {
            let mut bytes = bytes;
            bytes[26] = code;
            assert_eq!(Record::decode(&bytes).method as u8, code);
        }
        assert_eq!(Record::decode(&[255; RECORD_LEN]).method, Method::Other);
    }

    #[test]
    fn sampling_selects_the_configured_share_of_objects() {
        let header = Header { threshold: threshold(0.1), started: 0 };
        let taken = (0..10_000).filter(|&key| header.includes(object_hash(1, key, 0))).count();
        assert!((900..1100).contains(&taken), "{taken}");
        assert_eq!((threshold(1.0), threshold(0.0)), (ALL, 0));
    }

    #[test]
    fn object_hash_depends_on_volume_key_and_alt() {
        let one = object_hash(1, 2, 3);
        assert!(![object_hash(2, 2, 3), object_hash(1, 3, 3), object_hash(1, 2, 4)].contains(&one));
    }
}
