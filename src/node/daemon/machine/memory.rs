//! Memory available to this process: the limits of its control groups, and the memory of the machine.
//!
//! Buffers are registered at the start, which allocates their memory at once. With a lower limit the kernel's
//! out-of-memory killer would end the daemon without a line in its log.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::super::error::StartError;
use crate::base::size::rounded;

/// Range of values that count as close to a bound, in hundredths of the bound.
const CLOSE: RangeInclusive<u64> = 75..=100;

fn is_close(value: u64, bound: u64) -> bool {
    CLOSE
        .contains(&u64::try_from(u128::from(value) * 100 / u128::from(bound.max(1))).unwrap_or(101))
}

/// Limits on the memory of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The lowest limit of the process's control group and those above it (bytes), and its file.
    group: Option<(u64, PathBuf)>,
    /// `MemTotal` (bytes).
    total: Option<u64>,
    /// `MemAvailable` (bytes).
    available: Option<u64>,
}

impl Memory {
    /// Reads the limits of this process. A file that cannot be read counts as no limit.
    pub fn of_this_process() -> Self {
        Self::of(Path::new("/"))
    }

    /// As [`Self::of_this_process`], with `/proc` and `/sys` below `root`.
    fn of(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
        let limits = hierarchies(&groups, &mounts);
        let limits = limits.iter().flat_map(|hierarchy| hierarchy.limits(root));
        let meminfo = read("proc/meminfo");
        Self {
            group: limits.min_by_key(|(bytes, _)| *bytes),
            total: value_of(&meminfo, "MemTotal"),
            available: value_of(&meminfo, "MemAvailable"),
        }
    }

    /// Memory that is available now (bytes): `MemAvailable`, and not more than the limit of the control
    /// group.
    pub fn available(&self) -> u64 {
        let group = self.group.as_ref().map_or(u64::MAX, |(limit, _)| *limit);
        self.available.unwrap_or(u64::MAX).min(group)
    }

    /// Checks `buffers` bytes of buffers against the limits, and returns warnings.
    ///
    /// # Errors
    /// [`StartError::Memory`]: the buffers alone exceed a limit.
    pub fn check(&self, buffers: u64) -> Result<Vec<String>, StartError> {
        let mut warnings = Vec::new();
        let group = self.group.as_ref().map(|(limit, file)| (*limit, file.display().to_string()));
        let total = self.total.map(|total| (total, "the memory of this machine".to_owned()));
        for (limit, what) in group.into_iter().chain(total) {
            if buffers > limit {
                return Err(StartError::Memory { buffers, limit, what });
            }
            if is_close(buffers, limit) {
                warnings.push(format!(
                    "the buffers take {} of {} ({what}), which leaves {} for the index and the rest: raise \
                     that limit (MemoryMax= in the unit), or lower limits.buffer_memory_per_shard or the \
                     number of cores",
                    rounded(buffers),
                    rounded(limit),
                    rounded(limit - buffers),
                ));
            }
        }
        if let Some(available) = self.available.filter(|available| buffers > *available) {
            warnings.push(format!(
                "the buffers take {}, and {} of memory are available (MemAvailable in /proc/meminfo): the \
                 kernel may kill processes to free memory. Free some, or lower \
                 limits.buffer_memory_per_shard or the number of cores",
                rounded(buffers),
                rounded(available),
            ));
        }
        Ok(warnings)
    }
}

