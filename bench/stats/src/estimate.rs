//! Medians with confidence intervals.
//!
//! Ratios are taken between blocks of the same round (a pair), so that drift of disk, neighbours or
//! temperature affects both; every second round is reversed, which cancels the effect of the order. The
//! interval of the median is Efron's percentile bootstrap (Efron and Tibshirani 1993, chapter 13) with a
//! fixed seed: the same blocks give the same interval.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Number of bootstrap samples: the interval is stable to the printed precision.
const DRAWS: usize = 10_000;
const SEED: u64 = 0x4861_796c_6f66_7421;
/// Share of the samples outside the interval on each side, for 95 % inside.
const TAIL: f64 = 0.025;

/// A median with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Number of values.
    pub count: usize,
}

/// Median; `None` without values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[half - 1], upper) })
}

/// Median with its interval; `None` without values.
#[must_use]
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let median = median(values)?;
    let mut random = Rng::with_seed(SEED);
    let mut draw = || values[random.usize(..values.len())];
    let mut drawn: Vec<f64> = Vec::with_capacity(DRAWS);
    let mut sample = vec![0.0; values.len()];
    for _ in 0..DRAWS {
        sample.fill_with(&mut draw);
        sample.sort_by(f64::total_cmp);
        drawn.extend(median_of_sorted(&sample));
    }
    drawn.sort_by(f64::total_cmp);
    let skipped = (TAIL * DRAWS as f64) as usize;
    let (low, high) = (drawn[skipped], drawn[DRAWS - 1 - skipped]);
    Some(Estimate { median, low, high, count: values.len() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn medians_of_few_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(estimate(&[]), None);
    }

    #[test]
    fn a_single_value_has_an_interval_of_zero_width() {
        let one = estimate(&[1.5]).unwrap();
        assert_eq!((one.low, one.median, one.high, one.count), (1.5, 1.5, 1.5, 1));
    }

    #[test]
    fn intervals_narrow_with_more_pairs_and_are_reproducible() {
        let values = |count: u64| -> Vec<f64> {
            let mut random = fastrand::Rng::with_seed(5);
            (0..count).map(|_| 1.0 + random.u64(0..1000) as f64 / 1e4).collect()
        };
        let width = |count| {
            let estimate = estimate(&values(count)).unwrap();
            estimate.high - estimate.low
        };
        assert!(width(200) < width(9), "{} {}", width(200), width(9));
        assert_eq!(estimate(&values(9)), estimate(&values(9)));
    }

    /// Of many experiments with a known median, about 95 % of the intervals contain it. The percentile
    /// bootstrap of nine values is known to cover slightly less.
    #[test]
    fn intervals_have_about_their_nominal_coverage() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut uniform = || random.f64();
        let covered = (0..200).filter(|_| {
            let values: Vec<f64> = (0..9).map(|_| uniform()).collect();
            let estimate = estimate(&values).unwrap();
            estimate.low <= 0.5 && estimate.high >= 0.5
        });
        let covered = covered.count();
        assert!((176..=200).contains(&covered), "{covered} of 200");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn estimates_stay_within_the_values(values in prop::collection::vec(0.01f64..100.0, 1..40)) {
            let estimate = estimate(&values).unwrap();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            prop_assert!(least <= estimate.low && estimate.low <= estimate.median);
            prop_assert!(estimate.median <= estimate.high && estimate.high <= most);
            let below = values.iter().filter(|value| **value < estimate.median).count();
            prop_assert!(below <= values.len() / 2);
        }

        #[test]
        fn scaling_all_values_scales_the_estimate(
            values in prop::collection::vec(0.01f64..100.0, 1..20),
        ) {
            let doubled: Vec<f64> = values.iter().map(|value| value * 2.0).collect();
            let (one, two) = (estimate(&values).unwrap(), estimate(&doubled).unwrap());
            prop_assert_eq!(two.median, one.median * 2.0);
            prop_assert_eq!((two.low, two.high), (one.low * 2.0, one.high * 2.0));
        }
    }
}
