//! A file that is sent in parts to one node.

use std::net::SocketAddr;

use super::connection::PeerConnection;
use super::exchange::{judge, keep};
use super::failure::ExchangeFailure;
use super::message::{CopiedFile, DataLen, chunk_line};
use super::patience::Patience;
use super::recipient::Recipient;
use crate::node::shard::shard::Shard;
use crate::runtime::buffer::Lent;

/// A file that is sent in parts to one node. Dropping it before its end ends the connection, so that the node
/// stores nothing.
pub struct PartStream {
    /// Absent after the end.
    connection: Option<PeerConnection>,
    /// How long the other node may take.
    pub patience: Patience,
    /// What is sent after the data.
    back: Vec<u8>,
    address: SocketAddr,
}

impl PartStream {
    /// Begins to send a file.
    ///
    /// # Errors
    /// See [`ExchangeFailure`].
    pub async fn begin(
        shard: &Shard,
        file: &CopiedFile<'_>,
        to: &Recipient<'_>,
        patience: Patience,
    ) -> Result<Self, (ExchangeFailure, Patience)> {
        let address = to.address;
        let message = to.message(shard, file, DataLen::InChunks);
        // A connection that waits may be closed by now, which would show too late.
        let begun = async {
            let connection = PeerConnection::connect(shard.for_peers(), address, &patience).await?;
            connection.send(&message.front, &patience).await?;
            Ok(connection)
        };
        match begun.await {
            Ok(connection) => {
                Ok(Self { connection: Some(connection), patience, back: message.back, address })
            }
            Err(failure) => Err((failure, patience)),
        }
    }

    /// Sends the next part.
    ///
    /// # Errors
    /// See [`ExchangeFailure`].
    ///
    /// # Panics
    /// After the end.
    pub async fn add(&mut self, shard: &Shard, part: &Lent) -> Result<(), ExchangeFailure> {
        self.patience.renew(&shard.handle);
        let connection = self.connection.as_ref().expect("no part follows the end");
        connection.send(&chunk_line(part.len()), &self.patience).await?;
        connection.send_lent(part, &self.patience).await?;
        connection.send(b"\r\n", &self.patience).await
    }

    /// Sends the end, and waits until the node has stored the file.
    ///
    /// # Errors
    /// See [`ExchangeFailure`].
    ///
    /// # Panics
    /// After the end.
    pub async fn finish(&mut self, shard: &Shard) -> Result<(), ExchangeFailure> {
        self.patience.renew(&shard.handle);
        let connection = self.connection.take().expect("a file has one end");
        connection.send(&self.back, &self.patience).await?;
        let answer = connection.receive(&self.patience).await;
        judge(keep(shard, self.address, connection, answer)?, false)
    }
}
