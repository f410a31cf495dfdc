//! `/volumes/{id}/damage`: the places of a volume that scrubs have found damaged.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::error::ApiError;
use super::state::AdminState;
use super::volumes::parse_id;
use crate::node::control::{ControlRequest, DamageRequest, DamagedPlace};

/// A damaged place. Times are in seconds since 1970.
#[derive(Debug, Serialize)]
pub(super) struct ShownPlace {
    /// Offset in the volume file (bytes).
    offset: u64,
    /// Length (bytes).
    len: u64,
    /// The photo that it concerns; null where that is not known.
    key: Option<u64>,
    /// The same.
    alt: Option<u32>,
    /// `header`, `attributes`, `data`, `footer`, `header_copy`, `part`, `commit_record`, `unidentified`,
    /// `not_indexed`, `not_in_log` or `index`.
    what: &'static str,
    /// The same as a sentence.
    reason: String,
    /// True if the device could not read the place, false if it returned other bytes than were written.
    unreadable: bool,
    /// When it was found first.
    found: u64,
    /// When it was found last.
    seen: u64,
}

impl ShownPlace {
    fn of(place: DamagedPlace) -> Self {
        Self {
            offset: place.offset,
            len: place.len,
            key: place.id.map(|id| id.key.0),
            alt: place.id.map(|id| id.alt.0),
            what: place.what,
            reason: place.reason,
            unreadable: place.is_unreadable,
            found: place.found_ns / 1_000_000_000,
            seen: place.seen_ns / 1_000_000_000,
        }
    }
}

/// Answers `GET /volumes/{id}/damage`: in the order of the file, 10,000 places at most. Waits for the shard
/// of the volume.
pub(super) async fn list(
    State(state): State<AdminState>,
    Path(id): Path<String>,
) -> Result<Json<Vec<ShownPlace>>, ApiError> {
    let (request, answer) = DamageRequest::new(parse_id(&id)?);
    state.requests.send(ControlRequest::Damage(request)).map_err(|_| ApiError::Stopping)?;
    let damage = answer.await.map_err(|_| ApiError::Stopping)??;
    Ok(Json(damage.into_iter().map(ShownPlace::of).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::NeedleId;

    #[test]
    fn place_has_key_and_alt_and_no_cookie() {
        let place = DamagedPlace {
            offset: 65_536,
            len: 1024,
            id: Some(NeedleId::new(7, 2)),
            what: "part",
            reason: "so".to_owned(),
            is_unreadable: true,
            found_ns: 5_900_000_000,
            seen_ns: 7_000_000_000,
        };
        let shown = serde_json::to_value(ShownPlace::of(place.clone())).unwrap();
        let expected = serde_json::json!({
            "offset": 65_536, "len": 1024, "key": 7, "alt": 2, "what": "part", "reason": "so",
            "unreadable": true, "found": 5, "seen": 7,
        });
        assert_eq!(shown, expected);
        let unknown = DamagedPlace { id: None, ..place };
        let shown = serde_json::to_value(ShownPlace::of(unknown)).unwrap();
        assert!(shown["key"].is_null() && shown["alt"].is_null());
    }
}
