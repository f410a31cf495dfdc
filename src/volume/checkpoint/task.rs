//! The task that writes the checkpoints of a volume while it serves.

use std::rc::Rc;

use super::checkpointing::Checkpointing;
use crate::volume::Volume;

/// Starts the checkpoint writer, if the volume has checkpoints and no writer is running.
pub fn start(volume: &Rc<Volume>) {
    if let Some(Checkpointing { rate, .. }) = volume.checkpoints.policy {
        volume.checkpoints.task.start(run(Rc::clone(volume), rate));
    }
}

async fn run(volume: Rc<Volume>, rate: u64) {
    let checkpoints = &volume.checkpoints;
    let is_due = || volume.may_checkpoint() && checkpoints.is_due(volume.log.tail());
    // After an upgrade all volumes need a checkpoint at the same time.
    let queue = checkpoints.queue.as_deref().map(|queue| (queue, checkpoints.dir));
    let attempt = async || {
        // The outcome was logged.
        let _ = volume.write_checkpoint(rate).await;
    };
    checkpoints.task.repeat(is_due, queue, attempt).await;
}
