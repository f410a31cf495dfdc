//! A file that is sent in parts to all copies of a volume.

use std::sync::Arc;

use super::confirm::{NotCopied, all_confirmed, confirmed};
use super::part_stream::PartStream;
use crate::node::board::VolumeCopy;
use crate::node::shard::shard::Shard;
use crate::runtime::buffer::Lent;
use crate::runtime::join_all;

/// Number of nodes to which a part is sent at a time.
const AT_ONCE: usize = 16;

/// A file that is sent in parts to all copies.
pub struct FanOutOfParts(Vec<(Arc<VolumeCopy>, PartStream)>);

impl FanOutOfParts {
    /// A file that is sent over these connections.
    pub fn new(streams: Vec<(Arc<VolumeCopy>, PartStream)>) -> Self {
        Self(streams)
    }

    /// Sends the next part.
    ///
    /// # Errors
    /// [`NotCopied`].
    pub async fn add(&mut self, shard: &Shard, part: &Lent) -> Result<(), NotCopied> {
        let sent = self.0.iter_mut().map(async |(copy, stream)| {
            let sent = stream.add(shard, part).await;
            confirmed(copy, sent, &stream.patience)
        });
        all_confirmed(join_all(sent, AT_ONCE).await)
    }

    /// Sends the end, and waits until all nodes have stored the file.
    ///
    /// # Errors
    /// [`NotCopied`].
    pub async fn finish(mut self, shard: &Shard) -> Result<(), NotCopied> {
        let sent = self.0.iter_mut().map(async |(copy, stream)| {
            let sent = stream.finish(shard).await;
            confirmed(copy, sent, &stream.patience)
        });
        all_confirmed(join_all(sent, AT_ONCE).await)
    }
}
