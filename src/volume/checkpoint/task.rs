//! The task that writes the checkpoints of a volume while it serves.

use std::rc::Rc;

use crate::runtime::Event;
use crate::volume::Volume;

/// Starts the checkpoint writer, if the volume has checkpoints and no writer is running.
pub fn start(volume: &Rc<Volume>) {
    let checkpoints = &volume.checkpoints;
    if checkpoints.policy.is_none() || checkpoints.writer.borrow().is_some() {
        return;
    }
    let ended = Rc::new(Event::new(&volume.handle));
    checkpoints.stop.set(false);
    checkpoints.writer.replace(Some(Rc::clone(&ended)));
    let volume = Rc::clone(volume);
    volume.handle.clone().spawn(async move {
        run(&volume).await;
        ended.set(());
    });
}

async fn run(volume: &Volume) {
    let (handle, checkpoints) = (&volume.handle, &volume.checkpoints);
    while !checkpoints.stop.get() {
        if !volume.may_checkpoint() || !checkpoints.is_due(volume.log.tail()) {
            checkpoints.work.wait().await;
            continue;
        }
        let not_before = checkpoints.not_before.get();
        if handle.now() < not_before {
            checkpoints.work.wait_until(not_before).await;
            continue;
        }
        // After an upgrade all volumes need a checkpoint at the same time.
        let (dir, stop) = (checkpoints.dir, &checkpoints.stop);
        let _turn = match &checkpoints.queue {
            Some(queue) => queue.next(dir, stop, &checkpoints.work).await,
            None => None,
        };
        if checkpoints.stop.get() {
            return;
        }
        let rate = checkpoints.policy.map_or(0, |policy| policy.rate);
        // The outcome was logged.
        let _ = volume.write_checkpoint(rate).await;
    }
}
