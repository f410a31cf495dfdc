//! Queries of SeaweedFS clients. Unknown parameters are ignored, as the stock volume server does: the filer
//! and its gateways add some that concern only themselves. Of a parameter that is repeated, the first counts.

use std::borrow::Cow;

use super::percent::form_decoded;
use crate::http::digits;
use crate::http::reject::Reject;

const MALFORMED: Reject = Reject::bad("the query is not well-formed percent-encoded text");
const TIME: Reject = Reject::bad("ts is not a number of seconds since 1970");
const FIELD: Reject =
    Reject::bad("a response- parameter of the query has bytes that no header may have");

/// Header fields of a response that a client may choose, with the names of their parameters.
const OVERRIDES: [(&[u8], &str); 6] = [
    (b"response-cache-control", "Cache-Control"),
    (b"response-content-disposition", "Content-Disposition"),
    (b"response-content-encoding", "Content-Encoding"),
    (b"response-content-language", "Content-Language"),
    (b"response-content-type", "Content-Type"),
    (b"response-expires", "Expires"),
];

/// The parameters of a query that matter to a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FidQuery<'a> {
    /// `ts`: time of modification (seconds since 1970).
    pub modified_seconds: Option<u64>,
    /// `ttl`: life of the photo; not parsed here. Empty if there is none.
    pub ttl: Cow<'a, [u8]>,
    /// `type=replicate`: the sender has stored the photo, and sends it to each of the others by itself.
    pub is_replica: bool,
    /// `cm=true` or `cm=false`: whether the body is a list of chunks, or whether such a list is to be sent as
    /// it is.
    pub chunk_manifest: Option<bool>,
    /// `dl=true`: the response is to be saved as a file.
    pub is_download: bool,
    /// `jwt`: token of the client.
    pub token: Option<Cow<'a, [u8]>>,
    /// `response-...`: header fields that the response is to have.
    pub overrides: Vec<(&'static str, Cow<'a, [u8]>)>,
}

impl<'a> FidQuery<'a> {
    /// Parses the query of a request target.
    ///
    /// # Errors
    /// 400 if a value is malformed.
    pub fn parse(target: &'a [u8]) -> Result<Self, Reject> {
        let mut query = Self::default();
        let Some(start) = target.iter().position(|&byte| byte == b'?') else { return Ok(query) };
        let mut pairs: Vec<(&[u8], Cow<'_, [u8]>)> = Vec::new();
        for pair in target[start + 1..].split(|&byte| byte == b'&') {
            let end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
            let (name, value) = (&pair[..end], pair.get(end + 1..).unwrap_or_default());
            let value = form_decoded(value).ok_or(MALFORMED)?;
            if !pairs.iter().any(|(known, _)| *known == name) {
                pairs.push((name, value));
            }
        }
        for (name, value) in pairs {
            query.take(name, value)?;
        }
        Ok(query)
    }

    fn take(&mut self, name: &[u8], value: Cow<'a, [u8]>) -> Result<(), Reject> {
        match name {
            b"ts" if value.is_empty() => {}
            b"ts" => self.modified_seconds = Some(digits::parse_decimal(&value).map_err(|_| TIME)?),
            b"ttl" => self.ttl = value,
            b"type" => self.is_replica = *value == *b"replicate",
            b"cm" => self.chunk_manifest = boolean(&value),
            b"dl" => self.is_download = boolean(&value) == Some(true),
            b"jwt" => self.token = Some(value),
            _ => {
                let known = OVERRIDES.iter().find(|(parameter, _)| *parameter == name);
                if let Some((_, field)) = known {
                    if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
                        return Err(FIELD);
                    }
                    self.overrides.push((field, value));
                }
            }
        }
        Ok(())
    }
}

/// Parses a boolean as Go's `strconv.ParseBool` does, which the stock server uses; `None` if it is none.
fn boolean(value: &[u8]) -> Option<bool> {
    match value {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(target: &str) -> FidQuery<'_> {
        FidQuery::parse(target.as_bytes()).unwrap()
    }

    #[test]
    fn parameters_of_a_replicating_peer_are_parsed() {
        let query = parse("/3,01d2dd59a8?fsync=true&ts=1700000000&ttl=5m&type=replicate");
        assert_eq!(query.modified_seconds, Some(1_700_000_000));
        assert_eq!((&*query.ttl, query.is_replica), (&b"5m"[..], true));
        assert_eq!(query.chunk_manifest, None);
    }

    #[test]
    fn a_target_without_parameters_has_none() {
        for target in ["/3,01d2dd59a8", "/3,01d2dd59a8?", "/x?a&b=&=c&ts=&ttl=&type=&cm="] {
            assert_eq!(parse(target), FidQuery::default(), "{target}");
        }
    }

    #[test]
    fn booleans_are_those_of_go() {
        for text in ["1", "t", "true", "TRUE", "True", "T"] {
            let target = format!("/?cm={text}&dl={text}");
            let query = parse(&target);
            assert_eq!((query.chunk_manifest, query.is_download), (Some(true), true));
        }
        for text in ["0", "f", "false", "FALSE", "False", "F"] {
            let target = format!("/?cm={text}&dl={text}");
            let query = parse(&target);
            assert_eq!((query.chunk_manifest, query.is_download), (Some(false), false));
        }
        let query = parse("/?cm=yes&dl=abc");
        assert_eq!((query.chunk_manifest, query.is_download), (None, false));
    }

    #[test]
    fn the_first_of_repeated_parameters_counts() {
        let query = parse("/?ts=1&ts=2&type=replicate&type=x");
        assert_eq!((query.modified_seconds, query.is_replica), (Some(1), true));
    }

    #[test]
    fn fields_of_the_response_may_be_chosen_but_not_broken() {
        let query = parse("/?response-content-type=text%2Fplain&response-expires=a+b&response-x=y");
        let expected = [("Content-Type", "text/plain"), ("Expires", "a b")];
        let found: Vec<_> = query
            .overrides
            .iter()
            .map(|(name, value)| (*name, std::str::from_utf8(value).unwrap()))
            .collect();
        assert_eq!(found, expected);
        for bad in ["a%0d%0aSet-Cookie:%20x", "%00", "%80", "%7f"] {
            let target = format!("/?response-content-type={bad}");
            assert_eq!(FidQuery::parse(target.as_bytes()), Err(FIELD), "{bad}");
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for (target, expected) in
            [("/?ts=x", TIME), ("/?ts=-1", TIME), ("/?jwt=%zz", MALFORMED), ("/?x=%", MALFORMED)]
        {
            assert_eq!(FidQuery::parse(target.as_bytes()), Err(expected), "{target}");
        }
    }

    #[test]
    fn a_token_is_taken_as_it_is() {
        assert_eq!(parse("/?jwt=a.b-c_d").token.as_deref(), Some(&b"a.b-c_d"[..]));
    }
}
