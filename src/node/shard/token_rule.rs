//! Own targets into volumes of a cluster whose clients need tokens: these would go past the tokens.

use super::plain_reply::PlainReply;
use super::shard::Shard;
use crate::http::head::Method;
use crate::http::status::Status;
use crate::http::target::Target;

/// Refuses a request to an own target of a volume of the cluster for which a fid needs a token.
///
/// # Errors
/// 403.
pub fn refuse_without_token(
    shard: &Shard,
    method: Method,
    target: Target,
) -> Result<(), PlainReply> {
    let keys = &shard.config.keys;
    let key = if matches!(method, Method::Get | Method::Head) { &keys.read } else { &keys.write };
    let volume = match target {
        Target::Root => None,
        Target::Object { volume, .. }
        | Target::Volume { volume }
        | Target::Batch { volume }
        | Target::MultiDelete { volume } => Some(volume),
    };
    let (Some(_), Some(volume)) = (key, volume) else { return Ok(()) };
    match shard.shared.board.volume(volume) {
        Some(board) if board.cluster.is_of_cluster.get() != 0 => {
            let reason = "photos of this volume need a token of its cluster; name them by fid";
            Err(PlainReply::error(Status::FORBIDDEN, reason))
        }
        _ => Ok(()),
    }
}
