//! A memory cgroup for each server, so that the data set exceeds its page cache.
//!
//! Page cache is charged to the group of the process that first touched it (Documentation/admin-guide/
//! cgroup-v2.rst, "Memory Ownership"; the same in v1). Files are therefore filled from inside the group, too.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, file};

/// Version of the cgroup interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `memory.limit_in_bytes`.
    V1,
    /// `memory.max`.
    V2,
}

/// A cgroup of the benchmark; removed on drop.
pub struct Cgroup {
    dir: PathBuf,
    version: Version,
}

/// Mount point of the memory hierarchy, from `/proc/self/mounts`.
fn hierarchy(mounts: &str) -> Option<(PathBuf, Version)> {
    let found = |wanted: Version| {
        mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (dir, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            let fits = match wanted {
                Version::V1 => kind == "cgroup" && options.split(',').any(|word| word == "memory"),
                Version::V2 => kind == "cgroup2",
            };
            fits.then(|| (PathBuf::from(dir), wanted))
        })
    };
    // With both versions mounted, the memory controller belongs to v1 if that lists it.
    found(Version::V1).or_else(|| found(Version::V2))
}

/// Path of this process's group below the mount point, from `/proc/self/cgroup`.
fn own_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == "memory").then(|| path.trim_start_matches('/'))
    })
}

impl Cgroup {
    /// Creates a group for the server `name`.
    ///
    /// # Errors
    /// [`Error::NoCgroup`] with the reason.
    pub fn new(name: &str) -> Result<Self, Error> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let none = || Error::NoCgroup("no memory controller is mounted".to_owned());
        let (mount, version) = hierarchy(&read("/proc/self/mounts")).ok_or_else(none)?;
        let parent = match version {
            // Below the group of this process, to respect its limits.
            Version::V1 => {
                let own = mount.join(own_group(&read("/proc/self/cgroup")).unwrap_or_default());
                if own.is_dir() { own } else { mount }
            }
            // Only the root may both have processes and delegate controllers to children.
            Version::V2 => {
                let controllers = mount.join("cgroup.controllers");
                let controllers = read(&controllers.display().to_string());
                if !controllers.split_whitespace().any(|name| name == "memory") {
                    return Err(none());
                }
                let control = mount.join("cgroup.subtree_control");
                fs::write(&control, "+memory").map_err(|error| refused(&control, &error))?;
                mount
            }
        };
        let dir = parent.join(format!("hayloft-bench-{}-{name}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| refused(&dir, &error))?;
        Ok(Self { dir, version })
    }

    /// File that a process writes its pid to in order to enter the group.
    pub fn procs(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }

    /// Limits the memory and page cache of all processes in the group together; `None` removes the limit.
    ///
    /// # Errors
    /// When the kernel cannot reduce the usage to the limit.
    pub fn limit(&self, bytes: Option<u64>) -> Result<(), Error> {
        let (name, unlimited) = match self.version {
            Version::V1 => ("memory.limit_in_bytes", "-1"),
            Version::V2 => ("memory.max", "max"),
        };
        let path = self.dir.join(name);
        let value = bytes.map_or_else(|| unlimited.to_owned(), |bytes| bytes.to_string());
        fs::write(&path, value).map_err(file("set", &path))
    }
}

fn refused(path: &Path, error: &std::io::Error) -> Error {
    Error::NoCgroup(format!("{}: {error}", path.display()))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Terminated processes may still be counted for some milliseconds.
        for _ in 0..100 {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("the cgroup {} is still in use; remove it with rmdir", self.dir.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_with_the_memory_controller_is_used() {
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert_eq!(hierarchy(v2), Some((PathBuf::from("/sys/fs/cgroup"), Version::V2)));
        let both = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                    cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                    cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n";
        let memory = PathBuf::from("/sys/fs/cgroup/memory");
        assert_eq!(hierarchy(both), Some((memory, Version::V1)));
        assert_eq!(hierarchy("tmpfs /tmp tmpfs rw 0 0\n"), None);
    }

    #[test]
    fn own_cgroup_is_found_by_its_controller() {
        let groups = "5:cpuset:/\n4:cpu,memory:/outer/inner\n0::/\n";
        assert_eq!(own_group(groups), Some("outer/inner"));
        assert_eq!(own_group("0::/user.slice\n"), None);
    }
}
