//! Compacts volumes again and again, and records the phases.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use faultdisk::random::split_mix;
use hayloft::commands::client::Body;
use hayloft::http::head::Method;

use super::phase::{Phase, Timeline};
use super::volume_state::VolumeState;
use crate::daemon::Setup;
use crate::history::Generation;
use crate::http::{ask, client};
use crate::load::Clock;

/// Timeout of one compaction.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks at the phase.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// Pause after a compaction was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// Reason of a compaction that does not catch up with the writes.
const GIVEN_UP: &str = "writes arrive faster than they can be copied";

/// What the operator did so far.
#[derive(Clone, Debug, Default)]
pub struct Compactions {
    /// Phases, by moment.
    pub timeline: Timeline,
    /// Completed compactions with what they made.
    pub done: Vec<Generation>,
    /// Number of these that moved the volume to another data directory.
    pub moved: u64,
    /// Number of these that changed the size of the file.
    pub resized: u64,
    /// Cancelled compactions.
    pub cancelled: u64,
    /// Refused orders.
    pub refused: u64,
    /// Compactions that gave up, because the load writes faster than they copy.
    pub given_up: u64,
    /// Compactions that failed, and answers that were not expected.
    pub failed: Vec<String>,
    /// Compactions that were shown as cancelled or failed, although the new file counts.
    pub contradictions: Vec<String>,
}

impl Compactions {
    /// Counts in words.
    pub fn text(&self) -> String {
        let Self { done, moved, resized, cancelled, refused, given_up, .. } = self;
        format!(
            "{} compactions, {moved} of them moves and {resized} with another size, {cancelled} cancelled, \
             {refused} refused, {given_up} given up",
            done.len()
        )
    }
}

/// An order to compact a volume.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    /// Size of the new file (MiB).
    size_mib: Option<u64>,
    /// Position of its data directory.
    disk: Option<u64>,
    /// Whether it is cancelled soon.
    is_cancelled: bool,
}

impl Order {
    fn json(self) -> String {
        let size = self.size_mib.map(|size| format!("\"size\": \"{size}MiB\""));
        let disk = self.disk.map(|disk| format!("\"disk\": {disk}"));
        let fields: Vec<String> = size.into_iter().chain(disk).collect();
        format!("{{{}}}", fields.join(", "))
    }
}

/// A running operator.
pub struct Operator {
    thread: JoinHandle<std::io::Result<()>>,
    stop: Arc<AtomicBool>,
    compactions: Arc<Mutex<Compactions>>,
}

fn locked(compactions: &Mutex<Compactions>) -> MutexGuard<'_, Compactions> {
    compactions.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Operator {
    /// Starts to compact the volumes of the daemon whose admin API is at `admin`.
    pub fn start(admin: SocketAddr, setup: &Setup, seed: u64, clock: Clock) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let compactions = Arc::new(Mutex::new(Compactions::default()));
        let worker = Worker {
            setup: setup.clone(),
            seed,
            clock,
            stop: Arc::clone(&stop),
            compactions: Arc::clone(&compactions),
        };
        let thread = std::thread::spawn(move || worker.run(admin));
        Self { thread, stop, compactions }
    }

    /// Phase that was seen last.
    pub fn phase(&self) -> Phase {
        locked(&self.compactions).timeline.at(u64::MAX)
    }

    /// Number of completed compactions.
    pub fn completed(&self) -> usize {
        locked(&self.compactions).done.len()
    }

    /// Stops after the present compaction; returns what was done.
    pub fn finish(self) -> Compactions {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join().expect("the operator panicked");
        let mut compactions = std::mem::take(&mut *locked(&self.compactions));
        // It ends when the daemon is gone, which is the purpose of some trials.
        compactions.failed.extend(ended.err().map(|error| format!("the operator ended: {error}")));
        compactions
    }
}

