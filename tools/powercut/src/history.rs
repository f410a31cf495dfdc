//! History of the writes of a load, and the states it allows after a cut. Pure functions.

use std::collections::BTreeSet;
use std::fmt::Write;

use faultdisk::random::split_mix;

/// Logical time: the number of requests that the disk had completed. The requests that an acknowledgement
/// depends on are before the moment at which it was observed.
pub type Moment = u64;

/// History of a trial.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub groups: Vec<WriteGroup>,
    /// Volumes created during the trial, and the moments of the acknowledgements.
    pub volumes: Vec<(u32, Moment)>,
    /// Volumes that answered 507.
    pub full: BTreeSet<u32>,
    /// Completed compactions.
    pub generations: Vec<Generation>,
}

/// A completed compaction.
#[derive(Clone, Copy, Debug)]
pub struct Generation {
    pub volume: u32,
    /// Generation that it made.
    pub generation: u64,
    /// Moment after it was shown as completed.
    pub acknowledged: Moment,
}

/// Content of object `n` of a version: mostly small, sometimes larger than a needle can be.
pub fn content(version: u64, n: usize) -> Vec<u8> {
    let mut state = version ^ (n as u64).wrapping_mul(0xd134_2543_de82_ef95);
    let len = match split_mix(&mut state) % 200 {
        0 => 1_048_577 + split_mix(&mut state) % 1_500_000,
        1..=9 => split_mix(&mut state) % 200_000,
        10..=69 => split_mix(&mut state) % 40_000,
        _ => split_mix(&mut state) % 5000,
    };
    let len = usize::try_from(len).expect("usize has 64 bits") + 8;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&split_mix(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Draws a version whose first object is a multipart object.
pub fn large_version(seed: &mut u64) -> u64 {
    loop {
        let version = split_mix(seed);
        let mut state = version;
        if split_mix(&mut state).is_multiple_of(200) {
            return version;
        }
    }
}

/// One write to a group of objects.
#[derive(Clone, Debug)]
pub struct Version {
    /// Seed of the content; `None` for a delete.
    pub seed: Option<u64>,
    /// Moment before it was sent.
    pub sent: Moment,
    /// Moment after its acknowledgement.
    pub acknowledged: Option<Moment>,
}

/// Objects that are always written together: a single one, or those of a batch put and multi-delete. All
/// writes to them are sent one after the other on one connection.
#[derive(Clone, Debug)]
pub struct WriteGroup {
    pub paths: Vec<String>,
    pub versions: Vec<Version>,
}

/// Result of reading one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Not found.
    Absent,
    /// Content.
    Bytes(Vec<u8>),
    /// Another status, or no answer.
    Failed(String),
}

/// Assessment of a group of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The state is allowed.
    Right,
    /// An acknowledged write is missing.
    Lost(String),
    /// The content was never written, or mixes several writes.
    Wrong(String),
}

impl WriteGroup {
    /// Number of writes acknowledged before the cut.
    pub fn acknowledged(&self, cut: Moment) -> usize {
        self.versions.iter().filter(|version| version.is_acknowledged(cut)).count()
    }

    fn matches(&self, seed: Option<u64>, observed: &[Observed]) -> bool {
        observed.iter().enumerate().all(|(n, observed)| match (seed, observed) {
            (None, Observed::Absent) => true,
            (Some(seed), Observed::Bytes(bytes)) => *bytes == content(seed, n),
            _ => false,
        })
    }

    /// Compares the state after a cut with the writes before it: allowed are the last acknowledged write, and
    /// later ones that were in flight.
    pub fn judge(&self, cut: Moment, observed: &[Observed]) -> Verdict {
        let last = self.versions.iter().rposition(|version| version.is_acknowledged(cut));
        let allowed = self.versions.iter().skip(last.unwrap_or(0));
        let mut allowed = allowed.filter(|version| version.sent <= cut);
        let absent = last.is_none() && self.matches(None, observed);
        if absent || allowed.any(|version| self.matches(version.seed, observed)) {
            return Verdict::Right;
        }
        let failed = observed.iter().any(|observed| matches!(observed, Observed::Failed(_)));
        let earlier = self.versions[..last.unwrap_or(0)].iter();
        let mut earlier = earlier.map(|version| version.seed).chain([None]);
        let text = self.text(cut, last, observed);
        if failed || earlier.any(|seed| self.matches(seed, observed)) {
            Verdict::Lost(text)
        } else {
            Verdict::Wrong(text)
        }
    }

