//! Shutdown of the file system under load: unwritten data is lost, and every further operation fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use faultdisk::Disk;
use faultdisk::overlay::Overlay;
use faultdisk::random::split_mix;
use faultdisk::xfs::{Loop, command, make_image};

use crate::daemon::{Daemon, Setup};
use crate::error::Error;
use crate::findings::Findings;
use crate::history::{History, Version};
use crate::load::Load;
use crate::test_bed::{image_len, make_volume};
use crate::verify::verify;

/// Timeout for a daemon to notice that every operation fails, and to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs one trial in an empty directory. With `flush`, the shutdown writes the log of XFS first.
pub fn round(setup: &Setup, dir: &Path, flush: bool, seed: &mut u64) -> Result<Findings, Error> {
    let image = dir.join("image");
    make_image(&image, image_len(setup))?;
    let disk = Disk::serve(Overlay::new(&image)?, &dir.join("fuse"))?;
    let mount = Loop::attach(disk.path())?.mount(&dir.join("xfs"))?;
    let (data, log) = (mount.path().join("data"), dir.join("daemon.log"));
    let mut daemon = Daemon::start(setup, &data, &log)?;
    let mut history = History { volumes: vec![(1, 0)], ..History::default() };
    for volume in setup.volumes().into_iter().skip(1) {
        make_volume(&daemon, volume, setup.volume_mib)?;
        history.volumes.push((volume, 0));
    }
    // Logical clock: 0 before the shutdown, 1 after it.
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let load = Load::start(
        daemon.data,
        &setup.volumes(),
        split_mix(seed),
        Arc::new(move || clock.load(Ordering::SeqCst)),
    );
    std::thread::sleep(Duration::from_millis(200 + split_mix(seed) % 500));
    let how = if flush { "shutdown -f" } else { "shutdown" };
    command("xfs_io", "xfsprogs", |c| c.args(["-x", "-c", how]).arg(mount.path()))?;
    time.store(1, Ordering::SeqCst);
    let mut findings = Findings::default();
    match daemon.wait(EXIT_TIMEOUT) {
        Some(status) if status.code() == Some(1) => {}
        Some(status) => {
            findings.trouble.push(format!("exit status {status} instead of exit code 1"))
        }
        None => findings.trouble.push(format!(
            "the daemon still runs {EXIT_TIMEOUT:?} after the shutdown of the file system:\n{}",
            daemon.log_tail()
        )),
    }
    let written = load.finish();
    drop(daemon);
    findings.trouble.extend(written.trouble);
    for group in &written.groups {
        let late = |version: &&Version| {
            version.sent > 0 && version.acknowledged.is_some() && version.seed.is_some()
        };
        if let Some(late) = group.versions.iter().find(late) {
            let text = format!(
                "{}: {late:?} was sent after the shutdown and acknowledged",
                group.paths[0]
            );
            findings.trouble.push(text);
        }
    }
    if written.acknowledged < 20 {
        return Err(Error::Idle(format!("{} writes before a shutdown", written.acknowledged)));
    }
    (history.groups, history.full) = (written.groups, written.full);
    let mount = mount.unmount()?.mount(&dir.join("xfs"))?;
    let after = verify(setup, &data, &log, &history, u64::MAX)?;
    drop(mount);
    findings.checked = after.checked;
    findings.lost = after.lost;
    findings.wrong = after.wrong;
    findings.trouble.extend(after.trouble);
    Ok(findings)
}
