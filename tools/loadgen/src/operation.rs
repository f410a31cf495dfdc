//! Operations: what is asked of a target, in which proportion, and where a load takes them from.

use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::object::Object;
use crate::verdict::Verdict;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Read a whole object.
    Get,
    /// Write a whole object.
    Put,
    /// Delete an object.
    Delete,
    /// Read a part of an object.
    Range,
    /// Write several objects at once.
    Batch,
}

impl Kind {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Get, Self::Put, Self::Delete, Self::Range, Self::Batch];

    /// As it stands in the output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Range => "range",
            Self::Batch => "batch",
        }
    }
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is done.
    pub kind: Kind,
    /// To which object; the first one of a batch.
    pub object: Object,
    /// The version to write; when reading, the oldest that will do.
    pub version: u64,
    /// First byte and length of a range.
    pub range: (u64, u64),
    /// The object was never stored: not to find it is right.
    pub is_missing: bool,
    /// Of a batch: position in the list of volumes, first object there, number of objects.
    pub batch: (u64, u64, u64),
}

impl Request {
    /// Does `kind` to `object`.
    #[must_use]
    pub fn new(kind: Kind, object: Object) -> Self {
        Self { kind, object, version: 0, range: (0, 0), is_missing: false, batch: (0, 0, 0) }
    }
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Done.
    Done,
    /// Not done, for sure.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Fate {
    /// Of a request that was answered so.
    #[must_use]
    pub fn of(kind: Kind, verdict: Verdict, status: u16) -> Self {
        match (verdict, kind, status) {
            (Verdict::Done, ..) => Self::Done,
            (Verdict::Rejected, ..) => Self::Refused,
            // The request was at fault, or there is no room: nothing was stored.
            (Verdict::Unexpected, Kind::Put, 400..500 | 507) => Self::Refused,
            (Verdict::Wrong | Verdict::Missing | Verdict::Unexpected, ..) => Self::Unknown,
        }
    }
}

/// Where a thread's operations come from.
pub trait Source {
    /// The next one, for a connection to `endpoint` or for any; nothing when there are no more.
    fn next(&mut self, endpoint: Option<usize>) -> Option<Request>;

    /// An operation has ended.
    fn settle(&mut self, _request: &Request, _fate: Fate) {}

    /// Whether what was refused is asked again, since all must be done once. It is asked one at a time then.
    fn insists(&self) -> bool {
        false
    }

    /// When the operation that [`Self::next`] gives next is due (nanoseconds since the start of the load), if
    /// the source has times of its own.
    fn due(&self) -> Option<u64> {
        None
    }
}

/// Proportions of the operations of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    weights: [f64; 4],
}

/// Those that can be mixed.
const MIXED: [Kind; 4] = [Kind::Get, Kind::Put, Kind::Delete, Kind::Range];

impl Mix {
    /// The kind at `fraction` (0 <= x < 1) of the whole.
    #[must_use]
    pub fn at(&self, fraction: f64) -> Kind {
        let mut left = fraction * self.weights.iter().sum::<f64>();
        for (kind, weight) in MIXED.iter().zip(self.weights) {
            left -= weight;
            if left < 0.0 {
                return *kind;
            }
        }
        // Rounding may leave a rest.
        *MIXED
            .iter()
            .zip(self.weights)
            .rfind(|(_, weight)| *weight > 0.0)
            .expect("one has a weight")
            .0
    }

    /// Whether there is any of it.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        MIXED.iter().zip(self.weights).any(|(mixed, weight)| *mixed == kind && weight > 0.0)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [0.0; 4];
        for part in text.split(',') {
            let advice = || {
                format!(
                    "{part:?}: write get=, put=, delete= or range= and a weight, as get=95,put=5"
                )
            };
            let (name, weight) = part.split_once('=').ok_or_else(advice)?;
            let at = MIXED.iter().position(|kind| kind.name() == name.trim()).ok_or_else(advice)?;
            let weight: f64 = weight.trim().parse().map_err(|_| advice())?;
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(advice());
            }
            weights[at] = weight;
        }
        if weights.iter().sum::<f64>() <= 0.0 {
            return Err("the mix has no operation; give at least one a weight above 0".to_owned());
        }
        Ok(Self { weights })
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = MIXED.iter().zip(self.weights).filter(|(_, weight)| *weight > 0.0);
        let parts: Vec<String> =
            parts.map(|(kind, weight)| format!("{}={weight}", kind.name())).collect();
        f.write_str(&parts.join(","))
    }
}

impl Serialize for Mix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_mix_comes_in_its_proportions() {
        let mix: Mix = "get=90,put=7,delete=3".parse().unwrap();
        let mut random = Random::new(1, 1);
        let mut counts = [0; 5];
        for _ in 0..100_000 {
            counts[mix.at(random.fraction()) as usize] += 1;
        }
        assert!((89_500..90_500).contains(&counts[0]), "{counts:?}");
        assert!(
            (6_700..7_300).contains(&counts[1]) && (2_800..3_200).contains(&counts[2]),
            "{counts:?}"
        );
        assert_eq!(counts[3], 0);
        assert_eq!(mix.at(1.0), Kind::Delete);
        assert!(mix.has(Kind::Put) && !mix.has(Kind::Range));
        assert_eq!(mix.to_string(), "get=90,put=7,delete=3");
    }

    #[test]
    fn a_write_that_was_refused_was_not_done_and_an_error_tells_nothing() {
        for (kind, verdict, status, fate) in [
            (Kind::Put, Verdict::Done, 201, Fate::Done),
            (Kind::Put, Verdict::Rejected, 503, Fate::Refused),
            (Kind::Put, Verdict::Unexpected, 413, Fate::Refused),
            (Kind::Put, Verdict::Unexpected, 507, Fate::Refused),
            (Kind::Put, Verdict::Unexpected, 500, Fate::Unknown),
            (Kind::Get, Verdict::Missing, 404, Fate::Unknown),
            // It is gone, or never was there: it must not be deleted again.
            (Kind::Delete, Verdict::Unexpected, 404, Fate::Unknown),
            (Kind::Delete, Verdict::Rejected, 503, Fate::Refused),
        ] {
            assert_eq!(Fate::of(kind, verdict, status), fate, "{kind:?} {status}");
        }
    }

    #[test]
    fn what_is_no_mix_is_refused_with_advice() {
        for text in ["", "get", "get=x", "get=-1", "post=1", "get=0", "get=inf"] {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains("get=95") || error.contains("above 0"), "{text}: {error}");
        }
    }
}
