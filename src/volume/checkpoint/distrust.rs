//! A checkpoint that must not be used: it has, or may have, what the log does not say.

use crate::runtime::op::Op;
use crate::volume::Volume;
use crate::volume::names::{checkpoint_name, unfinished_checkpoint_name};
use crate::volume::sync_dir::sync_dir;

impl Volume {
    /// Removes the checkpoint, and writes none until the volume is opened again: the index differs from the
    /// log. The next start reads the whole log.
    pub(in crate::volume) async fn distrust_checkpoint(&self) {
        if self.checkpoints.is_distrusted.replace(true) {
            return;
        }
        self.checkpoints.stop().await;
        let (volume, generation) = (self.id(), self.generation());
        for name in
            [checkpoint_name(volume, generation), unfinished_checkpoint_name(volume, generation)]
        {
            self.handle.submit(Op::Unlink { dir: self.dir, name }).await;
        }
        // If the name comes back after a power cut, the next scrub finds the difference again.
        let _ = sync_dir(&self.handle, self.dir).await;
        self.checkpoints.forget();
        tracing::error!(
            volume = volume.0,
            "the index in memory differs from the log, which has the photos: its checkpoint was removed; \
             restart the daemon, which reads the log then"
        );
    }
}
