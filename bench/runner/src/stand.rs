//! Where a measurement takes place: programs, directories, cores, ports, the memory of each server.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup::Cgroup;
use crate::device::Device;
use crate::error::{Error, file};
use crate::loadgen::Loadgen;
use crate::process::Seat;

/// Programs under trial.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The daemon.
    pub hayloft: PathBuf,
    /// The reference points.
    pub baseline: PathBuf,
    /// SeaweedFS.
    pub weed: PathBuf,
}

/// All of it.
pub struct Stand {
    /// Programs under trial.
    pub programs: Programs,
    /// The generator of load.
    pub loadgen: Loadgen,
    /// Below it the servers keep their data.
    pub dir: PathBuf,
    /// Logs and configurations: not on the device that is measured.
    pub work: PathBuf,
    /// The device that `dir` lies on.
    pub device: Device,
    /// The server's core, and that of its second shard.
    cores: [usize; 2],
    /// The first port.
    pub port: u16,
    /// Whether memory is limited at all.
    limits_memory: bool,
    /// What every server may have (bytes); nothing: all there is.
    limit: RefCell<Option<u64>>,
    cgroups: RefCell<BTreeMap<&'static str, Cgroup>>,
}

impl Stand {
    /// Puts it together. Without `limits_memory` servers may use all memory there is.
    ///
    /// # Errors
    /// When the directory lies on no device, or memory is to be limited and cannot.
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
            // Now, and not after an hour of filling.
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

    /// Limits the memory of every server from now on. What is actually limited: nothing, without cgroups.
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

    /// Where a process of the server `name` enters its cgroup, if there is one.
    ///
    /// # Errors
    /// When there should be one and cannot.
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

    /// Where the server `name` runs; on more than one core when it has several `shards`.
    ///
    /// # Errors
    /// As [`Self::procs`].
    pub fn seat(&self, name: &'static str, shards: usize) -> Result<Seat, Error> {
        let cores = match shards {
            1 => self.cores[0].to_string(),
            // On two cores the second shard shares that of the client: what is compared is processor time.
            _ => format!("{},{}", self.cores[0], self.cores[1]),
        };
        Ok(Seat { cores, procs: self.procs(name)? })
    }

    /// Cores that are in use while a server with so many shards is measured.
    pub fn cores_in_use(&self, shards: usize) -> Vec<usize> {
        let mut cores = vec![self.loadgen.core];
        cores.extend(&self.cores[..shards.min(2)]);
        cores.sort_unstable();
        cores.dedup();
        cores
    }

    /// The directory of a server's data.
    pub fn data_dir(&self, data: &str, name: &str) -> PathBuf {
        self.dir.join(data).join(name)
    }

    /// A file for the log of a server.
    pub fn log(&self, name: &str) -> PathBuf {
        self.work.join(format!("{name}.log"))
    }
}