/// Returns a value of `/proc/meminfo` (bytes).
fn value_of(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// A control group hierarchy that limits memory, and the position of the process in it.
struct Hierarchy {
    /// Mount point, without the leading `/`.
    mount: PathBuf,
    /// Group of the process, relative to the mount point.
    group: PathBuf,
    /// Name of the file in each group that holds its limit.
    file: &'static str,
}

impl Hierarchy {
    /// Returns the limits (bytes) of the group and its ancestors, with their files. In a container the named
    /// group may lie outside the mounted part: then the mount point itself is the group of the process.
    fn limits(&self, root: &Path) -> Vec<(u64, PathBuf)> {
        let groups = self.group.ancestors().map(|group| self.mount.join(group).join(self.file));
        let limits = groups.filter_map(|file| {
            // "max" in v2; in v1 a number that no machine has.
            let limit = fs::read_to_string(root.join(&file)).ok()?.trim().parse().ok()?;
            Some((limit, Path::new("/").join(file)))
        });
        limits.collect()
    }
}

/// Returns the hierarchies of cgroup v2 and v1 that `/proc/self/cgroup` and `/proc/self/mountinfo` name.
fn hierarchies(groups: &str, mounts: &str) -> Vec<Hierarchy> {
    let group_of = |is_wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, group) = rest.split_once(':')?;
            is_wanted(controllers).then(|| PathBuf::from(group.trim_start_matches('/')))
        })
    };
    let v1 = |names: &str| names.split(',').any(|name| name == "memory");
    let found = mounts.lines().filter_map(|line| {
        let (mount, described) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (within, mount) = (mount.next()?, mount.next()?);
        let mut described = described.split(' ');
        let (kind, options) = (described.next()?, described.nth(1).unwrap_or_default());
        let (group, file) = match kind {
            "cgroup2" => (group_of(&str::is_empty), "memory.max"),
            "cgroup" if v1(options) => (group_of(&v1), "memory.limit_in_bytes"),
            _ => return None,
        };
        // In a container, a part of the hierarchy may be mounted.
        let group = group.unwrap_or_default();
        let group = group.strip_prefix(within.trim_start_matches('/')).unwrap_or(&group);
        let mount = PathBuf::from(mount.trim_start_matches('/'));
        Some(Hierarchy { mount, group: group.to_owned(), file })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       1024 kB\nMemFree: 1 kB\nMemAvailable:    512 kB\n";

    /// Creates a root directory with these files, and reads the limits from it.
    fn system_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Memory) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let memory = Memory::of(root.path());
        (root, memory)
    }

    #[test]
    fn lowest_limit_among_ancestor_cgroups_applies() {
        let mount =
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let (_root, memory) = system_with(&[
            ("proc/self/cgroup", "0::/system.slice/hayloft.service\n"),
            ("proc/self/mountinfo", mount),
            ("proc/meminfo", MEMINFO),
            ("sys/fs/cgroup/system.slice/memory.max", "4096\n"),
            ("sys/fs/cgroup/system.slice/hayloft.service/memory.max", "max\n"),
        ]);
        let file = PathBuf::from("/sys/fs/cgroup/system.slice/memory.max");
        assert_eq!(memory.group, Some((4096, file)));
        assert_eq!((memory.total, memory.available), (Some(1 << 20), Some(1 << 19)));
    }

    #[test]
    fn container_limit_is_found_with_and_without_a_cgroup_namespace() {
        let v2 = "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        for group in ["0::/\n", "0::/docker/0123\n", "0::/../other\n"] {
            let files = [
                ("proc/self/cgroup", group),
                ("proc/self/mountinfo", v2),
                ("sys/fs/cgroup/memory.max", "8192\n"),
            ];
            let (_root, memory) = system_with(&files);
            assert_eq!(memory.group.unwrap().0, 8192, "{group}");
        }
        let v1 = "30 23 0:26 /docker/0123 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let (_root, memory) = system_with(&[
            ("proc/self/cgroup", "5:cpu:/x\n4:memory,hugetlb:/docker/0123/inner\n0::/\n"),
            ("proc/self/mountinfo", v1),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "16384\n"),
        ]);
        assert_eq!(memory.group.unwrap().0, 16_384);
    }

    #[test]
    fn missing_or_malformed_files_mean_no_limit() {
        let (_root, memory) = system_with(&[]);
        assert_eq!(memory, Memory::default());
        assert_eq!(memory.check(u64::MAX).unwrap(), [""; 0]);
        let (_root, memory) = system_with(&[
            ("proc/self/cgroup", "nonsense\n0::/a\n"),
            ("proc/self/mountinfo", "nonsense - cgroup2\n1 2 - cgroup2 x\n"),
            ("proc/meminfo", "MemTotal: many\nMemAvailable:\n"),
        ]);
        assert_eq!(memory, Memory::default());
    }

    #[test]
    fn buffers_above_a_limit_are_refused_and_near_it_warned_about() {
        let group = Some((1 << 30, PathBuf::from("/sys/fs/cgroup/memory.max")));
        let memory = Memory { group, total: Some(8 << 30), available: Some(900 << 20) };
        assert_eq!(memory.check(512 << 20).unwrap(), [""; 0]);
        let [close] = &memory.check(800 << 20).unwrap()[..] else { panic!("one warning") };
        assert!(close.contains("memory.max") && close.contains("MemoryMax="), "{close}");
        let [_, scarce] = &memory.check(1000 << 20).unwrap()[..] else { panic!("two warnings") };
        assert!(scarce.contains("MemAvailable"), "{scarce}");
        let refused = memory.check((1 << 30) + 1).unwrap_err().to_string();
        for word in ["1.0 GiB", "memory.max", "limits.buffer_memory_per_shard", "--cores"] {
            assert!(refused.contains(word), "{refused}");
        }
        let machine = Memory { total: Some(1 << 30), ..Memory::default() };
        assert!(machine.check(2 << 30).unwrap_err().to_string().contains("of this machine"));
    }
}
