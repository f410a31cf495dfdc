//! Tests of requests, the queue and the policy in a manager whose shards only record their orders.

mod next_volume;
mod other_changes;
mod policy;
mod requests;

use std::rc::Rc;

use crate::base::size::MIB;
use crate::base::types::VolumeId;
use crate::node::board::{CompactionOutcome, VolumeBoard};
use crate::node::control::{Refused, WantedCompaction};
use crate::node::daemon::bench::{Bench, end};

const ONE: VolumeId = VolumeId(1);
const TWO: VolumeId = VolumeId(2);

/// Sets the figures of a volume of 64 MiB with these live and dead bytes.
fn fill(board: &VolumeBoard, live: u64, dead: u64) {
    board.size_bytes.set(64 * MIB);
    board.used_bytes.set(live + dead);
    board.live_bytes.set(live);
    board.dead_bytes.set(dead);
}

/// The new file of a volume takes the place of the old one.
fn complete(bench: &Bench, id: u32, generation: u64) {
    let board = bench.board(id);
    fill(&board, board.live_bytes.get(), MIB);
    board.generation.set(generation);
    board.compaction.end(end(CompactionOutcome::Done));
}

impl Bench {
    async fn compact(&self, id: u32) -> Result<(), Refused> {
        self.state.compact(VolumeId(id), WantedCompaction::default()).await
    }

    async fn look(&self) {
        Rc::clone(&self.state).look().await;
    }

    /// Looks once a minute, for `minutes`.
    async fn look_for(&self, minutes: u64) {
        for _ in 0..minutes {
            self.advance(60);
            self.look().await;
        }
    }

    /// Waits until the tasks that were started have ended.
    async fn settle(&self) {
        let handle = &self.state.handle;
        handle.sleep_until(handle.now() + 1_000_000_000).await;
    }

    /// Orders without their shards.
    fn texts(&self) -> Vec<String> {
        self.orders().into_iter().map(|(_, text)| text).collect()
    }
}

fn conflict<T: std::fmt::Debug>(result: Result<T, Refused>, part: &str) {
    match result {
        Err(Refused::Conflict(sentence)) => assert!(sentence.contains(part), "{sentence}"),
        other => panic!("{other:?}"),
    }
}
