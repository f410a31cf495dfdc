//! Zipf's distribution for any exponent s >= 0: rank k of n has the probability k^-s / sum.
//!
//! Rejection-inversion (Hoermann and Derflinger, "Rejection-inversion to generate variates from monotone
//! discrete distributions", ACM TOMACS 6(3), 1996): constant time and space for any n, and about one random
//! number per rank.

use crate::random::Random;

/// Below this the helper functions use their series expansion.
const NEAR_ZERO: f64 = 1e-8;

/// Zipf's distribution over `1..=count`.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: u64,
    exponent: f64,
    /// Integral of the hat function at 1.5, minus the probability mass of rank 1.
    integral_first: f64,
    /// Integral of the hat function at n + 0.5.
    integral_last: f64,
    /// Distance to the right of the inverse within which a rank is accepted without evaluation.
    shortcut: f64,
}

impl Zipf {
    /// Creates the distribution over `1..=count`; `count` is at least 1, `exponent` at least 0 and finite.
    ///
    /// # Panics
    /// When an argument is out of range.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rounding of ranks above 2^53 is negligible")]
    pub fn new(count: u64, exponent: f64) -> Self {
        assert!(count >= 1 && exponent >= 0.0 && exponent.is_finite());
        let mut zipf =
            Self { count, exponent, integral_first: 0.0, integral_last: 0.0, shortcut: 0.0 };
        zipf.integral_first = zipf.integral(1.5) - 1.0;
        zipf.integral_last = zipf.integral(count as f64 + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.hat(2.0));
        zipf
    }

    /// Draws a rank.
    #[expect(clippy::cast_precision_loss, reason = "as above")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the ranks"
    )]
    pub fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let span = self.integral_first - self.integral_last;
            let area = self.integral_last + random.fraction() * span;
            let x = self.inverse(area);
            let rank = ((x + 0.5) as u64).clamp(1, self.count);
            let at = rank as f64;
            if at - x <= self.shortcut || area >= self.integral(at + 0.5) - self.hat(at) {
                return rank;
            }
        }
    }

    /// x^-s.
    fn hat(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// (x^(1-s) - 1) / (1 - s), which is ln x where s is 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        exp_quotient((1.0 - self.exponent) * log) * log
    }

    fn inverse(&self, area: f64) -> f64 {
        // Rounding must not produce an argument below the domain of the logarithm.
        let scaled = (area * (1.0 - self.exponent)).max(-1.0);
        (log_quotient(scaled) * area).exp()
    }
}

/// (e^x - 1) / x.
fn exp_quotient(x: f64) -> f64 {
    if x.abs() > NEAR_ZERO { x.exp_m1() / x } else { 1.0 + x / 2.0 * (1.0 + x / 3.0) }
}

/// ln(1 + x) / x.
fn log_quotient(x: f64) -> f64 {
    if x.abs() > NEAR_ZERO { x.ln_1p() / x } else { 1.0 - x * (0.5 - x / 3.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pearson's chi-square statistic of `draws` draws, with ranks of little mass combined, and its degrees
    /// of freedom.
    fn chi_square(count: u64, exponent: f64, draws: u32) -> (f64, f64) {
        let zipf = Zipf::new(count, exponent);
        let mut random = Random::new(42, count);
        let mut seen = vec![0_u32; usize::try_from(count).unwrap()];
        for _ in 0..draws {
            seen[usize::try_from(zipf.draw(&mut random) - 1).unwrap()] += 1;
        }
        let weights: Vec<f64> =
            (1..=u32::try_from(count).unwrap()).map(|k| f64::from(k).powf(-exponent)).collect();
        let sum: f64 = weights.iter().sum();
        let (mut statistic, mut cells) = (0.0, 0.0);
        let (mut expected, mut observed) = (0.0, 0.0);
        for (rank, (weight, seen)) in weights.iter().zip(&seen).enumerate() {
            expected += weight / sum * f64::from(draws);
            observed += f64::from(*seen);
            if expected >= 20.0 || rank + 1 == weights.len() {
                statistic += (observed - expected).powi(2) / f64::max(expected, 1.0);
                cells += 1.0;
                (expected, observed) = (0.0, 0.0);
            }
        }
        (statistic, cells - 1.0)
    }

    #[test]
    fn ranks_have_the_expected_frequencies() {
        for exponent in [0.0, 0.3, 0.5, 0.99, 1.0, 1.01, 1.5, 2.0, 4.0] {
            for count in [2, 100] {
                let (statistic, freedom) = chi_square(count, exponent, 50_000);
                // Six standard deviations of the chi-square distribution; the seed is fixed.
                let limit = freedom + 6.0 * (2.0 * freedom).sqrt() + 6.0;
                assert!(statistic < limit, "s {exponent}, n {count}: {statistic} of {freedom}");
            }
        }
    }

    proptest! {
        #[test]
        fn ranks_are_in_range(count in 1..u64::MAX, exponent in 0.0..20.0, seed: u64) {
            let (zipf, mut random) = (Zipf::new(count, exponent), Random::new(seed, 0));
            for _ in 0..20 {
                prop_assert!((1..=count).contains(&zipf.draw(&mut random)));
            }
        }
    }
}
