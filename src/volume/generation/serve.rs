//! The first and the last moment of a generation: it becomes the current one, and is superseded by the next.

use std::rc::Rc;

use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::blocks;
use crate::volume::checkpoint::task::start;
use crate::volume::index::Index;
use crate::volume::log::committer;
use crate::volume::log::contents::Contents;
use crate::volume::{Volume, WriteState};

impl Volume {
    /// Begins to serve a generation that was built: its superblock says so, durably.
    ///
    /// # Panics
    /// If it was not being built.
    pub(in crate::volume) fn begin_to_serve(self: &Rc<Self>) {
        let set = self.superblock_state.get();
        self.write_state.update(|state| state.begin_to_serve(set));
        self.handle.spawn(committer::run(Rc::clone(self)));
        start(self);
        blocks::task::start(self);
    }

    /// Ends the append side, because another generation is the current one. Nothing waits for a commit.
    pub(in crate::volume) fn supersede(&self) {
        self.write_state.update(WriteState::supersede);
        self.checkpoints.begin_to_stop();
        self.steps.begin_to_stop();
        self.log.work.raise();
    }

    /// Frees the index, piece by piece, so that requests do not wait for long. Nothing is looked up in it any
    /// more.
    pub(in crate::volume) async fn free_index(&self) {
        let empty = Contents::new(Index::for_volume(self.superblock.size));
        let mut retired = self.contents.replace(empty).retire();
        while retired.free_piece() {
            if !chosen(Sabotage::FreeIndexAtOnce) {
                self.handle.yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
