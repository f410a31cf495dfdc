//! Shutdown of the file system under load: unwritten data is lost, and every further operation fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use faultdisk::random::split_mix;

use crate::daemon::Setup;
use crate::error::Error;
use crate::findings::Findings;
use crate::load::Load;
use crate::plain_bed::{PlainBed, late_acknowledgements};
use crate::verify::verify;

/// Runs one trial in an empty directory. With `flush`, the shutdown writes the log of XFS first.
pub fn round(setup: &Setup, dir: &Path, flush: bool, seed: &mut u64) -> Result<Findings, Error> {
    let mut bed = PlainBed::set_up(setup, dir)?;
    // Logical clock: 0 before the shutdown, 1 after it.
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let load = Load::start(
        bed.daemon.data,
        setup,
        split_mix(seed),
        Arc::new(move || clock.load(Ordering::SeqCst)),
    );
    std::thread::sleep(Duration::from_millis(200 + split_mix(seed) % 500));
    bed.shut_down(flush)?;
    time.store(1, Ordering::SeqCst);
    let mut findings = Findings::default();
    bed.expect_exit(&mut findings);
    let written = load.finish();
    let PlainBed { daemon, mount, disk, root, log, mut history } = bed;
    drop(daemon);
    findings.trouble.extend(written.trouble);
    findings.trouble.extend(late_acknowledgements(&written.groups));
    if written.acknowledged < 20 {
        return Err(Error::Idle(format!("{} writes before a shutdown", written.acknowledged)));
    }
    (history.groups, history.full) = (written.groups, written.full);
    let mount = mount.unmount()?.mount(&root)?;
    let after = verify(setup, &root, &log, &history, u64::MAX)?;
    drop(mount);
    drop(disk);
    findings.add(after);
    Ok(findings)
}
