//! Environment of a measurement: programs, directories, cores, ports, and the memory limit of the servers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup::Cgroup;
use crate::device::Device;
use crate::error::{Error, file};
use crate::loadgen::Loadgen;
use crate::process::Placement;

/// Programs to measure.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The Hayloft daemon.
    pub hayloft: PathBuf,
    /// Another build of it, if it is compared with one.
    pub other_build: Option<PathBuf>,
    /// The reference points.
    pub baseline: PathBuf,
    /// SeaweedFS.
    pub weed: PathBuf,
}

/// Environment of a measurement.
pub struct TestBed {
    /// Programs to measure.
    pub programs: Programs,
    /// Load generator.
    pub loadgen: Loadgen,
    /// Directory of the servers' data.
    pub dir: PathBuf,
    /// Directory for logs and configurations, not on the device under measurement.
    pub work: PathBuf,
    /// Device of `dir`.
    pub device: Device,
    /// Core of the servers, and core of a second shard.
    cores: [usize; 2],
    /// First port.
    pub port: u16,
    /// Whether memory is limited.
    limits_memory: bool,
    /// Memory limit of every server (bytes); `None` for no limit.
    limit: RefCell<Option<u64>>,
    cgroups: RefCell<BTreeMap<&'static str, Cgroup>>,
}

impl TestBed {
    /// Creates the directories and checks cgroups. Without `limits_memory` servers may use all memory.
    ///
    /// # Errors
    /// When the directory is not on a block device, or memory must be limited and cannot.
    pub fn new(
        programs: Programs,
        loadgen: Loadgen,
        (dir, work): (&Path, &Path),
        (cores, port): ([usize; 2], u16),
        limits_memory: bool,
    ) -> Result<Self, Error> {
        let make = |dir: &Path| fs::create_dir_all(dir).map_err(file("make", dir));
        make(dir)?;
        make(work)?;
        let absolute = |dir: &Path| fs::canonicalize(dir).map_err(file("find", dir));
        let (dir, work) = (absolute(dir)?, absolute(work)?);
        if limits_memory {
            // Fail now rather than after the fill.
            drop(Cgroup::new("probe")?);
        }
        Ok(Self {
            programs,
            loadgen,
            device: Device::of(&dir)?,
            dir,
            work,
            cores,
            port,
            limits_memory,
            limit: RefCell::new(None),
            cgroups: RefCell::default(),
        })
    }

    /// Limits the memory of every server from now on; returns the effective limit: `None` without cgroups.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit_memory(&self, bytes: Option<u64>) -> Result<Option<u64>, Error> {
        if !self.limits_memory {
            return Ok(None);
        }
        *self.limit.borrow_mut() = bytes;
        self.cgroups.borrow().values().try_for_each(|cgroup| cgroup.limit(bytes))?;
        Ok(bytes)
    }

    /// File for entering the cgroup of the server `name`; `None` without limits.
    ///
    /// # Errors
    /// When the group cannot be created.
    pub fn procs(&self, name: &'static str) -> Result<Option<PathBuf>, Error> {
        if !self.limits_memory {
            return Ok(None);
        }
        let mut cgroups = self.cgroups.borrow_mut();
        if !cgroups.contains_key(name) {
            let cgroup = Cgroup::new(name)?;
            cgroup.limit(*self.limit.borrow())?;
            cgroups.insert(name, cgroup);
        }
        Ok(cgroups.get(name).map(Cgroup::procs))
    }

    /// Placement of the server `name`; with several `shards` on two cores.
    ///
    /// # Errors
    /// Like [`Self::procs`].
    pub fn placement(&self, name: &'static str, shards: usize) -> Result<Placement, Error> {
        let cores = match shards {
            1 => self.cores[0].to_string(),
            // With two cores in total the second shard shares that of the client: the comparison is of CPU
            // time.
            _ => format!("{},{}", self.cores[0], self.cores[1]),
        };
        Ok(Placement { cores, procs: self.procs(name)? })
    }

    /// Cores in use while a server with `shards` shards is measured.
    pub fn cores_in_use(&self, shards: usize) -> Vec<usize> {
        let mut cores = vec![self.loadgen.core];
        cores.extend(&self.cores[..shards.min(2)]);
        cores.sort_unstable();
        cores.dedup();
        cores
    }

    /// Data directory of a server.
    pub fn data_dir(&self, data: &str, name: &str) -> PathBuf {
        self.dir.join(data).join(name)
    }

    /// Log file of a server.
    pub fn log(&self, name: &str) -> PathBuf {
        self.work.join(format!("{name}.log"))
    }
}
