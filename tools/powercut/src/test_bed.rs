//! A recording device with a daemon on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use faultdisk::FaultDisk;
use faultdisk::xfs::{Loop, Mount, make_image};

use crate::daemon::{Daemon, Setup};
use crate::error::{Error, file};
use crate::history::History;
use crate::load::Clock;

/// Id and size (MiB) of a volume that is created under load.
pub const LATE_VOLUME: (u32, u64) = (9, 16);

/// Length of an image with space for the volumes (bytes). XFS requires at least 300 MiB.
pub fn image_len(setup: &Setup) -> u64 {
    let volumes = setup.volumes_mib() + LATE_VOLUME.1;
    (300 + volumes + volumes / 4) << 20
}

/// A recording device with a mounted XFS and a daemon on it.
pub struct TestBed {
    pub daemon: Daemon,
    pub mount: Mount,
    pub disk: FaultDisk,
    /// Image of the device before the log began.
    pub base: PathBuf,
    /// Log of the device.
    pub log: PathBuf,
    pub history: History,
}

impl TestBed {
    /// Sets everything up in an empty directory.
    pub fn set_up(setup: &Setup, dir: &Path) -> Result<Self, Error> {
        let (image, base) = (dir.join("image"), dir.join("base"));
        make_image(&image, image_len(setup))?;
        std::fs::copy(&image, &base).map_err(file("copy to", &base))?;
        let disk = FaultDisk::start(&image, dir)?;
        let mount = Loop::attach(disk.path())?.mount(&dir.join("xfs"))?;
        let daemon = Daemon::start(setup, mount.path(), &dir.join("daemon.log"))?;
        let mut history = History::default();
        // The daemon creates the first volume before it is ready.
        history.volumes.push((1, disk.device().done()));
        for volume in setup.volumes().into_iter().skip(1) {
            make_volume(&daemon, volume, setup.volume_mib)?;
            history.volumes.push((volume, disk.device().done()));
        }
        Ok(Self { daemon, mount, disk, base, log: dir.join("log"), history })
    }

    /// Logical clock of this device.
    pub fn clock(&self) -> Clock {
        let device = Arc::clone(self.disk.device());
        Arc::new(move || device.done())
    }
}

/// Creates a volume.
pub fn make_volume(daemon: &Daemon, volume: u32, size_mib: u64) -> Result<(), Error> {
    let order = format!("{{\"id\": {volume}, \"size\": \"{size_mib}MiB\"}}");
    daemon.post_to_admin("/volumes", &order)
}
