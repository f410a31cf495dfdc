//! Changes that are sent to one node.

use std::net::SocketAddr;

use super::exchange::{PeerRequest, exchange, judge};
use super::failure::ExchangeFailure;
use super::message::{CopiedFile, DataLen, Destination, UploadMessage, deletion, fid};
use super::patience::Patience;
use crate::node::board::Peer;
use crate::node::shard::object_name::ObjectName;
use crate::node::shard::shard::Shard;
use crate::runtime::buffer::Lent;

/// Seconds for which a token is good that permits a change of a copy.
const TOKEN_SECONDS: u64 = 10;

/// A node to which a change of a photo is sent.
pub struct Recipient<'a> {
    /// Address of its data API.
    pub address: SocketAddr,
    /// Its name in the cluster.
    pub name: &'a str,
    /// The photo.
    pub object: &'a ObjectName,
    /// Origin version of the change.
    pub origin: u64,
}

impl<'a> Recipient<'a> {
    /// A node that has a copy.
    pub fn of(peer: &'a Peer, object: &'a ObjectName, origin: u64) -> Self {
        Self { address: peer.address, name: &peer.name, object, origin }
    }

    fn token(&self, shard: &Shard) -> Option<String> {
        let key = shard.config.keys.write.as_ref()?;
        Some(key.sign(&fid(self.object), shard.now_seconds() + TOKEN_SECONDS))
    }

    /// Composes an upload.
    pub fn message(&self, shard: &Shard, file: &CopiedFile<'_>, data: DataLen) -> UploadMessage {
        let token = self.token(shard);
        let destination =
            Destination { host: self.name, token: token.as_deref(), origin: self.origin };
        // Nobody can put it into the data: only the other node sees it.
        let boundary = format!("{:016x}{:016x}", shard.handle.random(), shard.handle.random());
        UploadMessage::new(file, &destination, data, &boundary)
    }
}

/// Sends a file that is one needle to a node.
///
/// # Errors
/// See [`ExchangeFailure`].
pub async fn send_upload(
    shard: &Shard,
    file: &CopiedFile<'_>,
    data: &Lent,
    to: &Recipient<'_>,
    patience: &Patience,
) -> Result<(), ExchangeFailure> {
    let message = to.message(shard, file, DataLen::Known(data.len() as u64));
    let request = PeerRequest { front: &message.front, data: Some(data), back: &message.back };
    judge(exchange(shard, to.address, request, patience).await?, false)
}

/// Sends a deletion to a node.
///
/// # Errors
/// See [`ExchangeFailure`].
pub async fn send_deletion(
    shard: &Shard,
    object: &ObjectName,
    to: &Recipient<'_>,
    patience: &Patience,
) -> Result<(), ExchangeFailure> {
    let token = to.token(shard);
    let destination = Destination { host: to.name, token: token.as_deref(), origin: to.origin };
    let front = deletion(object, &destination);
    let request = PeerRequest { front: &front, data: None, back: &[] };
    judge(exchange(shard, to.address, request, patience).await?, true)
}
