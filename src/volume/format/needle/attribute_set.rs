//! The attributes that this build knows, as values.

use thiserror::Error;

use super::attribute::{Attribute, attribute_bytes, attributes};
use super::expiry::{EXPIRY_LEN, ExpiryValue, expiry_of};
use crate::base::cluster::Ttl;
use crate::base::limits::{ATTRIBUTES_MAX, CONTENT_TYPE_MAX, FILE_NAME_MAX, PAIRS_MAX};
use crate::volume::format::field::{Decoder, Encoder};

/// Length of code and length of an attribute (bytes).
const HEAD_LEN: usize = 4;
/// Length of the longest attributes that a writer gives a needle (bytes).
const LEN_MAX: usize = EXPIRY_LEN
    + (HEAD_LEN + 4)
    + 2 * (HEAD_LEN + 8)
    + (HEAD_LEN + 2)
    + (HEAD_LEN + 1)
    + (HEAD_LEN + CONTENT_TYPE_MAX)
    + (HEAD_LEN + FILE_NAME_MAX)
    + (HEAD_LEN + PAIRS_MAX);

const _: () = assert!(LEN_MAX <= ATTRIBUTES_MAX);

/// What a cluster stores with a needle, beside what every needle has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterAttributes<'a> {
    /// File name: 1 to 255 bytes.
    pub name: Option<&'a [u8]>,
    /// Flags, as the cluster stores them.
    pub flags: Option<u8>,
    /// How long it lives after it was appended. If it has none, that of its volume counts.
    pub ttl: Option<Ttl>,
    /// Pairs of names and values as JSON: 1 to 3400 bytes.
    pub pairs: Option<&'a [u8]>,
    /// When it was appended first, if not when it was stored here (nanoseconds since 1970).
    pub appended_ns: Option<u64>,
    /// Version that it has where it was written first, if not here.
    pub origin_version: Option<u64>,
}

/// The attributes of a needle that this build knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributeSet<'a> {
    /// Time at which the needle expires (nanoseconds since 1970); `None` for never.
    pub expires_ns: Option<u64>,
    /// CRC32C of the body.
    pub crc32c: Option<u32>,
    /// Content type, as in the HTTP header.
    pub content_type: Option<&'a [u8]>,
    /// What a cluster stores.
    pub cluster: ClusterAttributes<'a>,
}

/// Why a needle cannot have attributes. The limits are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnfitAttributes {
    /// The content type.
    #[error("the content type is not 1 to {CONTENT_TYPE_MAX} bytes long")]
    ContentType,
    /// The file name.
    #[error("the file name is not 1 to {FILE_NAME_MAX} bytes long")]
    Name,
    /// The pairs.
    #[error("the pairs of names and values are not 1 to {PAIRS_MAX} bytes of JSON")]
    Pairs,
}

fn fits(value: Option<&[u8]>, max: usize) -> bool {
    value.is_none_or(|value| (1..=max).contains(&value.len()))
}

impl<'a> ClusterAttributes<'a> {
    /// Reads what [`Self::encode`] writes. `None` for any other bytes.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let cluster = AttributeSet::decode(bytes).cluster;
        (cluster.encode() == bytes).then_some(cluster)
    }

    /// Returns the attributes as a needle has them that has no others.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let set = AttributeSet { cluster: self, ..AttributeSet::default() };
        let mut bytes = vec![0; set.encoded_len()];
        set.encode(&mut bytes);
        bytes
    }

    /// Checks that a needle can have these attributes.
    ///
    /// # Errors
    /// [`UnfitAttributes`].
    pub fn check(&self) -> Result<(), UnfitAttributes> {
        if !fits(self.name, FILE_NAME_MAX) {
            return Err(UnfitAttributes::Name);
        }
        if fits(self.pairs, PAIRS_MAX) { Ok(()) } else { Err(UnfitAttributes::Pairs) }
    }
}

