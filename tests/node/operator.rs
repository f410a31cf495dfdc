//! The operator of a simulated node: changes the state of volumes, deletes, creates, fences and unplugs them.

mod compaction;
mod damage;
mod undelete;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use hayloft::base::types::{ShardId, VolumeId};
use hayloft::node::board::{VolumeInfo, VolumeState as Shown};
use hayloft::node::metrics::Metrics;
use hayloft::node::shard::{
    AssignedFile, Assignment, DeleteVolume, FenceVolume, ListDamage, OpenVolume, OrderError,
    Requester, ScrubVolume, SetReadOnly, SetRoute,
};
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::history::{Action, Answer, Event};
use hayloft::runtime::sim::{Fault, World};
use hayloft::runtime::{Handle, split_mix};
use hayloft::volume::{self, NotRemoved, Preallocation};

use super::causes::{Causes, ChangeKind};
use super::files::{self, VolumeFile};
use super::memory::superblock;
use super::monitor::Monitor;
use super::seen::Name;
use super::{Plan, SECOND, SharedSeen};

pub struct Operator {
    pub world: World,
    pub handle: Handle,
    pub metrics: Arc<Metrics>,
    pub requester: Rc<Requester>,
    pub causes: Rc<Causes>,
    pub monitor: Arc<Monitor>,
    pub seen: SharedSeen,
    pub plan: Plan,
    pub seed: u64,
    /// Whether the compactions are paused.
    pub is_paused: bool,
    /// Errors of volumes up to which an operator said that all is well.
    pub cleared: BTreeMap<VolumeId, u64>,
}

/// A volume that a shard is to open, with these files.
pub fn assignment(
    plan: &Plan,
    metrics: &Metrics,
    files: &[VolumeFile],
    all_directories: bool,
) -> Assignment {
    let id = files[0].volume;
    let info = VolumeInfo { id, shard: plan.owner_of(id), disk: files[0].dir, durable: true };
    let metrics = metrics.register_volume(info, Shown::Recovering);
    let files = files.iter().map(|file| AssignedFile {
        dir: file.path(),
        disk: file.dir,
        expected: super::expected(plan, *file),
        health: None,
    });
    Assignment { volume: id, files: files.collect(), all_directories, metrics }
}

