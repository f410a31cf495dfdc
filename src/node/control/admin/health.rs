//! `/healthz`: whether the event loops of all shards run. `/readyz`: whether requests should be sent here.
//!
//! The two must not be confused: a node that is not healthy is restarted, one that is not ready gets no
//! requests. A node that recovers or drains is healthy and not ready.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::{ApiError, unavailable};
use super::state::AdminState;
use crate::base::types::{ShardId, VolumeId};
use crate::node::board::{Board, DiskState, VolumeState};
use crate::node::label::Label;

/// A shard whose event loop has not run for too long.
#[derive(Debug, Serialize)]
pub struct SilentShard {
    /// The shard's number.
    pub id: ShardId,
    /// The CPU it is pinned to.
    pub core: u32,
    /// Time since its last event loop iteration (milliseconds).
    pub silent_ms: u64,
}

#[derive(Serialize)]
struct Unhealthy {
    error: String,
    shards: Vec<SilentShard>,
}

/// Answers `GET /healthz`.
pub(super) async fn healthz(State(state): State<AdminState>) -> Response {
    let shards = silent_shards(&state);
    if shards.is_empty() {
        return "ok\n".into_response();
    }
    let error = format!(
        "{} of {} shards have not turned for {} ms.",
        shards.len(),
        state.metrics.shards.len(),
        state.limits.hang_after.as_millis()
    );
    // No Retry-After: a hanging shard does not recover by waiting.
    let body = Json(Unhealthy { error, shards });
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

fn silent_shards(state: &AdminState) -> Vec<SilentShard> {
    let now_ns = (state.now_ns)();
    let limit_ns = state.limits.hang_after.as_nanos();
    let shards = state.metrics.board.shards.iter();
    shards
        .map(|shard| (shard, shard.silence_ns(now_ns, state.metrics.node.started_ns)))
        .filter(|(_, silence_ns)| u128::from(*silence_ns) >= limit_ns)
        .map(|(shard, silence_ns)| SilentShard {
            id: shard.info.id,
            core: shard.info.core,
            silent_ms: silence_ns / 1_000_000,
        })
        .collect()
}

/// The response body of `/readyz`, with 200 and with 503.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// True with 200.
    pub ready: bool,
    /// Reason as one sentence; absent with 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// True while the daemon drains.
    pub draining: bool,
    /// Number of volumes that answer GETs.
    pub serving: usize,
    /// Impaired volumes: recovering, poisoned, lost or failed; if no volume takes photos, also those that are
    /// full or read-only.
    pub volumes: Vec<ImpairedVolume>,
    /// Data directories that are not in use.
    pub disks: Vec<ImpairedDisk>,
}

/// A volume with reduced service.
#[derive(Debug, Serialize)]
pub struct ImpairedVolume {
    id: VolumeId,
    state: &'static str,
}

/// A data directory that is not in use.
#[derive(Debug, Serialize)]
pub struct ImpairedDisk {
    path: String,
    state: &'static str,
}

/// Answers `GET /readyz` and `GET /readyz?strict`.
pub(super) async fn readyz(
    State(state): State<AdminState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let strict = match query.as_deref() {
        None | Some("") => false,
        Some("strict" | "strict=" | "strict=1" | "strict=true") => true,
        Some(other) => {
            let sentence = format!("/readyz knows ?strict and not ?{other}.");
            return Err(ApiError::BadRequest(sentence));
        }
    };
    let readiness = readiness(&state.metrics.board, strict, state.cluster.is_some());
    Ok(if readiness.ready { Json(readiness).into_response() } else { unavailable(readiness) })
}

/// State name in `/readyz` of a writable volume that is full.
const FULL: &str = "full";

/// Formats the number of volumes in each state: `2 full, 1 read_only`.
fn counted(volumes: &[ImpairedVolume]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for volume in volumes {
        *counts.entry(volume.state).or_default() += 1;
    }
    let counts = counts.iter().map(|(state, count)| format!("{count} {state}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// `is_of_cluster`: whether the node belongs to a cluster, which gives it volumes once it is there.
fn readiness(board: &Board, strict: bool, is_of_cluster: bool) -> Readiness {
    // Each state is read once: it may change meanwhile, and the response must be consistent.
    let volumes = board.volumes();
    let states: Vec<_> =
        volumes.iter().map(|v| (v.info.id, v.state.get(), v.full.get() != 0)).collect();
    let takes_photos =
        states.iter().any(|(_, state, is_full)| *state == VolumeState::Writable && !is_full);
    let is_impaired = |s: VolumeState| match s {
        VolumeState::Writable | VolumeState::ReadOnly => false,
        VolumeState::Recovering
        | VolumeState::Poisoned
        | VolumeState::Lost
        | VolumeState::Failed => true,
    };
    let impaired = states.iter().filter(|(_, s, _)| is_impaired(*s)).count();
    let volumes: Vec<_> = states
        .iter()
        .filter(|(_, s, _)| is_impaired(*s) || !takes_photos)
        .map(|(id, s, is_full)| ImpairedVolume {
            id: *id,
            state: if *is_full && *s == VolumeState::Writable { FULL } else { s.name() },
        })
        .collect();
    let disks: Vec<_> = board
        .disks
        .iter()
        .map(|disk| (disk, disk.state.get()))
        .filter(|(_, s)| *s != DiskState::Ok)
        .map(|(disk, s)| ImpairedDisk { path: disk.path.clone(), state: s.name() })
        .collect();

    let serving = states.iter().filter(|(_, s, _)| s.serves()).count();
    let recovering = states.iter().filter(|(_, s, _)| *s == VolumeState::Recovering).count();
    let draining = board.draining();
    let error = if draining {
        Some("The daemon is draining.".to_owned())
    } else if recovering > 0 {
        Some(format!("{recovering} of {} volumes are recovering.", states.len()))
    } else if states.is_empty() && is_of_cluster && (disks.is_empty() || !strict) {
        None
    } else if serving == 0 {
        Some("No volume serves.".to_owned())
    } else if strict && impaired > 0 {
        Some(format!("{impaired} of {} volumes are impaired.", states.len()))
    } else if strict && !disks.is_empty() {
        Some(format!("{} of {} data directories are not in use.", disks.len(), board.disks.len()))
    } else if strict && !takes_photos {
        Some(format!("No volume takes photos: {}.", counted(&volumes)))
    } else {
        None
    };
    Readiness { ready: error.is_none(), error, draining, serving, volumes, disks }
}