impl<'a> AttributeSet<'a> {
    /// Reads the attributes of a needle. One whose value has another length than it may have, or that stands
    /// there a second time, means nothing.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Self {
        let mut set = Self { expires_ns: expiry_of(bytes), ..Self::default() };
        let mut cluster = ClusterAttributes::default();
        for Attribute { code, value } in attributes(bytes) {
            match code {
                Attribute::CRC32C => {
                    keep(&mut set.crc32c, sized(value, 4).map(|mut value| value.u32()))
                }
                Attribute::CONTENT_TYPE => keep(&mut set.content_type, Some(value)),
                Attribute::NAME => keep(&mut cluster.name, text(value, FILE_NAME_MAX)),
                Attribute::FLAGS => {
                    keep(&mut cluster.flags, sized(value, 1).map(|mut value| value.u8()))
                }
                Attribute::TTL => {
                    let ttl = sized(value, 2).map(|mut value| value.bytes());
                    keep(&mut cluster.ttl, ttl.and_then(Ttl::from_bytes));
                }
                Attribute::PAIRS => keep(&mut cluster.pairs, text(value, PAIRS_MAX)),
                Attribute::APPENDED => {
                    keep(&mut cluster.appended_ns, sized(value, 8).map(|mut value| value.u64()));
                }
                Attribute::ORIGIN_VERSION => {
                    keep(&mut cluster.origin_version, sized(value, 8).map(|mut value| value.u64()));
                }
                _ => {}
            }
        }
        Self { cluster, ..set }
    }

    /// Checks that a needle can have these attributes.
    ///
    /// # Errors
    /// [`UnfitAttributes`].
    pub fn check(&self) -> Result<(), UnfitAttributes> {
        match fits(self.content_type, CONTENT_TYPE_MAX) {
            true => self.cluster.check(),
            false => Err(UnfitAttributes::ContentType),
        }
    }

    /// Length of the attributes on disk (bytes).
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let mut len = 0;
        self.each(&mut |attribute| len += attribute.encoded_len());
        len
    }

    /// Encodes the attributes: the expiry first, then those of a fixed length. Returns their length (bytes).
    ///
    /// # Panics
    /// If `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let mut len = 0;
        self.each(&mut |attribute| len += attribute_bytes(&[attribute], &mut out[len..]));
        len
    }

    /// Calls `sink` for each attribute, in the order in which they are stored.
    fn each(&self, sink: &mut dyn FnMut(Attribute<'_>)) {
        let Self { expires_ns, crc32c, content_type, cluster } = *self;
        let ClusterAttributes { name, flags, ttl, pairs, appended_ns, origin_version } = cluster;
        if let Some(expires_ns) = expires_ns {
            sink(ExpiryValue::new(expires_ns).attribute());
        }
        let mut put = |code, value: Option<&[u8]>| {
            if let Some(value) = value {
                sink(Attribute { code, value });
            }
        };
        let crc32c = crc32c.map(|crc| fixed(|out| out.u32(crc)));
        put(Attribute::CRC32C, crc32c.as_ref().map(|value| &value[..4]));
        let origin_version = origin_version.map(|version| fixed(|out| out.u64(version)));
        put(Attribute::ORIGIN_VERSION, origin_version.as_ref().map(|value| &value[..]));
        let appended = appended_ns.map(|time| fixed(|out| out.u64(time)));
        put(Attribute::APPENDED, appended.as_ref().map(|value| &value[..]));
        put(Attribute::TTL, ttl.map(Ttl::to_bytes).as_ref().map(|value| &value[..]));
        put(Attribute::FLAGS, flags.map(|flags| [flags]).as_ref().map(|value| &value[..]));
        put(Attribute::CONTENT_TYPE, content_type);
        put(Attribute::NAME, name);
        put(Attribute::PAIRS, pairs);
    }
}

/// Returns a number as it is stored, then zeros.
fn fixed(put: impl for<'a, 'b> FnOnce(&'a mut Encoder<'b>) -> &'a mut Encoder<'b>) -> [u8; 8] {
    let mut value = [0; 8];
    put(&mut Encoder::new(&mut value));
    value
}

/// Sets a value that is not known yet.
fn keep<T>(known: &mut Option<T>, value: Option<T>) {
    if known.is_none() {
        *known = value;
    }
}

/// Returns a value if it has this length (bytes).
fn sized(value: &[u8], len: usize) -> Option<Decoder<'_>> {
    (value.len() == len).then(|| Decoder::new(value))
}

