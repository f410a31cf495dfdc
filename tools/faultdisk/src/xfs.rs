//! Loop devices and XFS mounts, released on drop.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, file};

/// Runs a program; returns its standard output. `package` names the package to install if it is missing.
///
/// # Errors
/// When the program is missing or exits with a failure.
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

/// Creates a sparse file of `len` bytes with an empty XFS.
///
/// # Errors
/// When the file cannot be created, or mkfs.xfs is missing or fails.
pub fn make_image(path: &Path, len: u64) -> Result<(), Error> {
    let image = std::fs::File::create(path).map_err(file("create", path))?;
    image.set_len(len).map_err(file("set the length of", path))?;
    command("mkfs.xfs", "xfsprogs", |c| c.args(["-q", "-f", "-K"]).arg(path)).map(drop)
}

/// Returns where a file is on the device (bytes).
///
/// # Errors
/// When `xfs_io` is missing or fails, as for a file that is absent.
pub fn extents(file: &Path) -> Result<Vec<Range<u64>>, Error> {
    let list = command("xfs_io", "xfsprogs", |c| c.args(["-r", "-c", "bmap"]).arg(file))?;
    Ok(list.lines().filter_map(extent).collect())
}

/// Parses a line such as `0: [0..131071]: 96..131167` (in sectors of 512 bytes) to a range of bytes.
fn extent(line: &str) -> Option<Range<u64>> {
    let (first, last) = line.rsplit_once(": ")?.1.split_once("..")?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    Some(first * 512..(last + 1) * 512)
}

/// An attached loop device; detached on drop.
#[derive(Debug)]
pub struct Loop {
    device: String,
}

impl Loop {
    /// Attaches a loop device to a file with direct I/O, so that each request reaches the file unchanged.
    ///
    /// # Errors
    /// When no device is free, the process lacks the privileges, or the file does not support direct I/O.
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

    /// Path of the device, for instance `/dev/loop0`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.device
    }

    /// Mounts the XFS on the device at `dir`.
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

/// A mounted file system; unmounted on drop.
#[derive(Debug)]
pub struct Mount {
    dir: PathBuf,
    device: Option<Loop>,
}

impl Mount {
    /// Mount point.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Unmounts the file system and returns its device.
    ///
    /// # Errors
    /// When the file system stays busy for about 4 seconds.
    pub fn unmount(mut self) -> Result<Loop, Error> {
        self.try_unmount()?;
        Ok(self.device.take().expect("the device is taken only here"))
    }

    /// Retries for about 4 seconds: an io_uring that is being torn down keeps files open for some
    /// milliseconds.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_parsed_from_the_output_of_xfs_io() {
        assert_eq!(extent("\t0: [0..131071]: 96..131167"), Some(49_152..67_158_016));
        assert_eq!(extent("\t1: [131072..131079]: hole"), None);
        assert_eq!(extent("x/1.0.vol:"), None);
    }
}
