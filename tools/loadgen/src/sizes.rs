//! Sizes of objects: a function of the seed and the object's number, so that they need not be stored.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use hayloft::base::size::ByteSize;
use serde::{Serialize, Serializer};

use crate::random::{mix, unit};

/// Domain separator for the draws of sizes.
const PURPOSE: u64 = 0x5153;
/// Default maximum of a lognormal distribution (bytes): the largest body that Hayloft accepts by default.
const LOGNORMAL_MAX: u64 = 64 << 20;

/// Distribution of sizes (bytes).
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    /// One size for all objects.
    Fixed(u64),
    /// Weighted sizes: pairs of cumulative weight and size.
    Weighted(Arc<[(f64, u64)]>),
    /// Lognormal distribution, truncated to `min..=max`.
    LogNormal {
        /// Median.
        median: u64,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// Minimum.
        min: u64,
        /// Maximum.
        max: u64,
    },
    /// Explicit size of each object.
    Listed(Arc<[u64]>),
}

impl Sizes {
    /// Size of object `index`.
    ///
    /// # Panics
    /// When sizes are listed and `index` is out of range.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, then clamped"
    )]
    pub fn of(&self, seed: u64, index: u64) -> u64 {
        let draw = || mix(index ^ mix(seed ^ PURPOSE));
        match self {
            Self::Fixed(size) => *size,
            Self::Listed(sizes) => sizes[usize::try_from(index).expect("usize has 64 bits")],
            Self::Weighted(sums) => {
                let total = sums.last().expect("weighted() rejects an empty list").0;
                let at = unit(draw()) * total;
                sums[sums.partition_point(|(sum, _)| *sum <= at).min(sums.len() - 1)].1
            }
            Self::LogNormal { median, sigma, min, max } => {
                // Box and Muller, "A note on the generation of random normal deviates", 1958.
                let (first, second) = (draw(), mix(draw()));
                let radius = (-2.0 * (1.0 - unit(first)).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * unit(second)).cos();
                let size = (*median as f64) * (sigma * normal).exp();
                (size.round() as u64).clamp(*min, *max)
            }
        }
    }

    /// Minimum of the distribution.
    #[must_use]
    pub fn min(&self) -> u64 {
        match self {
            Self::Fixed(size) => *size,
            Self::Weighted(sums) => sums.iter().map(|(_, size)| *size).min().unwrap_or(0),
            Self::LogNormal { min, .. } => *min,
            Self::Listed(sizes) => sizes.iter().copied().min().unwrap_or(0),
        }
    }

    fn weighted(pairs: impl Iterator<Item = Result<(u64, f64), String>>) -> Result<Self, String> {
        let (mut sum, mut sums) = (0.0, Vec::new());
        for pair in pairs {
            let (size, weight) = pair?;
            if !(weight > 0.0 && weight.is_finite()) {
                return Err(format!("weight {weight} is not above 0; leave the size out"));
            }
            sum += weight;
            sums.push((sum, size));
        }
        if sums.is_empty() {
            return Err("there are no sizes; write at least one with its weight".to_owned());
        }
        Ok(Self::Weighted(sums.into()))
    }

    fn mix(text: &str) -> Result<Self, String> {
        Self::weighted(text.split(',').map(|pair| {
            let (size, weight) = pair.split_once('=').ok_or_else(|| {
                format!("{pair:?} has no weight; write SIZE=WEIGHT, for instance 8KiB=70")
            })?;
            Ok((parse_size(size)?, parse_number(weight)?))
        }))
    }

    fn log_normal(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').collect();
        let (median, sigma, bounds) = match parts[..] {
            [median, sigma] => (median, sigma, None),
            [median, sigma, min, max] => (median, sigma, Some((min, max))),
            _ => {
                return Err(format!(
                    "{text:?} is not valid; write lognormal:MEDIAN,SIGMA or lognormal:MEDIAN,SIGMA,MIN,MAX"
                ));
            }
        };
        let sigma = parse_number(sigma)?;
        let (min, max) = match bounds {
            None => (1, LOGNORMAL_MAX),
            Some((min, max)) => (parse_size(min)?, parse_size(max)?),
        };
        if !(0.0..=10.0).contains(&sigma) {
            return Err(format!("sigma {sigma} is out of range; write 0 to 10, for instance 1.2"));
        }
        if min > max {
            return Err(format!(
                "the minimum of {min} bytes is above the maximum of {max}; swap MIN and MAX"
            ));
        }
        Ok(Self::LogNormal { median: parse_size(median)?, sigma, min, max })
    }

    /// Reads a file with a size and its weight per line; empty lines and lines that begin with `#` are
    /// ignored.
    fn file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!("cannot read {}: {error}; name a file of sizes", path.display())
        })?;
        let lines = (1..).zip(text.lines().map(str::trim));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        Self::weighted(lines.map(|(number, line)| {
            let with_location = |error| format!("{}, line {number}: {error}", path.display());
            let (size, weight) = line.split_once(char::is_whitespace).ok_or_else(|| {
                with_location("write a size and its weight, for instance `8KiB 70`".to_owned())
            })?;
            Ok((
                parse_size(size).map_err(with_location)?,
                parse_number(weight.trim()).map_err(with_location)?,
            ))
        }))
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    text.parse()
        .map(ByteSize::bytes)
        .map_err(|error: hayloft::base::size::ParseSizeError| error.to_string())
}

