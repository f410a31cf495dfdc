//! A device that records nothing, with a daemon on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use faultdisk::Disk;
use faultdisk::overlay::Overlay;
use faultdisk::xfs::{Loop, Mount, command, make_image};

use crate::daemon::{Daemon, Setup};
use crate::error::Error;
use crate::findings::Findings;
use crate::history::{History, Version, WriteGroup};
use crate::test_bed::{image_len, make_volume};

/// Timeout for a daemon to notice that every operation fails, and to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// A device in memory with a mounted XFS and a daemon on it. Time is 0 before the end of the trial, 1 after
/// it.
pub struct PlainBed {
    pub daemon: Daemon,
    pub mount: Mount,
    /// Keeps the device.
    pub disk: Disk<Overlay>,
    /// Mount point.
    pub root: PathBuf,
    /// Log of the daemon.
    pub log: PathBuf,
    pub history: History,
}

impl PlainBed {
    /// Sets everything up in an empty directory.
    pub fn set_up(setup: &Setup, dir: &Path) -> Result<Self, Error> {
        let (image, root, log) = (dir.join("image"), dir.join("xfs"), dir.join("daemon.log"));
        make_image(&image, image_len(setup))?;
        let disk = Disk::serve(Overlay::new(&image)?, &dir.join("fuse"))?;
        let mount = Loop::attach(disk.path())?.mount(&root)?;
        let daemon = Daemon::start(setup, &root, &log)?;
        let mut history = History { volumes: vec![(1, 0)], ..History::default() };
        for volume in setup.volumes().into_iter().skip(1) {
            make_volume(&daemon, volume, setup.volume_mib)?;
            history.volumes.push((volume, 0));
        }
        Ok(Self { daemon, mount, disk, root, log, history })
    }

    /// Shuts XFS down. With `flush`, it writes its log first.
    pub fn shut_down(&self, flush: bool) -> Result<(), Error> {
        let how = if flush { "shutdown -f" } else { "shutdown" };
        command("xfs_io", "xfsprogs", |c| c.args(["-x", "-c", how]).arg(&self.root))?;
        Ok(())
    }

    /// Waits for the end of the daemon after a shutdown of XFS; it must have exit code 1.
    pub fn expect_exit(&mut self, findings: &mut Findings) {
        match self.daemon.wait(EXIT_TIMEOUT) {
            Some(status) if status.code() == Some(1) => {}
            Some(status) => {
                findings.trouble.push(format!("exit status {status} instead of exit code 1"));
            }
            None => findings.trouble.push(format!(
                "the daemon still runs {EXIT_TIMEOUT:?} after the shutdown of the file system:\n{}\n{}",
                self.daemon.log_tail(),
                self.daemon.volumes_text()
            )),
        }
    }
}

/// Violations of a load in which something was acknowledged that was sent after the shutdown.
pub fn late_acknowledgements(groups: &[WriteGroup]) -> Vec<String> {
    let late = |version: &&Version| {
        version.sent > 0 && version.acknowledged.is_some() && version.seed.is_some()
    };
    let found = groups.iter().filter_map(|group| {
        let late = group.versions.iter().find(late)?;
        let path = &group.paths[0];
        Some(format!("{path}: {late:?} was sent after the shutdown and acknowledged"))
    });
    found.collect()
}
