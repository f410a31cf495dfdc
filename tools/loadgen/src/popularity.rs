//! Popularity distributions over the objects.

use std::collections::VecDeque;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::permutation::Permutation;
use crate::random::Random;
use crate::zipf::Zipf;

/// Maximum exponent: beyond it nearly every request would be for one object.
const EXPONENT_MAX: f64 = 20.0;

/// Popularity distribution as given on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PopularityArg {
    /// All objects are equally popular.
    Uniform,
    /// Zipf's distribution with this exponent; the seed determines which objects are popular.
    Zipf(f64),
    /// Zipf's distribution by age: the newest object has rank 1.
    Age(f64),
}

impl FromStr for PopularityArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "uniform" {
            return Ok(Self::Uniform);
        }
        let (name, exponent) = text
            .split_once(':')
            .ok_or_else(|| format!("{text:?}: write uniform, zipf:EXPONENT or age:EXPONENT"))?;
        let exponent: f64 = exponent
            .parse()
            .map_err(|_| format!("{exponent:?} is not a number; write for instance zipf:0.99"))?;
        if !(0.0..=EXPONENT_MAX).contains(&exponent) {
            return Err(format!(
                "an exponent of {exponent} is out of range; write 0 to {EXPONENT_MAX}"
            ));
        }
        match name {
            "zipf" => Ok(Self::Zipf(exponent)),
            "age" => Ok(Self::Age(exponent)),
            _ => Err(format!(
                "{name:?} is not a popularity; write uniform, zipf:EXPONENT or age:EXPONENT"
            )),
        }
    }
}

impl std::fmt::Display for PopularityArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Self::Age(exponent) => write!(f, "age:{exponent}"),
        }
    }
}

impl Serialize for PopularityArg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Popularity distribution over a given number of objects.
#[derive(Clone, Debug)]
pub struct Popularity {
    count: u64,
    distribution: Distribution,
}

#[derive(Clone, Debug)]
enum Distribution {
    Uniform,
    Zipf(Zipf, Permutation),
    Age(Zipf),
}

impl Popularity {
    /// Creates the distribution over objects `0..count`; `count` is at least 1.
    #[must_use]
    pub fn new(arg: PopularityArg, count: u64, seed: u64) -> Self {
        let distribution = match arg {
            PopularityArg::Uniform => Distribution::Uniform,
            PopularityArg::Zipf(exponent) => {
                Distribution::Zipf(Zipf::new(count, exponent), Permutation::new(count, seed))
            }
            PopularityArg::Age(exponent) => Distribution::Age(Zipf::new(count, exponent)),
        };
        Self { count, distribution }
    }

    /// Draws an object. `written` are the objects added since the fill, oldest first.
    pub fn pick(&self, random: &mut Random, written: &VecDeque<u64>) -> u64 {
        match &self.distribution {
            Distribution::Uniform => random.below(self.count),
            Distribution::Zipf(zipf, permutation) => permutation.apply(zipf.draw(random) - 1),
            Distribution::Age(zipf) => {
                let age = zipf.draw(random) - 1;
                let newer = written.len() as u64;
                match usize::try_from(age) {
                    Ok(age) if age < written.len() => written[written.len() - 1 - age],
                    _ => self.count - 1 - (age - newer),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(arg: PopularityArg, written: &[u64]) -> Vec<u32> {
        let popularity = Popularity::new(arg, 100, 3);
        let written = VecDeque::from(written.to_vec());
        let (mut random, mut counts) = (Random::new(1, 1), vec![0; 103]);
        for _ in 0..100_000 {
            counts[usize::try_from(popularity.pick(&mut random, &written)).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn uniform_is_even() {
        let counts = histogram(PopularityArg::Uniform, &[]);
        assert!(counts[..100].iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn popular_objects_of_zipf_are_scattered() {
        let counts = histogram(PopularityArg::Zipf(1.0), &[]);
        // 1 / H(100) = 0.1928 of the requests are for the most popular object.
        let most = counts.iter().max().unwrap();
        assert!((18_500..20_100).contains(most), "{most}");
        assert_ne!(counts[0], *most, "the permutation of this seed moves rank 1");
    }

    #[test]
    fn age_prefers_the_newest_objects() {
        let counts = histogram(PopularityArg::Age(1.0), &[100, 101]);
        assert!(counts[101] > counts[100] && counts[100] > counts[99] && counts[99] > counts[90]);
        assert_eq!(counts[102], 0);
        assert!(
            counts[0] == 0 && counts[1] == 0,
            "two new objects shift the two oldest out of the ranks"
        );
        assert!(counts[2] > 0);
    }

    #[test]
    fn arguments_round_trip_and_invalid_ones_are_rejected() {
        for text in ["uniform", "zipf:0", "zipf:0.99", "age:1.5"] {
            assert_eq!(text.parse::<PopularityArg>().unwrap().to_string(), text);
        }
        for text in ["zipf", "zipf:x", "zipf:-1", "zipf:21", "gauss:1", "zipf:NaN"] {
            let error = text.parse::<PopularityArg>().unwrap_err();
            assert!(error.contains("write"), "{text}: {error}");
        }
    }
}
