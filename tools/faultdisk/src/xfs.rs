//! Loop devices and mounts, gone when dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, file};

/// Runs a program that must succeed; what it printed.
///
/// # Errors
/// When it is missing or fails.
pub fn command(
    program: &'static str,
    package: &'static str,
    with: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<String, Error> {
    let mut command = Command::new(program);
    let output = with(&mut command).output();
    let output = output.map_err(|source| Error::Program { program, package, source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    Err(Error::Failed { command: words.join(" "), output: text(&output.stderr) })
}

/// Makes a sparse file of `len` bytes with an empty XFS in it.
///
/// # Errors
/// When there is no room, or mkfs.xfs is missing or fails.
pub fn make_image(path: &Path, len: u64) -> Result<(), Error> {
    let image = std::fs::File::create(path).map_err(file("create", path))?;
    image.set_len(len).map_err(file("lengthen", path))?;
    command("mkfs.xfs", "xfsprogs", |c| c.args(["-q", "-f", "-K"]).arg(path)).map(drop)
}

/// A loop device.
#[derive(Debug)]
pub struct Loop {
    device: String,
}

impl Loop {
    /// Attaches one to a file, with direct I/O: each request reaches the file as it is.
    ///
    /// # Errors
    /// When none is free, this process may not, or the file allows no direct I/O.
    pub fn attach(image: &Path) -> Result<Self, Error> {
        let device = command("losetup", "mount", |c| {
            c.args(["--find", "--show", "--direct-io=on"]).arg(image)
        })?;
        let attached = Self { device };
        let name = attached.device.trim_start_matches("/dev/");
        let flag = PathBuf::from(format!("/sys/block/{name}/loop/dio"));
        let flag = std::fs::read_to_string(&flag).map_err(file("read", &flag))?;
        if flag.trim() != "1" {
            return Err(Error::NotDirect { device: attached.device.clone() });
        }
        Ok(attached)
    }

    /// Its name, `/dev/loop0`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.device
    }

    /// Mounts the XFS on it.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount(self, dir: &Path) -> Result<Mount, Error> {
        std::fs::create_dir_all(dir).map_err(file("create", dir))?;
        command("mount", "mount", |c| {
            c.args(["-t", "xfs", "-o", "noatime,nouuid"]).arg(&self.device).arg(dir)
        })?;
        Ok(Mount { dir: dir.to_owned(), device: Some(self) })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = command("losetup", "mount", |c| c.args(["--detach", &self.device]));
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mount {
    dir: PathBuf,
    device: Option<Loop>,
}

impl Mount {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// When it stays busy.
    pub fn unmount(mut self) -> Result<Loop, Error> {
        self.try_unmount()?;
        Ok(self.device.take().expect("there until it is unmounted"))
    }

    /// A ring that is being torn down may keep files open for some milliseconds.
    fn try_unmount(&self) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let done = command("umount", "mount", |c| c.arg(&self.dir));
            if done.is_ok() || tries == 200 {
                return done.map(drop);
            }
            tries += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.device.is_some() {
            let _ = self.try_unmount();
        }
    }
}