fn text(value: &[u8], max: usize) -> Option<&[u8]> {
    (1..=max).contains(&value.len()).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &[u8] = b"p.jpg";

    fn all() -> AttributeSet<'static> {
        AttributeSet {
            expires_ns: Some(7),
            crc32c: Some(0x0ae5_10d2),
            content_type: Some(b"image/jpeg"),
            cluster: ClusterAttributes {
                name: Some(NAME),
                flags: Some(0x2e),
                ttl: Ttl::from_bytes([5, 1]),
                pairs: Some(b"{\"Seaweed-a\":\"b\"}"),
                appended_ns: Some(u64::MAX),
                origin_version: Some(9),
            },
        }
    }

    fn encoded(set: &AttributeSet<'_>) -> Vec<u8> {
        let mut out = vec![0; set.encoded_len()];
        assert_eq!(set.encode(&mut out), out.len());
        out
    }

    #[test]
    fn attributes_are_read_back_and_the_decisive_ones_are_in_the_first_unit() {
        let bytes = encoded(&all());
        assert_eq!(AttributeSet::decode(&bytes), all());
        let codes: Vec<u16> = attributes(&bytes).map(|attribute| attribute.code).collect();
        assert_eq!(codes, [2, 3, 9, 8, 6, 5, 1, 4, 7]);
        assert_eq!(AttributeSet::decode(&[]), AttributeSet::default());
        assert_eq!(encoded(&AttributeSet::default()).len(), 0);
    }

    #[test]
    fn attributes_of_a_cluster_have_one_form() {
        let bytes = all().cluster.encode();
        assert_eq!(ClusterAttributes::decode(&bytes), Some(all().cluster));
        assert_eq!(ClusterAttributes::decode(&[]), Some(ClusterAttributes::default()));
        for bad in [
            &encoded(&all()),
            &bytes[1..],
            &bytes[..bytes.len() - 1],
            &[bytes.clone(), bytes.clone()].concat()[..],
        ] {
            assert_eq!(ClusterAttributes::decode(bad), None);
        }
    }

    #[test]
    fn longest_attributes_fit() {
        let (ctype, name, pairs) = ([b'c'; 255], [b'n'; 255], [b'p'; 3400]);
        let cluster = ClusterAttributes { name: Some(&name), pairs: Some(&pairs), ..all().cluster };
        let set = AttributeSet { content_type: Some(&ctype), cluster, ..all() };
        assert_eq!((set.check(), set.encoded_len()), (Ok(()), LEN_MAX));
        assert_eq!(AttributeSet::decode(&encoded(&set)), set);
    }

    #[test]
    fn what_is_too_long_or_empty_is_refused_and_not_read() {
        let (long_name, long_pairs, long_type) = ([b'n'; 256], [b'p'; 3401], [b'c'; 256]);
        for name in [&[][..], &long_name] {
            let cluster = ClusterAttributes { name: Some(name), ..all().cluster };
            let set = AttributeSet { cluster, ..all() };
            assert_eq!(set.check(), Err(UnfitAttributes::Name));
            assert_eq!(AttributeSet::decode(&encoded(&set)).cluster.name, None);
        }
        for pairs in [&[][..], &long_pairs] {
            let cluster = ClusterAttributes { pairs: Some(pairs), ..all().cluster };
            let set = AttributeSet { cluster, ..all() };
            assert_eq!(set.check(), Err(UnfitAttributes::Pairs));
            assert_eq!(AttributeSet::decode(&encoded(&set)).cluster.pairs, None);
        }
        let set = AttributeSet { content_type: Some(&long_type), ..all() };
        assert_eq!(set.check(), Err(UnfitAttributes::ContentType));
    }

    #[test]
    fn values_of_other_lengths_and_later_ones_mean_nothing() {
        let mut bytes = vec![0; 200];
        let wrong = [(3, 3), (3, 5), (5, 0), (5, 2), (6, 1), (8, 7), (9, 9)];
        let value = [1; 9];
        let entries = wrong.map(|(code, len)| Attribute { code, value: &value[..len] });
        let len = attribute_bytes(&entries, &mut bytes);
        assert_eq!(AttributeSet::decode(&bytes[..len]), AttributeSet::default());
        // A time to live that is none, then one, then another.
        let ttls = [[0, 1], [5, 1], [6, 1]];
        let entries =
            [0, 1, 2].map(|n| Attribute { code: Attribute::TTL, value: ttls[n].as_slice() });
        let len = attribute_bytes(&entries, &mut bytes);
        assert_eq!(AttributeSet::decode(&bytes[..len]).cluster.ttl, Ttl::from_bytes([5, 1]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_to_what_can_be_encoded(
            bytes in prop::collection::vec(
                (0u16..11, prop::collection::vec(any::<u8>(), 0..18)), 0..9)
        ) {
            let mut stored = Vec::new();
            for (code, value) in &bytes {
                let attribute = Attribute { code: *code, value };
                let mut entry = vec![0; attribute.encoded_len()];
                attribute_bytes(&[attribute], &mut entry);
                stored.extend(entry);
            }
            let set = AttributeSet::decode(&stored);
            prop_assert_eq!(set.cluster.check(), Ok(()));
            let again = encoded(&set);
            prop_assert_eq!(AttributeSet::decode(&again), set);
        }
    }
}
