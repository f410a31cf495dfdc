//! The machine under measurement, and whether it is otherwise idle.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::process::output;

/// Machine, date and commit of a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Date (UTC).
    pub date: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Number of cores.
    pub cores: usize,
    /// Model of the processor.
    pub processor: String,
    /// Memory size (bytes).
    pub memory_bytes: u64,
    /// Commit of the project, with a `+` if files differ from it.
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
    /// Describes this machine; `root` is the directory of the project.
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

    /// Directory of its results, as named by all commands of the project.
    pub fn results(&self) -> String {
        let short = self.kernel.split('-').next().unwrap_or_default();
        format!("bench/results/{}-{short}-{}-cores", self.date, self.cores)
    }
}

/// Maximum number of cores busy with other work before a block.
pub const BUSY_MAX: f64 = 0.10;
/// Length of one observation.
const OBSERVATION: Duration = Duration::from_millis(250);
/// Maximum number of observations before a block is measured regardless.
const OBSERVATIONS: usize = 20;

/// Cores available to this process, grouped by physical core: two hyperthreads slow each other down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(Vec<Vec<usize>>);

impl Cores {
    /// Cores available to this process.
    pub fn of_this_process() -> Self {
        let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        let allowed = (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false));
        Self::of(allowed.collect(), |core| {
            let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
            fs::read_to_string(path).unwrap_or_default()
        })
    }

    /// Groups the cores `allowed`; `siblings` gives the kernel's list of hyperthreads of a core.
    pub fn of(allowed: Vec<usize>, siblings: impl Fn(usize) -> String) -> Self {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for core in allowed {
            let shared = numbers(&siblings(core));
            match groups.iter_mut().find(|group| group.iter().any(|other| shared.contains(other))) {
                Some(group) => group.push(core),
                None => groups.push(vec![core]),
            }
        }
        Self(groups)
    }

    /// All cores, sorted.
    pub fn allowed(&self) -> Vec<usize> {
        let mut all = self.0.concat();
        all.sort_unstable();
        all
    }

    /// A core that is not in `taken`, preferably on another physical core.
    pub fn other_than(&self, taken: &[usize]) -> Option<usize> {
        let is_free = |group: &&Vec<usize>| !group.iter().any(|core| taken.contains(core));
        let apart = self.0.iter().find(is_free).map(|group| group[0]);
        apart.or_else(|| self.allowed().into_iter().find(|core| !taken.contains(core)))
    }
}

/// Parses a list of the kernel such as `0,4` or `0-1`.
fn numbers(list: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse()) {
            found.extend(first..=last);
        }
    }
    found
}

/// CPU time of some cores so far (ticks).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    all: u64,
    /// Time not idle.
    busy: u64,
    /// Time that the host of a virtual machine gave to others while it was wanted.
    stolen: u64,
}

impl CpuTimes {
    /// Current times of all cores.
    pub fn now() -> Self {
        cpu_times(&fs::read_to_string("/proc/stat").unwrap_or_default(), "cpu")
    }

    /// Current times of some cores: idle other cores would hide stolen time.
    pub fn now_of(cores: &[usize]) -> Self {
        of_cores(&fs::read_to_string("/proc/stat").unwrap_or_default(), cores)
    }

    /// Share of the time since `before` that was stolen, 0 to 1.
    pub fn stolen_since(self, before: Self) -> f64 {
        (self.stolen - before.stolen) as f64 / (self.all - before.all).max(1) as f64
    }
}

fn of_cores(stat: &str, cores: &[usize]) -> CpuTimes {
    let mut sum = CpuTimes::default();
    for core in cores {
        let CpuTimes { all, busy, stolen } = cpu_times(stat, &format!("cpu{core}"));
        sum = CpuTimes { all: sum.all + all, busy: sum.busy + busy, stolen: sum.stolen + stolen };
    }
    sum
}

fn cpu_times(stat: &str, name: &str) -> CpuTimes {
    let is_wanted = |line: &&str| line.split_whitespace().next() == Some(name);
    let line = stat.lines().find(is_wanted).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest is contained in user (proc_stat(5)).
    let all: u64 = ticks.iter().take(8).sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    CpuTimes { all, busy: all - idle, stolen: ticks.get(7).copied().unwrap_or(0) }
}

fn busy_cores(cores: usize) -> f64 {
    let before = CpuTimes::now();
    std::thread::sleep(OBSERVATION);
    let after = CpuTimes::now();
    let all = (after.all - before.all).max(1);
    (after.busy - before.busy) as f64 / all as f64 * cores as f64
}

/// Waits for a limited time until the machine is idle; returns the number of busy cores at the end.
pub fn wait_until_quiet(cores: usize) -> f64 {
    let mut busy = busy_cores(cores);
    for _ in 1..OBSERVATIONS {
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
    fn idle_and_iowait_are_not_busy() {
        let stat = "cpu  100 10 50 800 40 5 5 20 100 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let times = cpu_times(stat, "cpu");
        assert_eq!(times, CpuTimes { all: 1030, busy: 190, stolen: 20 });
        let later = CpuTimes { all: 1130, busy: 250, stolen: 30 };
        assert_eq!(later.stolen_since(times), 0.1);
    }

    #[test]
    fn stolen_time_is_relative_to_the_cores_in_use() {
        let stat = |stolen: u64| {
            format!(
                "cpu 0 0 0 400 0 0 0 {stolen} 0 0\ncpu0 0 0 0 100 0 0 0 {stolen} 0 0\n\
                 cpu1 0 0 0 100 0 0 0 0 0 0\ncpu10 0 0 0 100 0 0 0 7 0 0\ncpu2 0 0 0 100 0 0 0 0 0 0\n"
            )
        };
        let stolen = |cores: &[usize]| {
            let (before, after) = (of_cores(&stat(0), cores), of_cores(&stat(20), cores));
            after.stolen_since(before)
        };
        assert_eq!((stolen(&[0]), stolen(&[1, 2])), (1.0, 0.0));
        assert_eq!(of_cores(&stat(3), &[0, 1]), CpuTimes { all: 203, busy: 3, stolen: 3 });
    }

    #[test]
    fn hyperthreads_of_a_taken_core_are_chosen_last() {
        let halves = |core| format!("{},{}\n", core % 2, core % 2 + 2);
        let cores = Cores::of(vec![0, 1, 2, 3], halves);
        assert_eq!(cores.other_than(&[2]), Some(1), "0 is the other hyperthread of 2");
        assert_eq!(
            [cores.other_than(&[]), cores.other_than(&[0]), cores.other_than(&[0, 1])]
                .map(Option::unwrap),
            [0, 1, 2]
        );
        let neighbours = Cores::of(vec![0, 1, 2, 3], |core| format!("{}-{}", core & !1, core | 1));
        assert_eq!((neighbours.other_than(&[]), neighbours.other_than(&[0])), (Some(0), Some(2)));
        let few = Cores::of(vec![6, 7], |_| String::new());
        assert_eq!((few.other_than(&[6]), few.other_than(&[6, 7])), (Some(7), None));
        assert!(!Cores::of_this_process().allowed().is_empty());
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::this(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty());
        assert!(machine.results().starts_with("bench/results/20"), "{}", machine.results());
    }
}
