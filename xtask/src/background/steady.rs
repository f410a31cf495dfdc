//! Background work on a volume, again and again, during a block.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::admin::Admin;
use super::work::{Look, Work};
use crate::process::Failed;

/// Interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Longest wait for the work to begin.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What was done during a block.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// Part of the time in which the work was under way, 0 to 1.
    pub share: f64,
    /// Number of times that it ended.
    pub ended: u64,
    /// Bytes per second that it read, or skipped.
    pub rate: f64,
}

/// Runs `block` while the work is done on a volume again and again; ends it afterwards.
///
/// # Errors
/// When the block or the work fails.
pub fn while_working<T>(
    work: Work,
    (admin, volume): (Admin, u32),
    block: impl FnOnce() -> Result<T, Failed>,
) -> Result<(T, Steady), Failed> {
    let stop = AtomicBool::new(false);
    let runs = AtomicBool::new(false);
    thread::scope(|scope| {
        let keeper = scope.spawn(|| {
            let kept = keep(work, (admin, volume), (&runs, &stop));
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
        work.end(admin, volume)?;
        Ok((done?, kept?))
    })
}

fn keep(
    work: Work,
    (admin, id): (Admin, u32),
    (runs, stop): (&AtomicBool, &AtomicBool),
) -> Result<Steady, Failed> {
    let before = work.look(admin, id)?.ended;
    work.begin(admin, id)?;
    let (mut polls, mut running, mut read, mut last) = (0_u64, 0_u64, 0_u64, (0, 0));
    let (mut began, mut ended) = (None, 0);
    loop {
        let look = work.look(admin, id)?;
        match look {
            Look { running: Some(Some(done)), ended } => {
                began.get_or_insert_with(Instant::now);
                runs.store(true, Ordering::Relaxed);
                running += 1;
                if last.0 == ended {
                    read += done.saturating_sub(last.1);
                }
                last = (ended, done);
            }
            Look { running: Some(None), .. } => {}
            Look { running: None, .. } => {
                ended = look.ended - before;
                work.begin(admin, id)?;
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
