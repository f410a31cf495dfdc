//! What a cluster stores with a needle, in a row of the table.

use std::fmt;

use serde::Serialize;

use super::escaped::escaped;
use crate::base::calendar::rfc3339_nanos;
use crate::volume::{AttributeSet, ClusterAttributes};

/// What a cluster stores with a needle. Each value is null if there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterRow {
    /// CRC32C of the body: 8 hex digits.
    pub crc32c: Option<String>,
    /// Flags, as the cluster stores them.
    pub flags: Option<u8>,
    /// Time to live, such as `5m`.
    pub ttl: Option<String>,
    /// Time at which it was appended first: RFC 3339, in UTC.
    pub appended: Option<String>,
    /// Version that it has where it was written first.
    pub origin_version: Option<u64>,
    /// File name, [`escaped`].
    pub name: Option<String>,
    /// Pairs of names and values as JSON, [`escaped`].
    pub pairs: Option<String>,
}

impl ClusterRow {
    /// Returns `None` if a cluster stores nothing with the needle.
    pub(super) fn of(stored: &AttributeSet<'_>) -> Option<Self> {
        let AttributeSet { crc32c, cluster, .. } = *stored;
        if crc32c.is_none() && cluster == ClusterAttributes::default() {
            return None;
        }
        let ClusterAttributes { name, flags, ttl, pairs, appended_ns, origin_version } = cluster;
        Some(Self {
            crc32c: crc32c.map(|crc| format!("{crc:08x}")),
            flags,
            ttl: ttl.map(|ttl| ttl.to_string()),
            appended: appended_ns.map(rfc3339_nanos),
            origin_version,
            name: name.map(escaped),
            pairs: pairs.map(escaped),
        })
    }
}

impl fmt::Display for ClusterRow {
    /// Writes what there is as `key=value`, with commas between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { crc32c, flags, ttl, appended, origin_version, name, pairs } = self;
        let flags = flags.map(|flags| format!("{flags:#04x}"));
        let origin_version = origin_version.map(|version| version.to_string());
        let all = [
            ("crc32c", crc32c),
            ("flags", &flags),
            ("ttl", ttl),
            ("appended", appended),
            ("origin_version", &origin_version),
            ("name", name),
            ("pairs", pairs),
        ];
        let there = all.iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value)));
        for (n, (key, value)) in there.enumerate() {
            write!(f, "{}{key}={value}", if n > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_has_what_there_is() {
        let mut stored = AttributeSet::default();
        assert_eq!(ClusterRow::of(&stored), None);
        stored.crc32c = Some(7);
        assert_eq!(ClusterRow::of(&stored).unwrap().to_string(), "crc32c=00000007");
        stored.cluster = ClusterAttributes {
            name: Some(b"a\tb.jpg"),
            flags: Some(2),
            ttl: "5m".parse().ok(),
            pairs: Some(b"{}"),
            appended_ns: Some(1_500_000_000_000_000_001),
            origin_version: Some(9),
        };
        let text = "crc32c=00000007,flags=0x02,ttl=5m,appended=2017-07-14T02:40:00.000000001Z,\
                    origin_version=9,name=a\\tb.jpg,pairs={}";
        assert_eq!(ClusterRow::of(&stored).unwrap().to_string(), text);
    }
}