fn parse_number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number; write for instance 70 or 0.5"))
}

/// Size distribution as given on the command line.
#[derive(Clone, Debug)]
pub struct SizesArg {
    text: String,
    /// Parsed distribution.
    pub sizes: Sizes,
}

impl FromStr for SizesArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes = match text.split_once(':') {
            None => Sizes::Fixed(parse_size(text)?),
            Some(("mix", rest)) => Sizes::mix(rest)?,
            Some(("lognormal", rest)) => Sizes::log_normal(rest)?,
            Some(("file", rest)) => Sizes::file(Path::new(rest))?,
            Some((other, _)) => {
                return Err(format!(
                    "{other:?} is not a distribution; write SIZE, mix:, lognormal: or file:"
                ));
            }
        };
        Ok(Self { text: text.to_owned(), sizes })
    }
}

impl Serialize for SizesArg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sizes, String> {
        text.parse::<SizesArg>().map(|arg| arg.sizes)
    }

    #[test]
    fn a_mix_draws_sizes_in_proportion_to_their_weights() {
        let sizes = parse("mix:8KiB=70,64KiB=30").unwrap();
        let small = (0..10_000).filter(|&n| sizes.of(1, n) == 8192).count();
        assert!((6_800..7_200).contains(&small), "{small}");
        assert!((0..1000).all(|n| [8192, 65_536].contains(&sizes.of(1, n))));
        assert_eq!(sizes.min(), 8192);
        assert_eq!(sizes.of(1, 5), sizes.of(1, 5));
    }

    #[test]
    fn a_lognormal_has_its_median_and_spread() {
        let sizes = parse("lognormal:32KiB,1.0,1KiB,1MiB").unwrap();
        let mut drawn: Vec<u64> = (0..10_001).map(|n| sizes.of(9, n)).collect();
        drawn.sort_unstable();
        let near = |size: u64, wanted: f64| {
            let size = f64::from(u32::try_from(size).unwrap());
            assert!((size / wanted - 1.0).abs() < 0.1, "{size}, not {wanted}");
        };
        near(drawn[5_000], 32_768.0);
        // One standard deviation above: the 84.13th percentile.
        near(drawn[8_413], 32_768.0 * std::f64::consts::E);
        assert!(drawn[0] >= 1024 && drawn[10_000] <= 1 << 20);
    }

    #[test]
    fn a_file_lists_sizes_and_weights() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sizes");
        std::fs::write(&path, "# photos\n4KiB 1\n\n16KiB\t3\n").unwrap();
        let sizes = parse(&format!("file:{}", path.display())).unwrap();
        let large = (0..10_000).filter(|&n| sizes.of(3, n) == 16_384).count();
        assert!((7_200..7_800).contains(&large), "{large}");
        std::fs::write(&path, "4KiB\n").unwrap();
        let error = parse(&format!("file:{}", path.display())).unwrap_err();
        assert!(error.contains("line 1") && error.contains("8KiB 70"), "{error}");
    }

    #[test]
    fn invalid_distributions_are_rejected_with_advice() {
        for (text, advice) in [
            ("8K", "8KiB"),
            ("mix:", "no weight"),
            ("mix:8KiB=0", "above 0"),
            ("mix:8KiB=x", "is not a number"),
            ("lognormal:8KiB", "MEDIAN,SIGMA"),
            ("lognormal:8KiB,-1", "0 to 10"),
            ("lognormal:8KiB,1,2KiB,1KiB", "swap"),
            ("gauss:1", "is not a distribution"),
            ("file:/no/such/file", "name a file"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
