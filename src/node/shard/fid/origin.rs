//! The origin version that another node sends along with a change.

use crate::http::head::Head;
use crate::http::reject::Reject;
use crate::node::shard::copies::ORIGIN_FIELD;

/// By how much the clock of another node may be ahead (nanoseconds).
const AHEAD_MAX_NS: u64 = 86_400_000_000_000;

const ORIGIN: Reject =
    Reject::bad("X-Hayloft-Origin is not a time in nanoseconds, or more than a day in the future");

/// Returns the origin version of a change that comes from another node. `now` is the wall clock (nanoseconds
/// since 1970).
///
/// # Errors
/// 400.
pub fn parse_origin(head: &Head, bytes: &[u8], now: u64) -> Result<Option<u64>, Reject> {
    let mut fields = head.lines(bytes);
    let field = fields.find(|(name, _)| name.eq_ignore_ascii_case(ORIGIN_FIELD.as_bytes()));
    let Some((_, value)) = field else { return Ok(None) };
    let text = std::str::from_utf8(value).map_err(|_| ORIGIN)?;
    let origin: u64 = text.parse().map_err(|_| ORIGIN)?;
    if origin > now.saturating_add(AHEAD_MAX_NS) { Err(ORIGIN) } else { Ok(Some(origin)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Dialects, HeadLimits, HeadProgress, parse_as};

    #[test]
    fn origin_is_a_time_that_is_not_far_in_the_future() {
        let parsed = |field: &str| {
            let text = format!("DELETE /3,01637037d6 HTTP/1.1\r\nHost: a\r\n{field}\r\n");
            let bytes = text.as_bytes();
            let mut progress = HeadProgress::default();
            let head = parse_as(bytes, &HeadLimits::DEFAULT, Dialects::WithFids, &mut progress);
            parse_origin(&head.unwrap().unwrap(), bytes, 1000)
        };
        let latest = 1000 + AHEAD_MAX_NS;
        assert_eq!(parsed(""), Ok(None));
        assert_eq!(parsed("X-Hayloft-Origin: 5\r\n"), Ok(Some(5)));
        assert_eq!(parsed(&format!("x-hayloft-origin: {latest}\r\n")), Ok(Some(latest)));
        for value in ["", "x", "-1", "\u{e4}", &(latest + 1).to_string()] {
            assert_eq!(parsed(&format!("X-Hayloft-Origin: {value}\r\n")), Err(ORIGIN), "{value}");
        }
    }
}
