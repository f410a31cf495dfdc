//! The query of `/volumes/{id}/objects`.

use std::str::FromStr;

use super::bucket_filter::{BUCKETS_NAMED_MAX, BucketFilter};
use super::digest_query::parse_buckets;
use super::error::ApiError;

/// What is to be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObjectsQuery {
    /// Position after which the list begins; 0 for the start.
    pub(super) since: u64,
    /// Number of objects at most.
    pub(super) limit: Option<u64>,
    /// Whether deletions are listed, too.
    pub(super) deleted: bool,
    /// Whether each object is listed with its digest.
    pub(super) digest: bool,
    /// Buckets of which objects are listed; `None` for all.
    pub(super) buckets: Option<BucketFilter>,
}

impl FromStr for ObjectsQuery {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let mut query = Self::default();
        let (mut buckets, mut named) = (None, Vec::new());
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let number = || value.parse::<u64>().ok().filter(|_| !value.starts_with('+'));
            match (name, value) {
                ("since", _) => query.since = number().ok_or_else(|| refuse(part))?,
                ("limit", _) => {
                    let limit = number().filter(|limit| *limit > 0);
                    query.limit = Some(limit.ok_or_else(|| refuse(part))?);
                }
                ("deleted", "" | "1" | "true") => query.deleted = true,
                ("deleted", "0" | "false") => query.deleted = false,
                ("digest", "" | "1" | "true") => query.digest = true,
                ("digest", "0" | "false") => query.digest = false,
                ("buckets", _) => {
                    buckets = Some(parse_buckets(value).ok_or_else(|| refuse(part))?);
                }
                ("bucket", _) => {
                    let bucket = number().and_then(|number| u32::try_from(number).ok());
                    named.push(bucket.ok_or_else(|| refuse(part))?);
                }
                _ => return Err(refuse(part)),
            }
        }
        query.buckets = match buckets {
            None if named.is_empty() => None,
            None => return Err(bad_buckets()),
            Some(buckets) => Some(BucketFilter::new(buckets, named).ok_or_else(bad_buckets)?),
        };
        Ok(query)
    }
}

fn refuse(part: &str) -> ApiError {
    ApiError::BadRequest(format!(
        "The query is since=POSITION, limit=N (at least 1), deleted, digest, and buckets=N with bucket=I, \
         and not {part}."
    ))
}

fn bad_buckets() -> ApiError {
    ApiError::BadRequest(format!(
        "Of buckets=N at least one and at most {BUCKETS_NAMED_MAX} are named as bucket=I, from 0 to N - 1."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::buckets::Buckets;

    #[test]
    fn queries_are_parsed_and_others_refused() {
        let parse = |text: &str| text.parse::<ObjectsQuery>();
        assert_eq!(parse("").unwrap(), ObjectsQuery::default());
        let text = "deleted&bucket=3&limit=7&since=1152921504606846976&buckets=8&bucket=7&digest";
        let all = ObjectsQuery {
            since: 1 << 60,
            limit: Some(7),
            deleted: true,
            digest: true,
            buckets: BucketFilter::new(Buckets::new(8).unwrap(), vec![3, 7]),
        };
        assert_eq!(parse(text).unwrap(), all);
        for (text, deleted) in [("deleted=1", true), ("deleted=true", true), ("deleted=0", false)] {
            assert_eq!(parse(text).unwrap().deleted, deleted);
        }
        for bad in [
            "since=",
            "since=x",
            "since=-1",
            "since=+1",
            "since=18446744073709551616",
            "limit=0",
            "limit",
            "deleted=2",
            "delete",
            "cookie=1",
            "digest=2",
            "buckets=8",
            "bucket=1",
            "buckets=7&bucket=1",
            "buckets=8&bucket=8",
            "buckets=8&bucket=-1",
            "buckets=8&bucket=4294967297",
        ] {
            assert_eq!(parse(bad).unwrap_err().status().as_u16(), 400, "{bad}");
        }
    }
}