struct Worker {
    setup: Setup,
    seed: u64,
    clock: Clock,
    stop: Arc<AtomicBool>,
    compactions: Arc<Mutex<Compactions>>,
}

impl Worker {
    fn run(mut self, admin: SocketAddr) -> std::io::Result<()> {
        for volume in self.setup.volumes().into_iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let before = VolumeState::get(admin, volume)?;
            let order = self.order(&before);
            self.compact(admin, volume, order, &before)?;
            std::thread::sleep(Duration::from_millis(split_mix(&mut self.seed) % 20));
        }
        Ok(())
    }

    /// Draws an order. Half of them move the volume if there is another data directory.
    fn order(&mut self, before: &VolumeState) -> Order {
        let mut draw = |n| split_mix(&mut self.seed) % n;
        let sizes = [self.setup.volume_mib, self.setup.large_mib()];
        let size = sizes[draw(2) as usize];
        let other = (before.disk + 1) % u64::from(self.setup.data_dirs);
        Order {
            size_mib: (draw(4) == 0).then_some(size),
            disk: (draw(2) == 0).then_some(other),
            is_cancelled: draw(16) == 0,
        }
    }

    /// Runs one compaction to its end.
    fn compact(
        &mut self,
        admin: SocketAddr,
        volume: u32,
        order: Order,
        before: &VolumeState,
    ) -> std::io::Result<()> {
        let path = format!("/volumes/{volume}/compact");
        let body = order.json();
        let reply = ask(&client(admin), Method::Post, &path, Body::Bytes(body.as_bytes()))?;
        match reply.status {
            202 => {}
            409 | 507 => {
                locked(&self.compactions).refused += 1;
                std::thread::sleep(REFUSED_PAUSE);
                return Ok(());
            }
            status => {
                let text =
                    format!("compaction of volume {volume}: {status} {}", reply.text().trim());
                locked(&self.compactions).failed.push(text);
                std::thread::sleep(REFUSED_PAUSE);
                return Ok(());
            }
        }
        if order.is_cancelled {
            std::thread::sleep(Duration::from_millis(split_mix(&mut self.seed) % 50));
            let path = format!("/volumes/{volume}/cancel-compaction");
            ask(&client(admin), Method::Post, &path, Body::None)?;
        }
        let deadline = Instant::now() + TIMEOUT;
        let after = loop {
            let state = VolumeState::get(admin, volume)?;
            locked(&self.compactions).timeline.see((self.clock)(), state.phase);
            if state.compactions > before.compactions {
                break state;
            }
            if Instant::now() > deadline {
                let text = format!("a compaction of volume {volume} takes longer than {TIMEOUT:?}");
                return Err(std::io::Error::other(text));
            }
            std::thread::sleep(LOOK_EVERY);
        };
        self.ended(volume, order, before, &after);
        Ok(())
    }

    fn ended(&mut self, volume: u32, order: Order, before: &VolumeState, after: &VolumeState) {
        let now = (self.clock)();
        let mut compactions = locked(&self.compactions);
        compactions.timeline.see(now, Phase::None);
        let Some(last) = &after.last else { return };
        if last.outcome != "done" && after.generation != before.generation {
            let (outcome, generation) = (&last.outcome, after.generation);
            let text = format!("volume {volume}: {outcome}, but generation {generation} serves");
            compactions.contradictions.push(text);
        }
        match last.outcome.as_str() {
            "done" => {
                let generation = after.generation;
                compactions.done.push(Generation { volume, generation, acknowledged: now });
                let is_moved = order.disk.is_some_and(|disk| disk != before.disk);
                compactions.moved += u64::from(is_moved);
                compactions.resized += u64::from(order.size_mib.is_some());
            }
            "cancelled" => compactions.cancelled += 1,
            "failed" if last.reason == GIVEN_UP => compactions.given_up += 1,
            outcome => compactions.failed.push(format!(
                "compaction of volume {volume} ({order:?}): {outcome}: {}",
                last.reason
            )),
        }
    }
}
