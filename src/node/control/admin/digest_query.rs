//! The query of `/volumes/{id}/digest`.

use std::str::FromStr;

use super::error::ApiError;
use crate::base::buckets::Buckets;

/// How a volume is digested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DigestQuery {
    /// Number of buckets.
    pub(super) buckets: Buckets,
}

impl FromStr for DigestQuery {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let mut query = Self { buckets: Buckets::DEFAULT };
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let buckets = part.strip_prefix("buckets=").and_then(parse_buckets);
            query.buckets = buckets.ok_or_else(|| {
                let most = Buckets::MAX;
                ApiError::BadRequest(format!(
                    "The query is buckets=N, a power of two from 1 to {most}, and not {part}."
                ))
            })?;
        }
        Ok(query)
    }
}

/// Parses a number of buckets.
pub(super) fn parse_buckets(text: &str) -> Option<Buckets> {
    let number = text.parse().ok().filter(|_| !text.starts_with('+'));
    number.and_then(Buckets::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_parsed_and_others_refused() {
        let parse = |text: &str| text.parse::<DigestQuery>().map(|query| query.buckets.count());
        assert_eq!(parse("").unwrap(), 4096);
        assert_eq!(parse("buckets=1").unwrap(), 1);
        assert_eq!(parse("buckets=65536").unwrap(), 65_536);
        for bad in ["buckets", "buckets=", "buckets=0", "buckets=+8", "buckets=131072", "since=1"] {
            assert_eq!(parse(bad).unwrap_err().status().as_u16(), 400, "{bad}");
        }
    }
}
