//! A temporary XFS on a loop device with direct I/O: without it, direct I/O on the XFS would be served from
//! the page cache of the image file.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, run};

/// A mounted XFS; unmounted and removed on drop.
pub struct Xfs {
    image: PathBuf,
    /// Loop device, once attached.
    device: Option<String>,
    mount: PathBuf,
    is_mounted: bool,
}

impl Xfs {
    /// Creates an XFS of `len` bytes on a preallocated image below `dir`, and mounts it.
    ///
    /// # Errors
    /// When it cannot be created or mounted.
    pub fn mount(dir: &Path, len: u64) -> Result<Self, Failed> {
        Self::mount_on(dir, |image| {
            run(Command::new("fallocate").args(["-l", &len.to_string()]).arg(image))
        })
    }

    /// Like [`Self::mount`], with an image of written blocks. With merely preallocated blocks, the first
    /// write to each makes the file system below update metadata at the next flush, unlike a real device.
    ///
    /// # Errors
    /// When it cannot be created or mounted.
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
        std::fs::create_dir_all(&mount)
            .map_err(|error| failed("create the mount point", &error))?;
        // From here on Drop cleans up after any failure.
        let mut xfs = Self { image, device: None, mount, is_mounted: false };
        make_image(&xfs.image)?;
        run(Command::new("mkfs.xfs").args(["-q", "-f", "-K"]).arg(&xfs.image))?;
        let attached = Command::new("losetup")
            .args(["--find", "--show", "--direct-io=on"])
            .arg(&xfs.image)
            .output()
            .map_err(|error| failed("run losetup", &error))?;
        if !attached.status.success() {
            let why = String::from_utf8_lossy(&attached.stderr).into_owned();
            return Err(Failed(format!("losetup failed: {why}")));
        }
        let device = String::from_utf8_lossy(&attached.stdout).trim().to_owned();
        xfs.device = Some(device.clone());
        check_direct(&device)?;
        run(Command::new("mount").args(["-o", "noatime", &device]).arg(&xfs.mount))?;
        xfs.is_mounted = true;
        Ok(xfs)
    }

    /// Name of the loop device, for instance `loop0`.
    #[must_use]
    pub fn device(&self) -> &str {
        self.device.as_deref().unwrap_or_default().trim_start_matches("/dev/")
    }

    /// Mount point.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }
}

fn check_direct(device: &str) -> Result<(), Failed> {
    let name = device.trim_start_matches("/dev/");
    let flag = std::fs::read_to_string(format!("/sys/block/{name}/loop/dio"))
        .map_err(|error| failed("read the loop device's dio flag", &error))?;
    if flag.trim() == "1" {
        return Ok(());
    }
    Err(Failed(format!("{device} does not use direct I/O on its image")))
}

fn failed(what: &str, error: &std::io::Error) -> Failed {
    Failed(format!("cannot {what}: {error}"))
}

impl Drop for Xfs {
    fn drop(&mut self) {
        // An io_uring that is being torn down may keep files open for some milliseconds.
        let tries = if self.is_mounted { 50 } else { 0 };
        for _ in 0..tries {
            let unmounted = Command::new("umount").arg(&self.mount).output();
            if unmounted.is_ok_and(|done| done.status.success()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        if let Some(device) = &self.device {
            let _ = Command::new("losetup").args(["--detach", device]).status();
        }
        let _ = std::fs::remove_file(&self.image);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_removed_when_the_file_system_cannot_be_made() {
        let dir = std::env::temp_dir().join(format!("xtask-xfs-{}", std::process::id()));
        let full = |image: &Path| {
            std::fs::write(image, "half of it").map_err(|error| failed("write", &error))?;
            Err(Failed("no space left".to_owned()))
        };
        let error = Xfs::mount_on(&dir, full).err().expect("making the image fails");
        let left = dir.join("xfs.img").exists();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(error.0.contains("no space left") && !left, "{}", error.0);
    }
}
