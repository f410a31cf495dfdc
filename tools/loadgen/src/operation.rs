//! Operations on a target, their proportions in a mix, and the interface of operation sources.

use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::object::Object;
use crate::verdict::Verdict;

/// Kind of an operation.
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
    /// Write several objects with one request (batch put).
    Batch,
}

impl Kind {
    /// All kinds, in declaration order.
    pub const ALL: [Self; 5] = [Self::Get, Self::Put, Self::Delete, Self::Range, Self::Batch];

    /// Name in options and output.
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

/// One operation with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub kind: Kind,
    /// Object it applies to; the first one of a batch.
    pub object: Object,
    /// Version to write; when reading, the oldest acceptable version.
    pub version: u64,
    /// Offset and length of a range read (bytes).
    pub range: (u64, u64),
    /// Whether the object was never stored, so that "not found" is the expected answer.
    pub is_missing: bool,
    /// Of a batch: position in the list of volumes, first object in that volume, number of objects.
    pub batch: (u64, u64, u64),
}

impl Request {
    /// Creates an operation of version 0 without further parameters.
    #[must_use]
    pub fn new(kind: Kind, object: Object) -> Self {
        Self { kind, object, version: 0, range: (0, 0), is_missing: false, batch: (0, 0, 0) }
    }
}

/// Effect of an operation on the stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Applied.
    Applied,
    /// Certainly not applied.
    NotApplied,
    /// May have been applied.
    Unknown,
}

impl Effect {
    /// Effect of a request, by the verdict and status of its answer.
    #[must_use]
    pub fn of(kind: Kind, verdict: Verdict, status: u16) -> Self {
        match (verdict, kind, status) {
            (Verdict::Done, ..) => Self::Applied,
            (Verdict::Rejected, ..) => Self::NotApplied,
            // A client error, or no space: nothing was stored.
            (Verdict::Unexpected, Kind::Put, 400..500 | 507) => Self::NotApplied,
            (Verdict::Wrong | Verdict::Missing | Verdict::Unexpected, ..) => Self::Unknown,
        }
    }
}

/// Source of a thread's operations.
pub trait Source {
    /// Next operation, for a connection to `endpoint` or to any; `None` when there are no more.
    fn next(&mut self, endpoint: Option<usize>) -> Option<Request>;

    /// Reports the effect of a finished operation.
    fn settle(&mut self, _request: &Request, _fate: Effect) {}

    /// Whether refused operations are retried, since each must succeed once. Then one is in flight per
    /// connection.
    fn retries_refused(&self) -> bool {
        false
    }

    /// Time at which the operation that [`Self::next`] returns next is due (nanoseconds since the start of
    /// the load), if the source has its own schedule.
    fn due(&self) -> Option<u64> {
        None
    }
}

/// Relative weights of the operations of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    weights: [f64; 4],
}

/// Kinds that a mix can contain.
const MIXED: [Kind; 4] = [Kind::Get, Kind::Put, Kind::Delete, Kind::Range];

impl Mix {
    /// Kind at `fraction` (0 <= x < 1) of the total weight.
    #[must_use]
    pub fn at(&self, fraction: f64) -> Kind {
        let mut left = fraction * self.weights.iter().sum::<f64>();
        for (kind, weight) in MIXED.iter().zip(self.weights) {
            left -= weight;
            if left < 0.0 {
                return *kind;
            }
        }
        // Rounding errors can leave a remainder.
        *MIXED
            .iter()
            .zip(self.weights)
            .rfind(|(_, weight)| *weight > 0.0)
            .expect("a mix has at least one positive weight")
            .0
    }

    /// Whether the mix contains `kind`.
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
                    "{part:?} is not valid; give get, put, delete or range a weight, as get=95,put=5"
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
    fn a_mix_draws_kinds_in_proportion_to_their_weights() {
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
    fn refused_writes_are_not_applied_and_after_errors_the_effect_is_unknown() {
        for (kind, verdict, status, effect) in [
            (Kind::Put, Verdict::Done, 201, Effect::Applied),
            (Kind::Put, Verdict::Rejected, 503, Effect::NotApplied),
            (Kind::Put, Verdict::Unexpected, 413, Effect::NotApplied),
            (Kind::Put, Verdict::Unexpected, 507, Effect::NotApplied),
            (Kind::Put, Verdict::Unexpected, 500, Effect::Unknown),
            (Kind::Get, Verdict::Missing, 404, Effect::Unknown),
            // The object may have been deleted already, or never existed: it must not be deleted again.
            (Kind::Delete, Verdict::Unexpected, 404, Effect::Unknown),
            (Kind::Delete, Verdict::Rejected, 503, Effect::NotApplied),
        ] {
            assert_eq!(Effect::of(kind, verdict, status), effect, "{kind:?} {status}");
        }
    }

    #[test]
    fn invalid_mixes_are_rejected_with_advice() {
        for text in ["", "get", "get=x", "get=-1", "post=1", "get=0", "get=inf"] {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains("get=95") || error.contains("above 0"), "{text}: {error}");
        }
    }
}
