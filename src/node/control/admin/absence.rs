//! `/volumes/{id}/absent`: which objects a volume certainly has not.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use serde::Serialize;

use super::error::ApiError;
use super::state::AdminState;
use super::volumes::parse_id;
use crate::base::types::NeedleId;
use crate::node::control::{AbsenceRequest, ControlRequest};

/// Largest number of names in a request.
const NAMES_MAX: usize = 1000;
/// Largest body (bytes).
pub(super) const BODY_MAX: usize = 40 << 10;

/// The name of an object.
#[derive(Debug, Serialize)]
pub(super) struct Name {
    key: u64,
    alt: u32,
}

/// Answers `POST /volumes/{id}/absent`.
pub(super) async fn list(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Vec<Name>>, ApiError> {
    let id = parse_id(&id)?;
    let ids = names(&body.map_err(|_| ApiError::TooLong)?)?;
    let (request, answer) = AbsenceRequest::new(id, ids);
    state.requests.send(ControlRequest::Absence(request)).map_err(|_| ApiError::Stopping)?;
    let absent = answer.await.map_err(|_| ApiError::Stopping)??;
    Ok(Json(absent.iter().map(|id| Name { key: id.key.0, alt: id.alt.0 }).collect()))
}

/// Parses names, `KEY/ALT`, one a line.
fn names(body: &[u8]) -> Result<Vec<NeedleId>, ApiError> {
    let refuse = || {
        let sentence = format!("The body is KEY/ALT, one a line, at most {NAMES_MAX} of them.");
        ApiError::BadRequest(sentence)
    };
    let text = std::str::from_utf8(body).map_err(|_| refuse())?;
    let names = text.lines().map(|line| {
        let (key, alt) = line.split_once('/')?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (key, alt) = Some((key, alt)).filter(|(key, alt)| is_number(key) && is_number(alt))?;
        Some(NeedleId::new(key.parse().ok()?, alt.parse().ok()?))
    });
    let names: Option<Vec<NeedleId>> = names.collect();
    names.filter(|names| names.len() <= NAMES_MAX).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_key_and_alt_one_a_line() {
        assert_eq!(names(b"").unwrap(), []);
        let two = [NeedleId::new(7, 2), NeedleId::new(u64::MAX, u32::MAX)];
        assert_eq!(names(b"7/2\n18446744073709551615/4294967295\n").unwrap(), two);
        let long = "1/1\n".repeat(NAMES_MAX + 1);
        for bad in
            [&b"7"[..], b"7/", b"/2", b"+7/2", b"7/2/3", b"7/2\n\n", b"\xff", long.as_bytes()]
        {
            assert_eq!(names(bad).unwrap_err().status().as_u16(), 400);
        }
        // The longest possible body fits.
        assert!(NAMES_MAX * "18446744073709551615/4294967295\n".len() <= BODY_MAX);
    }
}
