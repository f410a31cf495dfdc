//! The query of `/volumes/{id}/objects`.

use std::str::FromStr;

use super::error::ApiError;

/// What is to be listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ObjectsQuery {
    /// Position after which the list begins; 0 for the start.
    pub(super) since: u64,
    /// Number of objects at most.
    pub(super) limit: Option<u64>,
    /// Whether deletions are listed, too.
    pub(super) deleted: bool,
}

impl FromStr for ObjectsQuery {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let mut query = Self::default();
        let refuse = |part: &str| {
            ApiError::BadRequest(format!(
                "The query is since=POSITION, limit=N (at least 1) and deleted, and not {part}."
            ))
        };
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
                _ => return Err(refuse(part)),
            }
        }
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_parsed_and_others_refused() {
        let parse = |text: &str| text.parse::<ObjectsQuery>();
        assert_eq!(parse("").unwrap(), ObjectsQuery::default());
        let all = ObjectsQuery { since: 1 << 60, limit: Some(7), deleted: true };
        assert_eq!(parse("deleted&limit=7&since=1152921504606846976").unwrap(), all);
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
        ] {
            assert_eq!(parse(bad).unwrap_err().status().as_u16(), 400, "{bad}");
        }
    }
}