impl Operator {
    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.draw(all.len() as u64)).unwrap()]
    }

    /// Makes `changes` random changes sequentially, with pauses.
    pub async fn work(mut self, changes: u64) {
        for _ in 0..changes {
            let longest = if self.plan.compactions { 20_000_000 } else { 100_000_000 };
            let pause = self.draw(longest);
            self.handle.sleep_until(self.handle.now() + pause).await;
            let volume =
                VolumeId(1 + u32::try_from(self.draw(u64::from(self.plan.volumes))).unwrap());
            if self.plan.damage {
                self.look_at_health().await;
            }
            if !self.causes.present().contains(&volume) {
                if self.causes.may_create() {
                    self.create(volume).await;
                }
                continue;
            }
            if self.draw(8) == 0 {
                self.scrub(volume).await;
                continue;
            }
            if self.plan.damage && self.draw(4) == 0 {
                self.damage_or_heal(volume).await;
                continue;
            }
            if self.plan.undelete && self.draw(3) == 0 {
                self.undelete(volume).await;
                continue;
            }
            if self.plan.compactions && self.draw(3) > 0 {
                self.compact_or_cancel(volume).await;
                continue;
            }
            match self.draw(10) {
                0..=2 => self.set_read_only(volume, true).await,
                3..=7 => self.set_read_only(volume, false).await,
                8 => self.delete(volume).await,
                _ if !self.plan.faults => self.delete(volume).await,
                _ if self.draw(2) == 0 => self.fence(volume).await,
                _ => self.unplug(volume),
            }
        }
        self.resume().await;
    }

    fn count(&self, what: &'static str) {
        self.seen.borrow_mut().count(what);
    }

    async fn set_read_only(&mut self, volume: VolumeId, read_only: bool) {
        let what = if read_only { ChangeKind::ReadOnly } else { ChangeKind::Writable };
        let number = self.causes.begin(volume, what);
        // Slow superblock writes, so that other operations overlap the change.
        if self.plan.faults && self.draw(2) == 0 {
            let (n, time) = (self.draw(3), 20_000_000 + self.draw(200_000_000));
            self.world.fail(n, Fault::Stall(time));
        }
        let result =
            self.requester.ask(self.plan.owner_of(volume), SetReadOnly { volume, read_only });
        match result.await {
            Ok(_) => {
                self.causes.end_done(number);
                self.count(if read_only { "made read-only" } else { "made writable" });
            }
            Err(OrderError::State(volume::StateError::Failed(_))) => {
                self.causes.end_unknown(number);
            }
            Err(_) => self.causes.end_refused(number),
        }
    }

    /// Asks for a scrub, which goes on while the next changes are made.
    async fn scrub(&mut self, volume: VolumeId) {
        let owner = self.plan.owner_of(volume);
        if self.requester.ask(owner, ScrubVolume { volume }).await.is_ok() {
            self.count("scrubs asked for");
        }
    }

    /// Scrubs all volumes, one after the other, and asserts that nothing is wrong in them but what is known
    /// to be damaged: all of it, if it matters. `unreadable` are the objects that cannot be read. There must
    /// have been no fault in this life.
    pub async fn scrub_all(self, unreadable: Vec<Name>) {
        for volume in self.causes.present() {
            let owner = self.plan.owner_of(volume);
            let board = self.metrics.board.volume(volume).expect("it is present");
            let passes = board.scrub.passes.get();
            match self.requester.ask(owner, ScrubVolume { volume }).await {
                Ok(()) => {}
                // Its files cannot be told apart, or none can be used.
                Err(OrderError::NotOpened(_)) => continue,
                Err(error) => panic!("volume {volume} is not scrubbed: {error}"),
            }
            let deadline = self.handle.now() + 3600 * SECOND;
            while board.scrub.passes.get() == passes {
                assert!(self.handle.now() < deadline, "the scrub of volume {volume} does not end");
                self.handle.sleep_until(self.handle.now() + SECOND / 10).await;
            }
            let damage = self.requester.ask(owner, ListDamage { volume }).await;
            let damage = damage.unwrap_or_else(|error| panic!("volume {volume}: {error}"));
            let file = self.monitor.current(volume).expect("an open file");
            let found = self.causes.damages.check_found(file, &damage, &unreadable);
            let is_compared = board.scrub.is_index_compared.get() == 1;
            assert!(
                is_compared || self.causes.is_blind(volume),
                "the index of volume {volume} was not compared"
            );
            let what =
                if found > 0 { "volumes with damage found" } else { "volumes without damage" };
            self.count(what);
        }
    }

    async fn fence(&mut self, volume: VolumeId) {
        let number = self.causes.begin(volume, ChangeKind::Fence);
        let current = self.monitor.current(volume).map_or(0, |file| file.generation);
        // At times the loss of a file is reported that is no longer the current one.
        let is_late = current > 0 && self.draw(3) == 0;
        let order = FenceVolume { volume, generation: current - u64::from(is_late) };
        match self.requester.ask(self.plan.owner_of(volume), order).await {
            Ok(Some(_)) => {
                assert!(!is_late, "volume {volume} was fenced for the loss of an old file");
                self.causes.end_unknown(number);
                self.count("volumes lost");
            }
            Ok(None) => {
                self.causes.end_void(number);
                self.count("losses of old files");
            }
            Err(_) => self.causes.end_unknown(number),
        }
    }

    fn unplug(&mut self, volume: VolumeId) {
        let number = self.causes.begin(volume, ChangeKind::Unplug);
        for dir in 0..files::DIRECTORIES.len() {
            let file = VolumeFile { volume, generation: 0, dir: u32::try_from(dir).unwrap() };
            self.world.unplug(file.name().trim_end_matches("0.vol"));
        }
        self.causes.end_unknown(number);
        self.count("disks pulled out");
    }

    async fn delete(&mut self, volume: VolumeId) {
        if !self.causes.may_delete() {
            return;
        }
        let called = self.handle.now();
        let unknown =
            Event { called, answered: u64::MAX, action: Action::Wipe, answer: Answer::Unknown };
        self.seen.borrow_mut().wipe(volume, unknown);
        let number = self.causes.begin(volume, ChangeKind::Delete);
        let result = self.requester.ask(self.plan.owner_of(volume), DeleteVolume { volume }).await;
        let answered = self.handle.now();
        match result {
            Ok(_) => {
                let done = Event { answered, answer: Answer::Deleted, ..unknown };
                self.seen.borrow_mut().wipe(volume, done);
                self.route(volume, None).await;
                self.causes.retire(self.metrics.remove_volume(volume));
                self.causes.end_done(number);
                self.count("volumes deleted");
            }
            // The next start may not find it.
            Err(OrderError::NotRemoved(NotRemoved::Nameless(_))) => self.causes.end_unknown(number),
            Err(_) => {
                let refused = Event { answered, answer: Answer::Refused, ..unknown };
                self.seen.borrow_mut().wipe(volume, refused);
                self.causes.end_refused(number);
            }
        }
    }

    async fn create(&mut self, volume: VolumeId) {
        let names = self.world.names();
        let mut beside = names.iter().filter_map(|name| VolumeFile::beside(name));
        if beside.any(|file| file.volume == volume) {
            // The control plane refuses an id of which any file is there.
            return;
        }
        let number = self.causes.begin(volume, ChangeKind::Create);
        let superblock = superblock(volume, self.plan.size, self.draw(u64::MAX));
        let preallocation = Preallocation::Reserve;
        let made = volume::create(&self.handle, DirId(0), &superblock, preallocation, |_| ()).await;
        if made.is_err() {
            // The next start finds what exists.
            return self.causes.end_unknown(number);
        }
        let file = VolumeFile { volume, generation: 0, dir: 0 };
        let assignment = assignment(&self.plan, &self.metrics, &[file], true);
        let opened = self.requester.ask(self.plan.owner_of(volume), OpenVolume(assignment)).await;
        self.route(volume, Some(self.plan.owner_of(volume))).await;
        self.causes.end_done(number);
        if opened.is_ok() {
            self.count("volumes created");
        }
    }

    async fn route(&self, volume: VolumeId, owner: Option<ShardId>) {
        for shard in ShardId::all(self.plan.shards) {
            self.requester.ask(shard, SetRoute { volume, owner }).await;
        }
    }
}
