//! One request to another node, and its response.

use std::net::SocketAddr;

use super::connection::{Answer, PeerConnection};
use super::failure::ExchangeFailure;
use super::patience::Patience;
use crate::node::shard::shard::Shard;
use crate::runtime::buffer::Lent;

/// A request: what is sent before the data, the data, and what is sent after it.
#[derive(Clone, Copy)]
pub struct PeerRequest<'a> {
    /// Everything before the data.
    pub front: &'a [u8],
    /// The data.
    pub data: Option<&'a Lent>,
    /// Everything after it.
    pub back: &'a [u8],
}

/// Sends a request to a node, and receives the response. A connection that turns out to be closed is replaced
/// by a new one: a change of a copy can be repeated.
///
/// # Errors
/// See [`ExchangeFailure`].
pub async fn exchange(
    shard: &Shard,
    address: SocketAddr,
    request: PeerRequest<'_>,
    patience: &Patience,
) -> Result<Answer, ExchangeFailure> {
    if let Some(connection) = shard.peers.take(address, shard.handle.now()) {
        match attempt(&connection, request, patience).await {
            Err(ExchangeFailure::Broken(_)) => drop(connection),
            answer => return keep(shard, address, connection, answer),
        }
    }
    let connection = PeerConnection::connect(shard.for_peers(), address, patience).await?;
    let answer = attempt(&connection, request, patience).await;
    keep(shard, address, connection, answer)
}

async fn attempt(
    connection: &PeerConnection,
    request: PeerRequest<'_>,
    patience: &Patience,
) -> Result<Answer, ExchangeFailure> {
    connection.send(request.front, patience).await?;
    if let Some(data) = request.data {
        connection.send_lent(data, patience).await?;
    }
    if !request.back.is_empty() {
        connection.send(request.back, patience).await?;
    }
    connection.receive(patience).await
}

/// Keeps the connection, if it can be used again.
pub fn keep(
    shard: &Shard,
    address: SocketAddr,
    connection: PeerConnection,
    answer: Result<Answer, ExchangeFailure>,
) -> Result<Answer, ExchangeFailure> {
    let answer = answer?;
    if answer.keeps_open {
        shard.peers.keep(address, connection, shard.handle.now());
    }
    Ok(answer)
}

/// Decides whether a node has made a change. A deletion is made, too, if there was nothing to delete.
///
/// # Errors
/// [`ExchangeFailure::Refused`].
pub fn judge(answer: Answer, is_deletion: bool) -> Result<(), ExchangeFailure> {
    let is_made = matches!(answer.status, 200..=299) || is_deletion && answer.status == 404;
    if is_made {
        Ok(())
    } else {
        Err(ExchangeFailure::Refused(answer.status, reason(&answer.body)))
    }
}

/// What a refusal says: the `error` of its JSON, or its text.
fn reason(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let error = json.as_ref().and_then(|json| json.get("error")?.as_str());
    let text = error.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_give_their_reason() {
        let judged = |status, body: &[u8], is_deletion| {
            judge(Answer { status, body: body.to_vec(), keeps_open: true }, is_deletion)
        };
        assert_eq!(judged(201, b"{}", false), Ok(()));
        assert_eq!(judged(204, b"", false), Ok(()));
        assert_eq!((judged(202, b"", true), judged(404, b"", true)), (Ok(()), Ok(())));
        let refused = |status, text: &str| Err(ExchangeFailure::Refused(status, text.into()));
        assert_eq!(judged(404, b"", false), refused(404, ""));
        assert_eq!(judged(500, br#"{"error":"full"}"#, false), refused(500, "full"));
        assert_eq!(judged(503, b"busy", true), refused(503, "busy"));
    }
}
