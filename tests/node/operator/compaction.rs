//! The operator compacts volumes, in place, to another size or into another data directory; cancels, pauses
//! and resumes compactions, and fills the disk.

use hayloft::base::types::{ShardId, VolumeId};
use hayloft::node::board::CompactionOutcome;
use hayloft::node::shard::{
    CancelCompaction, CompactVolume, CompactionRequest, OrderError, PauseBackground, TargetDir,
};
use hayloft::runtime::sim::Fault;

use super::Operator;
use crate::node::SECOND;
use crate::node::causes::{ChangeKind, Order};
use crate::node::damage::{Found, needles};
use crate::node::files::{DIRECTORIES, STORES, VolumeFile};

/// Sizes of new generations (bytes).
const SIZES: [u64; 4] = [1 << 20, 3 << 20, 6 << 20, 12 << 20];
/// Free blocks that a program leaves that fills the disk.
const LEFT: [usize; 6] = [0, 3, 30, 70, 200, 500];
/// Operations among which one is to fail.
const OPERATIONS: u64 = 120;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Operator {
    /// Begins or cancels a compaction of the volume, pauses or resumes all, or lets one fail.
    pub(super) async fn compact_or_cancel(&mut self, volume: VolumeId) {
        match self.draw(12) {
            0 | 1 => self.cancel(volume).await,
            2 => self.pause().await,
            3 => {
                self.fill_disk();
                self.compact(volume).await;
            }
            4 => self.world.vacate(usize::MAX),
            5 if self.plan.faults => {
                self.compact(volume).await;
                self.fail_one();
            }
            6 if self.plan.faults && self.draw(4) == 0 => {
                self.monitor.refuse_next();
                self.compact(volume).await;
            }
            _ => self.compact(volume).await,
        }
    }

    async fn compact(&mut self, volume: VolumeId) {
        let request = self.request(volume);
        let order = Order {
            volume,
            is_move: request.target.is_some(),
            size: request.size,
            index_memory_max: request.index_memory_max,
            from: self.handle.now(),
        };
        if order.is_move {
            self.causes.note_move(volume);
        }
        let was_running = self.is_compacting(volume);
        let number = self.causes.compactions.begin(order);
        let asked = CompactVolume { volume, request };
        match self.requester.ask(self.plan.owner_of(volume), asked).await {
            Ok(()) => self.count("compactions begun"),
            Err(error) => {
                self.causes.compactions.refuse(number);
                self.explain(volume, &error, was_running);
            }
        }
    }

    fn request(&mut self, volume: VolumeId) -> CompactionRequest {
        let current = self.monitor.current(volume).map_or(0, |file| file.dir as usize);
        let may_move = self.causes.may_move() && self.draw(4) == 0;
        let other = (current + 1) % DIRECTORIES.len();
        let size = self.one_of(&SIZES);
        CompactionRequest {
            target: may_move.then(|| TargetDir {
                path: DIRECTORIES[other].into(),
                disk: u32::try_from(other).unwrap(),
                store: STORES[other],
            }),
            size: (self.draw(4) == 0).then_some(size),
            accept_losses: self.draw(4) == 0,
            tombstone_keep_ns: self.one_of(&[0, SECOND, 3600 * SECOND]),
            drop_expired_before_ns: if self.plan.expiry && self.draw(2) == 0 {
                self.handle.wall()
            } else {
                0
            },
            verify: self.draw(4) > 0,
            index_memory_max: if self.draw(20) == 0 { 10 } else { u64::MAX },
        }
    }

    /// Compacts all volumes, one after the other, without what has expired. Asserts that nothing of that is
    /// left where this succeeds.
    pub async fn drop_expired(self) {
        for volume in self.causes.present() {
            let Some(board) = self.metrics.board.volume(volume) else { continue };
            let Some(before) = self.monitor.current(volume) else { continue };
            let (limit, ended) = (self.handle.wall(), board.compaction.ended());
            let had = self.expired(before, limit);
            let request =
                CompactionRequest { drop_expired_before_ns: limit, ..CompactionRequest::default() };
            let number = self.causes.compactions.begin(Order {
                volume,
                is_move: false,
                size: None,
                index_memory_max: u64::MAX,
                from: self.handle.now(),
            });
            let asked = CompactVolume { volume, request };
            if let Err(error) = self.requester.ask(self.plan.owner_of(volume), asked).await {
                self.causes.compactions.refuse(number);
                self.explain(volume, &error, false);
                continue;
            }
            while board.compaction.ended() == ended {
                self.handle.sleep_until(self.handle.now() + SECOND / 100).await;
            }
            let end = board.compaction.last_end().expect("the record of the end");
            if end.outcome == CompactionOutcome::Done {
                let after = self.monitor.current(volume).expect("an open file");
                let left = self.expired(after, limit);
                assert_eq!(left, 0, "expired objects that were kept in volume {volume}");
                if had > 0 {
                    self.count("compactions without what has expired");
                }
            }
        }
    }

    /// Number of objects in a file that have expired at `now` (ns since 1970).
    fn expired(&self, file: VolumeFile, now: u64) -> usize {
        let image = self.world.look(|snapshot| snapshot.image());
        let needles = needles(&image, file);
        let has_expired = |found: &&Found| found.header.expires_ns.is_some_and(|time| time <= now);
        needles.iter().filter(has_expired).count()
    }

    fn is_compacting(&self, volume: VolumeId) -> bool {
        self.metrics.board.volume(volume).is_some_and(|board| board.compaction.is_running())
    }

    /// Asserts that a refused order has a cause.
    fn explain(&self, volume: VolumeId, error: &OrderError, was_running: bool) {
        let has_cause = match error {
            OrderError::Compacting => was_running || self.is_compacting(volume),
            OrderError::Recovering => true,
            OrderError::NoVolume => !self.causes.present().contains(&volume),
            OrderError::NotOpened(_) | OrderError::NotCompacted(_) => {
                self.causes.had_failure(volume)
            }
            _ => false,
        };
        assert!(has_cause, "no cause for the refused compaction of volume {volume}: {error}");
    }

    async fn cancel(&mut self, volume: VolumeId) {
        let number = self.causes.begin(volume, ChangeKind::Cancel);
        let owner = self.plan.owner_of(volume);
        match self.requester.ask(owner, CancelCompaction { volume }).await {
            Ok(()) => self.count("cancellations"),
            Err(_) => self.count("cancellations of nothing"),
        }
        self.causes.end_unknown(number);
    }

    async fn pause(&mut self) {
        let paused = !self.is_paused;
        self.is_paused = paused;
        for shard in ShardId::all(self.plan.shards) {
            self.requester.ask(shard, PauseBackground { paused }).await;
        }
        self.count(if paused { "compactions paused" } else { "compactions resumed" });
    }

    /// Resumes what is paused.
    pub(super) async fn resume(&mut self) {
        if self.is_paused {
            self.pause().await;
        }
    }

    fn fill_disk(&mut self) {
        let left = self.one_of(&LEFT);
        let free = self.world.free_blocks();
        self.world.occupy(free.saturating_sub(left));
        self.count("disks filled");
    }

    /// Lets one of the next operations fail.
    fn fail_one(&mut self) {
        let fault = self.one_of(&[
            Fault::Errno(EIO),
            Fault::Errno(ENOSPC),
            Fault::Short(512),
            Fault::Dropped,
            Fault::Kept,
            Fault::Stall(3 * SECOND),
        ]);
        let number = self.draw(OPERATIONS);
        self.world.fail(number, fault);
        self.count("faults");
    }
}
