//! What is stored in the attributes of a needle.

use crate::base::cluster::Ttl;
use crate::volume::format::{AttributeSet, ClusterAttributes, ClusterProperties, UnfitAttributes};

/// What is stored in the attributes of a needle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DraftAttributes<'a> {
    /// Content type, as in the HTTP header.
    pub content_type: Option<&'a [u8]>,
    /// Time at which the needle expires (nanoseconds since 1970); `None` for never.
    pub expires_ns: Option<u64>,
    /// What a cluster stores with the needle.
    pub cluster: ClusterAttributes<'a>,
    /// What the volume will add.
    pub foreseen: Foreseen,
}

/// Attributes that the volume adds when the needle is stored, as far as whoever makes the draft knows the
/// volume. Whatever is foreseen, the needle gets the attributes that its volume asks for; but what is not
/// foreseen costs a copy of the needle in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Whether the volume belongs to a cluster: the needle gets the CRC32C of its body.
    pub crc32c: bool,
    /// Whether the volume has a time to live: the needle gets a time of expiry.
    pub expiry: bool,
}

impl<'a> DraftAttributes<'a> {
    /// Checks that a needle can have these attributes.
    ///
    /// # Errors
    /// [`UnfitAttributes`].
    pub fn check(&self) -> Result<(), UnfitAttributes> {
        self.set().check()
    }

    /// The attributes as they are stored, with values still to be filled in.
    pub(super) fn set(&self) -> AttributeSet<'a> {
        let Self { content_type, expires_ns, cluster, foreseen } = *self;
        let expires = foreseen.expiry || cluster.ttl.is_some();
        AttributeSet {
            expires_ns: expires_ns.or(expires.then_some(u64::MAX)),
            crc32c: foreseen.crc32c.then_some(0),
            content_type,
            cluster,
        }
    }
}

/// When a needle expires.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lifetime {
    /// At this time (nanoseconds since 1970), whatever its time to live is; `None` for never.
    pub(super) expires_ns: Option<u64>,
    /// After its own time to live.
    pub(super) ttl: Option<Ttl>,
    /// When it was appended first (nanoseconds since 1970), if not now.
    pub(super) appended_ns: Option<u64>,
}

impl Lifetime {
    pub(super) fn of(attributes: &DraftAttributes<'_>) -> Self {
        let DraftAttributes { expires_ns, cluster, .. } = *attributes;
        let ClusterAttributes { ttl, appended_ns, .. } = cluster;
        Self { expires_ns, ttl, appended_ns }
    }

    /// Returns when a needle expires that is stored at `now`, in a volume of which the cluster says this
    /// (nanoseconds since 1970). The earlier of two times counts.
    pub(super) fn end(self, volume: Option<&ClusterProperties>, now: u64) -> Option<u64> {
        let ttl = self.ttl.or(volume.and_then(|properties| properties.ttl));
        let begin = self.appended_ns.unwrap_or(now);
        let by_ttl = ttl.map(|ttl| begin.saturating_add(ttl.as_ns()));
        [self.expires_ns, by_ttl].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needle_lives_as_long_as_its_own_time_to_live_else_that_of_its_volume() {
        let ttl = |text: &str| Some(text.parse::<Ttl>().unwrap());
        let minute = 60_000_000_000;
        let volume = ClusterProperties { ttl: ttl("5m"), ..ClusterProperties::default() };
        let lasting = ClusterProperties::default();
        let end = |life: Lifetime, volume| life.end(volume, 1000);
        let plain = Lifetime::default();
        assert_eq!(end(plain, None), None);
        assert_eq!(end(plain, Some(&lasting)), None);
        assert_eq!(end(plain, Some(&volume)), Some(1000 + 5 * minute));
        let own = Lifetime { ttl: ttl("9m"), ..plain };
        assert_eq!(end(own, Some(&volume)), Some(1000 + 9 * minute));
        assert_eq!(end(own, None), Some(1000 + 9 * minute));
        let appended = Lifetime { appended_ns: Some(7), ..own };
        assert_eq!(end(appended, Some(&volume)), Some(7 + 9 * minute));
        let explicit = Lifetime { expires_ns: Some(2000), ..own };
        assert_eq!(end(explicit, Some(&volume)), Some(2000), "the earlier one");
        let late = Lifetime { expires_ns: Some(u64::MAX), ..own };
        assert_eq!(end(late, Some(&volume)), Some(1000 + 9 * minute));
        let last = Lifetime { appended_ns: Some(u64::MAX), ..own };
        assert_eq!(end(last, None), Some(u64::MAX));
    }
}
