//! Programs, file system and daemons of the measurement.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::options::Options;
use super::part::Part;
use crate::node::{Launch, Node};
use crate::process::Failed;
use crate::project::target;
use crate::record::cannot;
use crate::xfs::Xfs;

/// Free space of the file system for a trial run (bytes).
const TRIAL_ROOM: u64 = 3 << 30;
/// Space of the file system for each needle of the part `index` (bytes): the file of a volume with needles
/// of 1024 bytes, of which nearly a third are in it twice, and a copy of what lives in it.
const ROOM_PER_NEEDLE: u64 = 2500;
/// Largest image that is written before it is used (bytes): it takes a minute or two.
const WRITTEN_MAX: u64 = 16 << 30;
/// Setting of all daemons: nothing but the measurement begins a compaction.
const CONFIG: &str = "[compaction]\npolicy = \"off\"\n";

/// Programs, file system and daemons of the measurement.
pub struct Scene {
    /// Whether it is a trial run.
    pub quick: bool,
    /// Program of the load generator.
    pub loadgen: PathBuf,
    /// Directory for files that are not measured.
    pub work: PathBuf,
    daemon: PathBuf,
    /// The file system; its image is in `work`.
    fs: Xfs,
}

impl Scene {
    /// Makes the file system that the parts need, and copies the programs: a build that runs meanwhile does
    /// not change them.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn set_up(options: &Options) -> Result<Self, Failed> {
        let work = options.dir.clone();
        unmount_leftover(&work);
        let _ = fs::remove_dir_all(work.join("programs"));
        let programs = work.join("programs");
        fs::create_dir_all(&programs).map_err(cannot("create", &programs))?;
        let copy = |name: &str| {
            let (from, to) = (target().join("release").join(name), programs.join(name));
            fs::copy(&from, &to).map_err(cannot("copy", &from)).map(|_| to)
        };
        let (daemon, loadgen) = (copy("hayloft")?, copy("hayloft-loadgen")?);
        let rooms = options.parts.iter().map(|part| room(*part, options));
        let room = rooms.max().unwrap_or(TRIAL_ROOM);
        let make = if room <= WRITTEN_MAX { Xfs::mount_written } else { Xfs::mount };
        let fs = make(&work, room.next_multiple_of(4 << 20))?;
        Ok(Self { quick: options.quick, loadgen, work, daemon, fs })
    }

    /// Directory of the data and the log of daemons.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.fs.path().join("node")
    }

    /// Name of the block device, for instance `loop0`.
    #[must_use]
    pub fn device(&self) -> &str {
        self.fs.device()
    }

    /// A number of rounds: `full`, or `quick` in a trial run.
    #[must_use]
    pub fn choose<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Starts a daemon on an empty directory.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn new_node(&self, cores: &str, mib: u64, more: &[&str]) -> Result<Node, Failed> {
        self.clear();
        let dir = self.dir();
        fs::create_dir_all(&dir).map_err(cannot("create", &dir))?;
        self.node(&dir, cores, mib, more, "")
    }

    /// Starts a daemon on the data in `dir`, with more lines of configuration.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn node(
        &self,
        dir: &Path,
        cores: &str,
        mib: u64,
        more: &[&str],
        settings: &str,
    ) -> Result<Node, Failed> {
        let path = self.work.join("hayloft.toml");
        fs::write(&path, format!("{CONFIG}{settings}")).map_err(cannot("write", &path))?;
        let path = path.to_string_lossy();
        let more: Vec<&str> = ["--config", &path].iter().chain(more).copied().collect();
        let launch = Launch { program: &self.daemon, dir, cores, mib, more: &more };
        Node::launch(&launch).map(|(node, _)| node)
    }

    /// Removes the data of the last part.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(self.dir());
    }
}

/// Free space that a part needs (bytes).
fn room(part: Part, options: &Options) -> u64 {
    match part {
        Part::Index => options.needles * ROOM_PER_NEEDLE + (1 << 30),
        _ if options.quick => TRIAL_ROOM,
        // It has a file system of its own.
        Part::Refill => 1 << 30,
        Part::Erased | Part::Found | Part::Fenced | Part::Slow => 2 << 30,
        Part::Streams => 4 << 30,
        Part::Pulls => 8 << 30,
        Part::Lists => 15 << 30,
        Part::Amounts | Part::Swaps => 6 << 30,
        Part::Reads | Part::Writes | Part::Scrubs => 10 << 30,
        // Two generations of a volume, and a copy of its live half.
        Part::Idle => 12 << 30,
    }
}

/// Unmounts the file system of a run that was killed.
pub fn unmount_leftover(work: &Path) {
    let mount = work.join("xfs");
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut found = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?))
    });
    if let Some((device, _)) = found.find(|(_, at)| Path::new(at) == mount) {
        let _ = Command::new("umount").arg(&mount).status();
        let _ = Command::new("losetup").args(["--detach", device]).status();
    }
}
