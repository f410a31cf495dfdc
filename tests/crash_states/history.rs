//! Runs histories, and remembers each moment at which the power may fail.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::base::limits::{BLOCK, LOG_START, TRAILER};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::disk::{Disk, Wreck};
use hayloft::volume::{NewNeedle, Volume};

use super::model::{Action, BODIES, IDS, Model, effect, value_bytes};
use crate::common::{COOKIE, ON_DEMAND, Process, draft, upload};

/// A moment at which the power may fail.
pub struct CrashPoint {
    pub wreck: Wreck,
    pub model: Model,
}

fn act(process: &Process, volume: &Rc<Volume>, model: &Rc<RefCell<Model>>, n: u64, action: Action) {
    let handle = process.runtime.handle().clone();
    let (volume, model) = (Rc::clone(volume), Rc::clone(model));
    let effect = effect(n, action);
    model.borrow_mut().under_way.push((n, effect.clone()));
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
            Action::Batch(_) | Action::BatchBody => volume.put_batch(needles, None).await.is_ok(),
            _ => {
                let NewNeedle { id, cookie, draft } = needles.remove(0);
                volume.put(id, cookie, draft, None).await.is_ok()
            }
        };
        model.borrow_mut().settle(n, done);
    });
}

/// Makes one while other things happen.
fn checkpoint(process: &Process, volume: &Rc<Volume>) {
    let volume = Rc::clone(volume);
    process.runtime.handle().spawn(async move {
        volume.checkpoint().await.unwrap();
    });
}

fn idle(process: &mut Process, ns: u64) {
    let handle = process.runtime.handle().clone();
    process.run(async move { handle.sleep_until(handle.now() + ns).await });
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Course {
    /// Both ids hold something already.
    pub preset: bool,
    /// The operations overlap.
    pub at_once: bool,
    /// A second of idleness follows, in which a tail hint is written.
    pub wait: bool,
    /// The volume has room for large bodies.
    pub large: bool,
    /// On unwritten extents.
    pub unwritten: bool,
    /// Checkpoints are made meanwhile.
    pub checkpoints: bool,
    /// Size of the log (blocks of 4 KiB): small, so that histories reach its end.
    pub blocks: Option<u64>,
    /// Decides, with the rest, in which order things happen that may happen in any.
    pub round: u64,
}

impl Course {
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
/// For histories with large bodies.
const LARGE_SIZE: u64 = 416 * 1024;

/// What the first ids hold when they hold something already.
const PRESET: [u64; 2] = [6, 7];

/// Runs a history and collects its crash points.
pub fn run_history(history: &[Action], course: Course, pool: &Pool) -> Vec<CrashPoint> {
    let mut disk = Disk::default();
    if course.unwritten {
        disk = disk.with_unwritten_extents();
    }
    let seed = 7 + 1000 * course.round;
    let mut process = Process::start_in(World::with_disk(seed, disk), seed, pool);
    if course.at_once {
        process.runtime.shuffle(41 + course.round);
    }
    process.create(course.size());
    process.checkpoints = course.checkpoints.then_some(ON_DEMAND);
    let volume = process.open().unwrap();
    let model = Rc::new(RefCell::new(Model::default()));
    if course.preset {
        for (n, value) in PRESET.into_iter().enumerate() {
            process.put(&volume, IDS[n], value_bytes(value)).unwrap();
            model.borrow_mut().settled[n] = Some(value);
        }
        if course.checkpoints {
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
        act(&process, &volume, &model, n as u64 + 1, *action);
        if course.checkpoints && n == 0 {
            checkpoint(&process, &volume);
        }
        if !course.at_once {
            idle(&mut process, 5_000_000);
        }
    }
    if course.checkpoints {
        idle(&mut process, 50_000_000);
    }
    idle(&mut process, if course.wait { 1_500_000_000 } else { 5_000_000 });
    process.close(&volume);
    drop(process);
    points.take()
}
