//! The machine that is measured on, and whether others use it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::output;

/// Where and of what figures are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Day, UTC.
    pub date: String,
    /// `uname -r`.
    pub kernel: String,
    /// Number of cores.
    pub cores: usize,
    /// Model of the processor.
    pub processor: String,
    /// Memory (bytes).
    pub memory_bytes: u64,
    /// Commit of the project; with a `+` when files differ from it.
    pub commit: String,
}

fn line_of(command: &mut Command) -> String {
    output(command).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn value_of(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl Machine {
    /// This one; `root` is the project's directory.
    pub fn this(root: &Path) -> Self {
        let git = |args: &[&str]| line_of(Command::new("git").current_dir(root).args(args));
        let dirty = if git(&["status", "--porcelain"]).is_empty() { "" } else { "+" };
        let memory = value_of("/proc/meminfo", "MemTotal").unwrap_or_default();
        let memory: Option<u64> = memory.split(' ').next().and_then(|kib| kib.parse().ok());
        Self {
            date: line_of(Command::new("date").args(["-u", "+%F"])),
            kernel: line_of(Command::new("uname").arg("-r")),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: value_of("/proc/cpuinfo", "model name").unwrap_or_default(),
            memory_bytes: memory.unwrap_or(0) * 1024,
            commit: git(&["rev-parse", "--short", "HEAD"]) + dirty,
        }
    }

    /// The directory of its results, as all commands of the project name it.
    pub fn results(&self) -> String {
        let short = self.kernel.split('-').next().unwrap_or_default();
        format!("bench/results/{}-{short}-{}-cores", self.date, self.cores)
    }
}

/// Cores that may be busy with something else while a block begins.
pub const BUSY_MAX: f64 = 0.10;
/// How long is looked.
const LOOK: Duration = Duration::from_millis(250);
/// How often, before a block is measured all the same.
const LOOKS: usize = 20;

/// Processor time of all cores so far (ticks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTimes {
    all: u64,
    /// What was not idle.
    busy: u64,
    /// What the host of a virtual machine gave to others while it was wanted here.
    stolen: u64,
}

impl CpuTimes {
    /// Those of now.
    pub fn now() -> Self {
        cpu_times(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// The share of all time since `before` that was stolen, from 0 to 1.
    pub fn stolen_since(self, before: Self) -> f64 {
        (self.stolen - before.stolen) as f64 / (self.all - before.all).max(1) as f64
    }
}

fn cpu_times(stat: &str) -> CpuTimes {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest is part of user (proc_stat(5)).
    let all: u64 = ticks.iter().take(8).sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    CpuTimes { all, busy: all - idle, stolen: ticks.get(7).copied().unwrap_or(0) }
}

fn busy_cores(cores: usize) -> f64 {
    let before = CpuTimes::now();
    std::thread::sleep(LOOK);
    let after = CpuTimes::now();
    let all = (after.all - before.all).max(1);
    (after.busy - before.busy) as f64 / all as f64 * cores as f64
}

/// Waits for a while until the machine is quiet: how many cores are busy with something else at the end.
pub fn wait_until_quiet(cores: usize) -> f64 {
    let mut busy = busy_cores(cores);
    for _ in 1..LOOKS {
        if busy <= BUSY_MAX {
            break;
        }
        busy = busy_cores(cores);
    }
    busy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let stat = "cpu  100 10 50 800 40 5 5 20 100 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let times = cpu_times(stat);
        assert_eq!(times, CpuTimes { all: 1030, busy: 190, stolen: 20 });
        let later = CpuTimes { all: 1130, busy: 250, stolen: 30 };
        assert_eq!(later.stolen_since(times), 0.1);
    }

    #[test]
    fn this_machine_has_a_name() {
        let machine = Machine::this(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty());
        assert!(machine.results().starts_with("bench/results/20"), "{}", machine.results());
    }
}
