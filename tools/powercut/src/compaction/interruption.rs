//! SIGKILL, or a shutdown of XFS, during a compaction.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faultdisk::random::split_mix;

use super::operator::Operator;
use super::phase::Phase;
use super::slow_uploads::SlowUploads;
use crate::daemon::Setup;
use crate::error::Error;
use crate::findings::Findings;
use crate::load::{Clock, Load};
use crate::plain_bed::{PlainBed, late_acknowledgements};
use crate::verify::verify;

/// Timeout for the first compaction, and for the phase in which a trial ends.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How a trial ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The daemon is killed.
    Kill,
    /// XFS is shut down, and what it had not written is lost.
    Shutdown {
        /// Whether XFS writes its log first.
        flush: bool,
    },
}

/// Runs one trial in an empty directory: it ends in the phase `wanted`, or at any time. Returns the phase in
/// which it did.
pub fn round(
    setup: &Setup,
    dir: &Path,
    interruption: Interruption,
    wanted: Option<Phase>,
    seed: &mut u64,
) -> Result<(Findings, Phase), Error> {
    let mut bed = PlainBed::set_up(setup, dir)?;
    let time = Arc::new(AtomicU64::new(0));
    let clock_of = Arc::clone(&time);
    let clock: Clock = Arc::new(move || clock_of.load(Ordering::SeqCst));
    let (data, admin) = (bed.daemon.data, bed.daemon.admin);
    let load = Load::start(data, setup, split_mix(seed), Arc::clone(&clock));
    let uploads = SlowUploads::start(data, &setup.volumes(), split_mix(seed), &clock);
    let operator = Operator::start(admin, setup, split_mix(seed), clock);
    wait_until(|| operator.completed() > 0);
    std::thread::sleep(Duration::from_millis(split_mix(seed) % 400));
    if let Some(wanted) = wanted {
        wait_until(|| operator.phase() == wanted);
        std::thread::sleep(Duration::from_micros(split_mix(seed) % 3000));
    }
    let phase = operator.phase();
    let mut findings = Findings::default();
    if let Interruption::Shutdown { flush } = interruption {
        bed.shut_down(flush)?;
        time.store(1, Ordering::SeqCst);
        bed.expect_exit(&mut findings);
    }
    let PlainBed { daemon, mount, disk, root, log, mut history } = bed;
    daemon.kill();
    time.store(1, Ordering::SeqCst);
    let (written, slow, compactions) = (load.finish(), uploads.finish(), operator.finish());
    findings.trouble.extend(written.trouble);
    findings.trouble.extend(compactions.contradictions);
    findings.trouble.extend(late_acknowledgements(&written.groups));
    findings.trouble.extend(late_acknowledgements(&slow));
    if written.acknowledged < 20 || compactions.done.is_empty() {
        let done = compactions.done.len();
        let text = format!("{} writes, {done} compactions", written.acknowledged);
        return Err(Error::Idle(text));
    }
    (history.groups, history.full) = (written.groups, written.full);
    history.groups.extend(slow);
    history.generations = compactions.done;
    let mount = match interruption {
        Interruption::Kill => mount,
        Interruption::Shutdown { .. } => mount.unmount()?.mount(&root)?,
    };
    findings.add(verify(setup, &root, &log, &history, u64::MAX)?);
    drop(mount);
    drop(disk);
    Ok((findings, phase))
}

fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(100));
    }
}
