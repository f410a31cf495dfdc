//! The operator of a simulated node: changes the state of volumes, deletes, creates, fences and unplugs them.

use std::rc::Rc;
use std::sync::Arc;

use hayloft::base::types::{ShardId, VolumeId};
use hayloft::node::board::{VolumeInfo, VolumeState as Shown};
use hayloft::node::metrics::Metrics;
use hayloft::node::shard::{
    AssignedFile, Assignment, DeleteVolume, FenceVolume, OpenVolume, OrderError, Requester,
    SetReadOnly, SetRoute,
};
use hayloft::runtime::op::DirId;
use hayloft::runtime::sim::history::{Action, Answer, Event};
use hayloft::runtime::sim::{Fault, World};
use hayloft::runtime::{Handle, split_mix};
use hayloft::volume::{self, NotRemoved, Preallocation};

use super::causes::{Causes, ChangeKind};
use super::{Plan, SharedSeen, owner_of, superblock};

pub struct Operator {
    pub world: World,
    pub handle: Handle,
    pub metrics: Arc<Metrics>,
    pub requester: Rc<Requester>,
    pub causes: Rc<Causes>,
    pub seen: SharedSeen,
    pub plan: Plan,
    pub seed: u64,
}

/// A volume that a shard is to open.
pub fn assignment(plan: &Plan, metrics: &Metrics, id: VolumeId) -> Assignment {
    let shard = owner_of(plan, id);
    let info = VolumeInfo { id, shard, disk: 0, durable: true };
    let metrics = metrics.register_volume(info, Shown::Recovering);
    let file = AssignedFile { dir: "data".into(), disk: 0, expected: super::expected(plan, id) };
    Assignment { volume: id, files: vec![file], all_directories: true, metrics }
}

impl Operator {
    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    /// Makes `changes` random changes sequentially, with pauses.
    pub async fn work(mut self, changes: u64) {
        for _ in 0..changes {
            let pause = self.draw(100_000_000);
            self.handle.sleep_until(self.handle.now() + pause).await;
            let volume =
                VolumeId(1 + u32::try_from(self.draw(u64::from(self.plan.volumes))).unwrap());
            if !self.causes.present().contains(&volume) {
                if self.causes.may_create() {
                    self.create(volume).await;
                }
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
            self.requester.ask(owner_of(&self.plan, volume), SetReadOnly { volume, read_only });
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

    async fn fence(&mut self, volume: VolumeId) {
        let number = self.causes.begin(volume, ChangeKind::Fence);
        let order = FenceVolume { volume, generation: 0 };
        let result = self.requester.ask(owner_of(&self.plan, volume), order).await;
        self.causes.end_unknown(number);
        if result.is_ok() {
            self.count("volumes lost");
        }
    }

    fn unplug(&mut self, volume: VolumeId) {
        let number = self.causes.begin(volume, ChangeKind::Unplug);
        self.world.unplug(&format!("{volume}."));
        self.causes.end_unknown(number);
        self.count("disks pulled out");
    }

    async fn delete(&mut self, volume: VolumeId) {
        let called = self.handle.now();
        let unknown =
            Event { called, answered: u64::MAX, action: Action::Wipe, answer: Answer::Unknown };
        self.seen.borrow_mut().wipe(volume, unknown);
        let number = self.causes.begin(volume, ChangeKind::Delete);
        let result =
            self.requester.ask(owner_of(&self.plan, volume), DeleteVolume { volume }).await;
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
        let number = self.causes.begin(volume, ChangeKind::Create);
        let superblock = superblock(volume, self.plan.size, self.draw(u64::MAX));
        let preallocation = Preallocation::Reserve;
        let made = volume::create(&self.handle, DirId(0), &superblock, preallocation, |_| ()).await;
        if made.is_err() {
            // The next start finds what exists.
            return self.causes.end_unknown(number);
        }
        let assignment = assignment(&self.plan, &self.metrics, volume);
        let opened = self.requester.ask(owner_of(&self.plan, volume), OpenVolume(assignment)).await;
        self.route(volume, Some(owner_of(&self.plan, volume))).await;
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
