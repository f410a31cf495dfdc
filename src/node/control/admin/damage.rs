//! `/volumes/{id}/damage`: the places of a volume that scrubs have found damaged.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::error::ApiError;
use super::state::AdminState;
use super::volumes::parse_id;
use crate::node::control::{ControlRequest, DamageRequest};
use crate::volume::FoundDamage;

/// A damaged place. Times are in seconds since 1970.
#[derive(Debug, Serialize)]
pub(super) struct DamagedPlace {
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

impl DamagedPlace {
    fn of(damage: &FoundDamage) -> Self {
        let FoundDamage { finding, found_ns, seen_ns } = damage;
        Self {
            offset: finding.at.offset,
            len: finding.at.len,
            key: finding.id.map(|id| id.key.0),
            alt: finding.id.map(|id| id.alt.0),
            what: finding.flaw.name(),
            reason: finding.flaw.to_string(),
            unreadable: finding.is_io,
            found: found_ns / 1_000_000_000,
            seen: seen_ns / 1_000_000_000,
        }
    }
}

/// Answers `GET /volumes/{id}/damage`: in the order of the file, 10,000 places at most. Waits for the shard
/// of the volume.
pub(super) async fn list(
    State(state): State<AdminState>,
    Path(id): Path<String>,
) -> Result<Json<Vec<DamagedPlace>>, ApiError> {
    let (request, answer) = DamageRequest::new(parse_id(&id)?);
    state.requests.send(ControlRequest::Damage(request)).map_err(|_| ApiError::Stopping)?;
    let damage = answer.await.map_err(|_| ApiError::Stopping)??;
    Ok(Json(damage.iter().map(DamagedPlace::of).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::NeedleId;
    use crate::volume::{Finding, Flaw, Location};

    #[test]
    fn place_has_key_and_alt_and_no_cookie() {
        let at = Location { offset: 65_536, len: 1024 };
        let id = Some(NeedleId::new(7, 2));
        let finding = Finding { at, id, flaw: Flaw::Part(3), is_io: true };
        let damage = FoundDamage { finding, found_ns: 5_900_000_000, seen_ns: 7_000_000_000 };
        let shown = serde_json::to_value(DamagedPlace::of(&damage)).unwrap();
        let expected = serde_json::json!({
            "offset": 65_536, "len": 1024, "key": 7, "alt": 2, "what": "part",
            "reason": "part 3 of it is missing or damaged", "unreadable": true, "found": 5, "seen": 7,
        });
        assert_eq!(shown, expected);
        let unknown = FoundDamage { finding: Finding { id: None, ..finding }, ..damage };
        let shown = serde_json::to_value(DamagedPlace::of(&unknown)).unwrap();
        assert!(shown["key"].is_null() && shown["alt"].is_null());
    }
}