    fn text(&self, cut: Moment, last: Option<usize>, observed: &[Observed]) -> String {
        let mut text = self.paths[0].clone();
        let (sent, seen) = last.map_or((0, 0), |last| {
            let version = &self.versions[last];
            (version.sent, version.acknowledged.unwrap_or_default())
        });
        let of = self.versions.len();
        let last = last.map_or("none".to_owned(), |last| last.to_string());
        let _ = write!(
            text,
            " at {cut}: version {last} of {of} (sent {sent}, acknowledged {seen}), found"
        );
        for (n, observed) in observed.iter().enumerate() {
            let _ = match observed {
                Observed::Absent => write!(text, " nothing"),
                Observed::Failed(why) => write!(text, " {why}"),
                Observed::Bytes(bytes) => {
                    let of = self.versions.iter().position(|version| {
                        version.seed.is_some_and(|seed| content(seed, n) == *bytes)
                    });
                    match of {
                        Some(of) => write!(text, " version {of}"),
                        None => write!(text, " {} unknown bytes", bytes.len()),
                    }
                }
            };
        }
        text
    }
}

impl Version {
    fn is_acknowledged(&self, cut: Moment) -> bool {
        self.acknowledged.is_some_and(|moment| moment <= cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(seed: Option<u64>, sent: Moment, acknowledged: Option<Moment>) -> Version {
        Version { seed, sent, acknowledged }
    }

    fn bytes(seed: u64, n: usize) -> Observed {
        Observed::Bytes(content(seed, n))
    }

    #[test]
    fn large_versions_are_longer_than_a_needle() {
        let mut seed = 1;
        assert!((0..5).all(|_| content(large_version(&mut seed), 0).len() > 1 << 20));
    }

    /// Written at 10, replaced at 20, deleted at 25 without an acknowledgement.
    fn one() -> WriteGroup {
        let versions = vec![
            version(Some(1), 8, Some(10)),
            version(Some(2), 12, Some(20)),
            version(None, 25, None),
        ];
        WriteGroup { paths: vec!["/1/1".into()], versions }
    }

    #[test]
    fn the_last_acknowledged_write_or_one_in_flight_is_allowed() {
        let right = |cut, observed| one().judge(cut, &[observed]) == Verdict::Right;
        assert!(right(7, Observed::Absent) && !right(7, bytes(1, 0)));
        assert!(right(9, Observed::Absent) && right(9, bytes(1, 0)));
        assert!(right(11, bytes(1, 0)) && !right(11, bytes(2, 0)));
        assert!(right(15, bytes(1, 0)) && right(15, bytes(2, 0)));
        assert!(right(20, bytes(2, 0)) && right(24, bytes(2, 0)));
        assert!(right(25, bytes(2, 0)) && right(25, Observed::Absent));
    }

    #[test]
    fn missing_or_unreadable_objects_are_lost_and_unknown_content_is_wrong() {
        let lost = |cut, observed| matches!(one().judge(cut, &[observed]), Verdict::Lost(_));
        assert!(lost(10, Observed::Absent));
        assert!(lost(20, bytes(1, 0)));
        assert!(lost(24, Observed::Absent));
        assert!(lost(20, Observed::Failed("500".into())));
        let wrong = |cut, observed| matches!(one().judge(cut, &[observed]), Verdict::Wrong(_));
        assert!(wrong(20, bytes(3, 0)));
        assert!(wrong(20, Observed::Bytes(Vec::new())));
        assert!(wrong(11, bytes(2, 0)), "the write was not sent yet");
    }

    #[test]
    fn a_batch_is_complete_or_absent() {
        let versions = vec![version(Some(1), 8, Some(10)), version(Some(2), 12, Some(20))];
        let batch = WriteGroup { paths: vec!["/1/1".into(), "/1/2".into()], versions };
        assert_eq!(batch.judge(15, &[bytes(1, 0), bytes(1, 1)]), Verdict::Right);
        assert_eq!(batch.judge(15, &[bytes(2, 0), bytes(2, 1)]), Verdict::Right);
        let mixed = batch.judge(15, &[bytes(2, 0), bytes(1, 1)]);
        assert!(matches!(mixed, Verdict::Wrong(_)), "{mixed:?}");
        let mixed = batch.judge(9, &[bytes(1, 0), Observed::Absent]);
        assert!(matches!(mixed, Verdict::Wrong(_)), "{mixed:?}");
    }
}
