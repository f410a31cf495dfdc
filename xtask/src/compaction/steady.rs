//! Compactions of a volume, one after the other, during a block.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::admin::Admin;
use crate::process::Failed;

/// Interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Phases in which a compaction neither reads nor writes.
const IDLE_PHASE: &str = "waiting";
/// Longest wait for the first compaction to run.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What was compacted during a block.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// Part of the time in which a compaction ran, 0 to 1.
    pub share: f64,
    /// Number of compactions that ended.
    pub ended: u64,
    /// Bytes per second that were read of old files.
    pub rate: f64,
}

/// Runs `block` while a volume is compacted again and again; cancels the last compaction.
///
/// # Errors
/// When the block or a compaction fails.
pub fn while_compacting<T>(
    (admin, volume): (Admin, u32),
    block: impl FnOnce() -> Result<T, Failed>,
) -> Result<(T, Steady), Failed> {
    let stop = AtomicBool::new(false);
    let runs = AtomicBool::new(false);
    thread::scope(|scope| {
        let keeper = scope.spawn(|| {
            let kept = keep(admin, volume, (&runs, &stop));
            // The block is not kept waiting by a failure.
            runs.store(true, Ordering::Relaxed);
            kept
        });
        let began = Instant::now();
        while !runs.load(Ordering::Relaxed) && began.elapsed() < BEGIN_TIMEOUT {
            sleep(POLL_INTERVAL);
        }
        let done = block();
        stop.store(true, Ordering::Relaxed);
        let kept = keeper.join().expect("the keeper does not panic");
        admin.cancel(volume)?;
        Ok((done?, kept?))
    })
}

fn keep(admin: Admin, id: u32, (runs, stop): (&AtomicBool, &AtomicBool)) -> Result<Steady, Failed> {
    let before = admin.volume(id)?.compactions;
    admin.begin(id)?;
    let (mut polls, mut running, mut read, mut last) = (0_u64, 0_u64, 0_u64, (0, 0));
    let mut began = None;
    let mut ended = 0;
    loop {
        let volume = admin.volume(id)?;
        match &volume.compaction {
            Some(compaction) if compaction.phase != IDLE_PHASE => {
                began.get_or_insert_with(Instant::now);
                runs.store(true, Ordering::Relaxed);
                running += 1;
                if last.0 == volume.compactions {
                    read += compaction.read.saturating_sub(last.1);
                }
                last = (volume.compactions, compaction.read);
            }
            Some(_) => {}
            None => {
                ended = volume.compactions - before;
                super::admin::done(volume.last_compaction)?;
                admin.begin(id)?;
            }
        }
        polls += u64::from(began.is_some());
        if stop.load(Ordering::Relaxed) {
            break;
        }
        sleep(POLL_INTERVAL);
    }
    let seconds = began.map_or(f64::INFINITY, |began| began.elapsed().as_secs_f64());
    let share = running as f64 / polls.max(1) as f64;
    Ok(Steady { share, ended, rate: read as f64 / seconds })
}
