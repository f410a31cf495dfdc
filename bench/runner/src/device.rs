//! Counters of a block device: `/sys/dev/block/MAJOR:MINOR/stat` (Documentation/block/stat.rst).

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor, stat};
use serde::{Deserialize, Serialize};

use crate::error::{Error, file};

/// Unit of the kernel's counters (bytes), independent of the device's sector size.
const SECTOR: u64 = 512;

/// A block device with readable counters.
#[derive(Clone, Debug)]
pub struct Device {
    name: String,
    stat: PathBuf,
    /// File with the flush counter: the kernel counts flushes only for the whole disk, not for partitions.
    flush_stat: PathBuf,
}

/// Counter values, or differences of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Read requests completed.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Write requests completed.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Flush requests completed; for a partition, those of its disk.
    pub flushes: u64,
}

impl Device {
    /// Device of the file system that holds `dir`.
    ///
    /// # Errors
    /// When the directory does not exist, or its file system has no block device (tmpfs, overlayfs, btrfs).
    pub fn of(dir: &Path) -> Result<Self, Error> {
        let number =
            stat(dir).map_err(|errno| file("find the device of", dir)(errno.into()))?.st_dev;
        let link = PathBuf::from(format!("/sys/dev/block/{}:{}", major(number), minor(number)));
        let Some(device) = fs::canonicalize(&link).ok().and_then(|dir| Self::in_sysfs(&dir)) else {
            let why = format!(
                "{} is not on a block device with counters; choose a directory on XFS or ext4",
                dir.display()
            );
            return Err(Error::Usage(why));
        };
        Ok(device)
    }

    /// Device of a directory in sysfs.
    fn in_sysfs(dir: &Path) -> Option<Self> {
        let name = dir.file_name()?.to_string_lossy().into_owned();
        let disk = if dir.join("partition").exists() { dir.parent()? } else { dir };
        Some(Self { name, stat: dir.join("stat"), flush_stat: disk.join("stat") })
    }

    /// Name, for instance `loop0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counters since the system started.
    ///
    /// # Errors
    /// When they cannot be read, or the kernel counts no flushes.
    pub fn counts(&self) -> Result<Counts, Error> {
        let read = |path: &Path| -> Result<Counts, Error> {
            let text = fs::read_to_string(path).map_err(file("read", path))?;
            let missing =
                || Error::Figure { from: "the kernel", what: "flushes of the device".to_owned() };
            parse(&text).ok_or_else(missing)
        };
        Ok(Counts { flushes: read(&self.flush_stat)?.flushes, ..read(&self.stat)? })
    }
}

fn parse(text: &str) -> Option<Counts> {
    let fields: Vec<u64> = text.split_whitespace().map_while(|field| field.parse().ok()).collect();
    Some(Counts {
        reads: *fields.first()?,
        read_bytes: fields.get(2)? * SECTOR,
        writes: *fields.get(4)?,
        written_bytes: fields.get(6)? * SECTOR,
        flushes: *fields.get(15)?,
    })
}

impl Counts {
    /// Differences to the counters `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            read_bytes: self.read_bytes - before.read_bytes,
            writes: self.writes - before.writes,
            written_bytes: self.written_bytes - before.written_bytes,
            flushes: self.flushes - before.flushes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_counters_are_parsed_and_subtracted() {
        let text = "  10 1 80 5  20 2 160 6  0 7 8  0 0 0 0  3 9\n";
        let counts = parse(text).unwrap();
        assert_eq!((counts.reads, counts.read_bytes), (10, 40_960));
        assert_eq!((counts.writes, counts.written_bytes, counts.flushes), (20, 81_920, 3));
        let later = parse("12 1 88 5 21 2 168 6 0 7 8 0 0 0 0 5 9").unwrap();
        let since = later.since(counts);
        assert_eq!((since.reads, since.read_bytes, since.flushes), (2, 4096, 2));
        assert_eq!(parse("1 2 3 4 5 6 7 8 9 10 11"), None, "kernels before 5.5 count no flushes");
    }

    #[test]
    fn flushes_of_a_partition_are_those_of_its_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("sda");
        let partition = disk.join("sda1");
        fs::create_dir_all(&partition).unwrap();
        fs::write(disk.join("stat"), "100 0 0 0 100 0 0 0 0 0 0 0 0 0 0 70 0").unwrap();
        fs::write(partition.join("stat"), "10 0 0 0 20 0 0 0 0 0 0 0 0 0 0 0 0").unwrap();
        fs::write(partition.join("partition"), "1\n").unwrap();
        let counts = |dir: &Path| {
            let device = Device::in_sysfs(dir).unwrap();
            let counts = device.counts().unwrap();
            (device.name().to_owned(), counts.reads, counts.writes, counts.flushes)
        };
        assert_eq!(counts(&partition), ("sda1".to_owned(), 10, 20, 70));
        assert_eq!(counts(&disk), ("sda".to_owned(), 100, 100, 70));
    }

    #[test]
    fn a_directory_without_a_device_is_rejected() {
        let error = Device::of(Path::new("/proc")).unwrap_err().to_string();
        assert!(error.contains("choose a directory"), "{error}");
        assert!(Device::of(Path::new("/no/such")).is_err());
    }
}
