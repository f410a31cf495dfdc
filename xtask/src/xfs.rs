//! An XFS of our own, on a loop device with direct I/O: without that, "direct" I/O on it would be
//! served from the page cache of the file behind it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Failed, run};

/// A mounted XFS; unmounted and removed when dropped.
pub struct Xfs {
    image: PathBuf,
    device: String,
    mount: PathBuf,
}

impl Xfs {
    /// Makes one of `len` bytes below `dir`.
    ///
    /// # Errors
    /// What failed.
    pub fn mount(dir: &Path, len: u64) -> Result<Self, Failed> {
        Self::mount_on(dir, |image| {
            run(Command::new("fallocate").args(["-l", &len.to_string()]).arg(image))
        })
    }

    /// The same, on a file all of whose blocks were written: on one that was only reserved, the first write
    /// to a block makes the file system below note something at the next flush, which no real device does.
    ///
    /// # Errors
    /// What failed.
    pub fn mount_written(dir: &Path, len: u64) -> Result<Self, Failed> {
        Self::mount_on(dir, |image| {
            let mut dd = Command::new("dd");
            dd.args(["if=/dev/zero", "bs=4M", "oflag=direct", "conv=fsync", "status=none"]);
            dd.arg(format!("count={}", len >> 22)).arg(format!("of={}", image.display()));
            run(&mut dd)
        })
    }

    fn mount_on(
        dir: &Path,
        make_image: impl FnOnce(&Path) -> Result<(), Failed>,
    ) -> Result<Self, Failed> {
        let (image, mount) = (dir.join("xfs.img"), dir.join("xfs"));
        std::fs::create_dir_all(&mount).map_err(|error| failed("make the mount point", &error))?;
        make_image(&image)?;
        run(Command::new("mkfs.xfs").args(["-q", "-f", "-K"]).arg(&image))?;
        let attached = Command::new("losetup")
            .args(["--find", "--show", "--direct-io=on"])
            .arg(&image)
            .output()
            .map_err(|error| failed("run losetup", &error))?;
        if !attached.status.success() {
            let why = String::from_utf8_lossy(&attached.stderr).into_owned();
            return Err(Failed(format!("losetup failed: {why}")));
        }
        let device = String::from_utf8_lossy(&attached.stdout).trim().to_owned();
        let xfs = Self { image, device, mount };
        xfs.check_direct()?;
        run(Command::new("mount").args(["-o", "noatime"]).arg(&xfs.device).arg(&xfs.mount))?;
        Ok(xfs)
    }

    fn check_direct(&self) -> Result<(), Failed> {
        let name = self.device.trim_start_matches("/dev/");
        let flag = std::fs::read_to_string(format!("/sys/block/{name}/loop/dio"))
            .map_err(|error| failed("read the loop device's dio flag", &error))?;
        if flag.trim() == "1" {
            return Ok(());
        }
        Err(Failed(format!("{} does no direct I/O on the file behind it", self.device)))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }
}

fn failed(what: &str, error: &std::io::Error) -> Failed {
    Failed(format!("cannot {what}: {error}"))
}

impl Drop for Xfs {
    fn drop(&mut self) {
        // A ring that is being torn down may keep files open for some milliseconds.
        for _ in 0..50 {
            let unmounted = Command::new("umount").arg(&self.mount).output();
            if unmounted.is_ok_and(|done| done.status.success()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
        let _ = std::fs::remove_file(&self.image);
    }
}
