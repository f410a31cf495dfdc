//! The size of a needle as SeaweedFS counts it, which its clients are told of a deleted photo.

use crate::base::cluster::record_flags;
use crate::volume::{AttributeSet, NeedleDescription};

/// Length of the data and metadata of a record of version 3 (bytes).
pub fn record_size(needle: &NeedleDescription) -> u64 {
    size(needle.body_len, &needle.attributes())
}

/// 0 for a photo without data. Otherwise the length of the data in 4 bytes, the data, 1 byte of flags, and
/// what the flags say that there is: name and content type with 1 byte of length each, also if they are
/// empty, 5 bytes of time, 2 of life, pairs with 2 bytes of length.
fn size(data_len: u64, attributes: &AttributeSet<'_>) -> u64 {
    if data_len == 0 {
        return 0;
    }
    let AttributeSet { content_type, cluster, .. } = *attributes;
    let flags = cluster.flags.unwrap_or_default();
    let part = |flag: u8, len: u64| if flags & flag == 0 { 0 } else { len };
    let length_of = |value: Option<&[u8]>| value.map_or(0, |it| it.len() as u64);
    4 + data_len
        + 1
        + part(record_flags::NAME, 1 + length_of(cluster.name))
        + part(record_flags::MIME, 1 + length_of(content_type))
        + part(record_flags::TIME, 5)
        + part(record_flags::TTL, 2)
        + part(record_flags::PAIRS, 2 + length_of(cluster.pairs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::ClusterAttributes;

    #[test]
    fn size_counts_data_and_what_the_flags_say() {
        let of = |flags| {
            let cluster = ClusterAttributes {
                name: Some(b"p.jpg"),
                pairs: Some(b"{}"),
                flags: Some(flags),
                ..ClusterAttributes::default()
            };
            AttributeSet { content_type: Some(b"image/jpeg"), cluster, ..AttributeSet::default() }
        };
        assert_eq!((size(0, &of(0x3e)), size(3000, &AttributeSet::default())), (0, 3005));
        assert_eq!(size(3000, &of(0x3e)), 3005 + 6 + 11 + 5 + 2 + 4);
        for (flags, more) in [(2, 6), (4, 11), (8, 5), (16, 2), (32, 4)] {
            assert_eq!(size(3000, &of(flags)), 3005 + more, "{flags}");
        }
        let empty = ClusterAttributes { flags: Some(6), ..ClusterAttributes::default() };
        assert_eq!(
            size(1, &AttributeSet { cluster: empty, ..AttributeSet::default() }),
            4 + 1 + 1 + 2
        );
    }
}
