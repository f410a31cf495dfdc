//! Runs histories and records every event at which the power may fail.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::base::limits::{BLOCK, LOG_START, TRAILER};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::disk::{Disk, Wreck};
use hayloft::volume::{ClusterProperties, NewNeedle, Slot, Superblock};

use super::model::{Action, BODIES, IDS, Model, effect, value_bytes};
use crate::common::{COOKIE, ON_DEMAND, Process, draft, superblock, upload};

/// An event at which the power may fail.
pub struct CrashPoint {
    pub wreck: Wreck,
    pub model: Model,
}

fn start_action(
    process: &Process,
    volume: &Rc<Slot>,
    model: &Rc<RefCell<Model>>,
    n: u64,
    action: Action,
) {
    let handle = process.runtime.handle().clone();
    let (volume, model) = (Rc::clone(volume), Rc::clone(model));
    let effect = effect(n, action);
    model.borrow_mut().in_flight.push((n, effect.clone()));
    handle.clone().spawn(async move {
        let (mut uploads, mut needles) = (Vec::new(), Vec::new());
        for (id, value) in &effect {
            let Some(value) = *value else { continue };
            let (id, data) = (IDS[*id], value_bytes(value));
            let draft = if value >= BODIES {
                let (upload, draft) =
                    upload(&volume, handle.pool(), id, data, &[65_536]).await.unwrap();
                uploads.push(upload);
                draft
            } else {
                draft(handle.pool(), data)
            };
            needles.push(NewNeedle { id, cookie: COOKIE, draft });
        }
        let done = match action {
            Action::Delete(id) => volume.delete(IDS[id], COOKIE, None).await.is_ok(),
            Action::MultiDelete(count) => {
                let named: Vec<_> = IDS[..count].iter().map(|id| (*id, COOKIE)).collect();
                volume.delete_all(&named, None).await.is_ok()
            }
            Action::Batch(_) | Action::BatchBody => volume.put_batch(needles, None).await.is_ok(),
            _ => {
                let NewNeedle { id, cookie, draft } = needles.remove(0);
                volume.put(id, cookie, draft, None).await.is_ok()
            }
        };
        model.borrow_mut().settle(n, done);
    });
}

/// Starts a checkpoint in the background.
fn checkpoint(process: &Process, volume: &Rc<Slot>) {
    let volume = Rc::clone(volume);
    process.runtime.handle().spawn(async move {
        volume.volume().checkpoint().await.unwrap();
    });
}

fn idle(process: &mut Process, ns: u64) {
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + ns).await });
}

/// How a history is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variant {
    /// The first two ids hold values already.
    pub preset: bool,
    /// The operations overlap.
    pub concurrent: bool,
    /// A second of idleness follows, in which a tail hint is written.
    pub wait: bool,
    /// The volume has space for multipart objects.
    pub large: bool,
    /// The file consists of unwritten extents.
    pub unwritten: bool,
    /// Checkpoints are written meanwhile.
    pub checkpoints: bool,
    /// The volume belongs to a cluster: its needles have more attributes.
    pub cluster: bool,
    /// Size of the log (blocks of 4 KiB): small, so that histories reach its end.
    pub blocks: Option<u64>,
    /// Seed, together with the other fields, of the order of concurrent events.
    pub round: u64,
}

impl Variant {
    /// Length of the volume (bytes).
    fn size(self) -> u64 {
        match self.blocks {
            Some(blocks) => LOG_START + blocks * BLOCK + TRAILER,
            None if self.large => LARGE_SIZE,
            None => SIZE,
        }
    }
}

const SIZE: u64 = 124 * 1024;
/// Length for histories with multipart objects (bytes).
const LARGE_SIZE: u64 = 416 * 1024;

/// Values of the first ids with `preset`.
const PRESET: [u64; 2] = [6, 7];

/// Runs a history and collects its crash points.
pub fn run_history(history: &[Action], variant: Variant, pool: &Pool) -> Vec<CrashPoint> {
    let mut disk = Disk::default();
    if variant.unwritten {
        disk = disk.with_unwritten_extents();
    }
    let seed = 7 + 1000 * variant.round;
    let mut process = Process::start_in(World::with_disk(seed, disk), seed, pool);
    if variant.concurrent {
        process.runtime.shuffle(41 + variant.round);
    }
    let cluster = variant.cluster.then(ClusterProperties::default);
    process.create_as(Superblock { cluster, ..superblock(variant.size()) });
    process.checkpoints = variant.checkpoints.then_some(ON_DEMAND);
    let volume = process.open().unwrap();
    let model = Rc::new(RefCell::new(Model::default()));
    if variant.preset {
        for (n, value) in PRESET.into_iter().enumerate() {
            process.put(&volume, IDS[n], value_bytes(value)).unwrap();
            model.borrow_mut().settled[n] = Some(value);
        }
        if variant.checkpoints {
            checkpoint(&process, &volume);
            idle(&mut process, 50_000_000);
        }
    }
    let points = Rc::new(RefCell::new(Vec::new()));
    {
        let (model, points) = (Rc::clone(&model), Rc::clone(&points));
        process.world.on_event(move |snapshot| {
            let (wreck, model) = (snapshot.wreck().trimmed(), model.borrow().clone());
            points.borrow_mut().push(CrashPoint { wreck, model });
        });
    }
    for (n, action) in history.iter().enumerate() {
        start_action(&process, &volume, &model, n as u64 + 1, *action);
        if variant.checkpoints && n == 0 {
            checkpoint(&process, &volume);
        }
        if !variant.concurrent {
            idle(&mut process, 5_000_000);
        }
    }
    if variant.checkpoints {
        idle(&mut process, 50_000_000);
    }
    idle(&mut process, if variant.wait { 1_500_000_000 } else { 5_000_000 });
    process.close(&volume);
    drop(process);
    points.take()
}
