//! Table of the workloads: subjects, loads and data sets.
//!
//! A to G are the workloads of the Haystack paper (OSDI 2010, section 4.2.2). Its multi-writes in F and G are
//! single writes here, with the same share of requests.

use DataSet::{Empty, Large, Mixed, Needles4K, Needles8K, Needles64K, Shards};
use Subject::{
    AnyPort, Baseline, Fio, FioMix, Hayloft, Nginx, Null, OwnPort, Ring, SeaweedFs, SeaweedFsFsync,
    Zeroed,
};

/// Data set, stored equally in every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataSet {
    /// Objects of 4 KiB.
    Needles4K,
    /// Objects of 8 KiB.
    Needles8K,
    /// Objects of 64 KiB.
    Needles64K,
    /// 70 % objects of 8 KiB and 30 % of 64 KiB, as in workload B of the paper.
    Mixed,
    /// Objects of 8 MiB.
    Large,
    /// Objects of 8 KiB in two volumes, for the comparison of one and two shards.
    Shards,
    /// No objects: every block begins with an empty server.
    Empty,
}

impl DataSet {
    /// All, in the order of measurement.
    pub const ALL: [Self; 7] = [Needles64K, Needles8K, Needles4K, Mixed, Large, Shards, Empty];

    /// Name of its directory.
    pub fn name(self) -> &'static str {
        match self {
            Needles4K => "4k",
            Needles8K => "8k",
            Needles64K => "64k",
            Mixed => "mixed",
            Large => "large",
            Shards => "shards",
            Empty => "empty",
        }
    }

    /// Sizes in the syntax of the load generator, and their mean (bytes).
    pub fn sizes(self) -> (&'static str, u64) {
        match self {
            Needles4K => ("4KiB", 4 << 10),
            Needles8K | Shards => ("8KiB", 8 << 10),
            Needles64K | Empty => ("64KiB", 64 << 10),
            Mixed => ("mix:8KiB=70,64KiB=30", (7 * (8 << 10) + 3 * (64 << 10)) / 10),
            Large => ("8MiB", 8 << 20),
        }
    }

    /// Volumes, in the syntax of the load generator.
    pub fn volumes(self) -> &'static str {
        if self == Shards { "1,2" } else { "1" }
    }
}

/// System under test, or reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The daemon with one shard.
    Hayloft,
    /// Another build of it.
    OtherBuild,
    /// The daemon with one shard and volumes preallocated with zeros.
    Zeroed,
    /// The daemon with two shards; requests go to the port of the shard that owns the volume.
    OwnPort,
    /// The daemon with two shards; requests go to the common port, half of them to the wrong shard first.
    AnyPort,
    /// nginx with files, optimised: sendfile, aio threads, open_file_cache, keep-alive.
    Nginx,
    /// The volume server of SeaweedFS (Go).
    SeaweedFs,
    /// The volume server of SeaweedFS, with `fsync=true` on every write.
    SeaweedFsFsync,
    /// A plain server on tokio-uring over the daemon's own volume files.
    Baseline,
    /// The daemon's ring and HTTP without a disk.
    Null,
    /// The daemon's ring and the disk without HTTP.
    Ring,
    /// fio reading the same part of the file.
    Fio,
    /// fio with this percentage of reads, the rest durable writes, on its own file.
    FioMix(u32),
}

/// Rate of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: as fast as the server answers.
    Closed,
    /// Open loop with this multiple of the last rate of the workload's first entry.
    OfFirst(f64),
}

/// Load on a subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Connections (in an open loop the maximum), or the queue depth of raw reads.
    pub connections: u32,
    /// Rate of requests.
    pub pace: Pace,
    /// Weights of the operations.
    pub mix: &'static str,
    /// Popularity distribution of the objects.
    pub popularity: &'static str,
    /// Fraction of GETs for objects that do not exist.
    pub missing: f64,
    /// Length of range reads.
    pub range_len: Option<&'static str>,
    /// Objects per write, if a fixed number of objects is written instead of for a fixed time.
    pub multi_write: Option<u32>,
    /// Sizes, if different from those of the data set.
    pub sizes: Option<&'static str>,
}

impl Load {
    /// Share of PUTs, 0 to 1.
    pub fn puts(&self) -> f64 {
        let shares = self.mix.split(',').filter_map(|part| part.split_once('='));
        let shares = shares.filter_map(|(kind, share)| Some((kind, share.parse::<f64>().ok()?)));
        let (mut all, mut puts) = (0.0, 0.0);
        for (kind, share) in shares {
            all += share;
            puts += if kind == "put" { share } else { 0.0 };
        }
        puts / all
    }
}

const fn gets(connections: u32) -> Load {
    Load {
        connections,
        pace: Pace::Closed,
        mix: "get=100",
        popularity: "uniform",
        missing: 0.0,
        range_len: None,
        multi_write: None,
        sizes: None,
    }
}

const fn mixed(mix: &'static str) -> Load {
    Load { mix, ..gets(32) }
}

const fn puts(connections: u32, sizes: &'static str) -> Load {
    Load { mix: "put=100", sizes: Some(sizes), ..gets(connections) }
}

const fn multi_writes(each: u32) -> Load {
    Load { multi_write: Some(each), ..puts(16, "64KiB") }
}

const fn open_loop(of_peak: f64) -> Load {
    Load { pace: Pace::OfFirst(of_peak), ..gets(4096) }
}

/// Entry of a workload: a subject under a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Name in the workload.
    pub name: &'static str,
    /// System under test, or reference.
    pub subject: Subject,
    /// Load on it.
    pub load: Load,
}

const fn entry(name: &'static str, subject: Subject, load: Load) -> Entry {
    Entry { name, subject, load }
}

/// A set of entries that are measured in alternating blocks.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Name, for `--only` and file names.
    pub name: &'static str,
    /// Description.
    pub what: &'static str,
    /// Data set.
    pub data: DataSet,
    /// Whether the memory limit of the servers is lifted, so that the data set fits.
    pub in_memory: bool,
    /// Whether system calls are counted in a separate block.
    pub traced: bool,
    /// Entries; ratios are those of the first one to each other one.
    pub entries: &'static [Entry],
}

/// Name of the entry of another build of the daemon.
pub const OTHER_BUILD: &str = "other build";

impl Workload {
    /// The same load on the daemon and another build of it, and on nothing else. It is kept until the end of
    /// the process.
    pub fn against_other_build(&self) -> &'static Self {
        let own = self.entries.iter().find(|entry| entry.subject == Hayloft);
        let own = *own.expect("every workload measures the daemon with one shard");
        let other = Entry { name: OTHER_BUILD, subject: Subject::OtherBuild, ..own };
        let entries = Box::leak(Box::new([own, other]));
        Box::leak(Box::new(Self { traced: false, entries, ..*self }))
    }
}

const fn workload(
    name: &'static str,
    what: &'static str,
    data: DataSet,
    entries: &'static [Entry],
) -> Workload {
    Workload { name, what, data, in_memory: false, traced: false, entries }
}

const fn traced(workload: Workload) -> Workload {
    Workload { traced: true, ..workload }
}

const fn in_memory(workload: Workload) -> Workload {
    Workload { in_memory: true, ..workload }
}

/// All workloads, grouped by data set; those with data in memory last in their group.
pub const WORKLOADS: &[Workload] = &[
    workload(
        "get-64k-1",
        "64 KiB GETs, one at a time",
        Needles64K,
        &[
            entry("hayloft", Hayloft, gets(1)),
            entry("ring", Ring, gets(1)),
            entry("fio", Fio, gets(1)),
            entry("null", Null, gets(1)),
            entry("nginx", Nginx, gets(1)),
            entry("seaweedfs", SeaweedFs, gets(1)),
        ],
    ),
    traced(workload(
        "get-64k-32",
        "A of the paper: 64 KiB GETs, 32 connections",
        Needles64K,
        &[
            entry("hayloft", Hayloft, gets(32)),
            entry("ring", Ring, gets(32)),
            entry("fio", Fio, gets(32)),
            entry("nginx", Nginx, gets(32)),
            entry("seaweedfs", SeaweedFs, gets(32)),
            entry("baseline", Baseline, gets(32)),
            entry("null", Null, gets(32)),
        ],
    )),
    workload(
        "mix-95-5",
        "95 % GET, 5 % PUT of 64 KiB, 32 connections, against GETs alone; fio does the same on the device",
        Needles64K,
        &[
            entry("hayloft 95/5", Hayloft, mixed("get=95,put=5")),
            entry("hayloft reads", Hayloft, gets(32)),
            entry("fio 95/5", FioMix(95), gets(32)),
            entry("fio reads", FioMix(100), gets(32)),
        ],
    ),
    workload(
        "mix-98-2",
        "F of the paper: 98 % GET, 2 % PUT of 64 KiB, 32 connections",
        Needles64K,
        &[
            entry("hayloft", Hayloft, mixed("get=98,put=2")),
            entry("seaweedfs", SeaweedFs, mixed("get=98,put=2")),
        ],
    ),
    workload(
        "mix-96-4",
        "G of the paper: 96 % GET, 4 % PUT of 64 KiB, 32 connections",
        Needles64K,
        &[
            entry("hayloft", Hayloft, mixed("get=96,put=4")),
            entry("seaweedfs", SeaweedFs, mixed("get=96,put=4")),
        ],
    ),
    workload(
        "knee",
        "64 KiB GETs in an open loop (Poisson), at fractions of the peak rate of 64 connections",
        Needles64K,
        &[
            entry("closed", Hayloft, gets(64)),
            entry("0.50", Hayloft, open_loop(0.5)),
            entry("0.70", Hayloft, open_loop(0.7)),
            entry("0.80", Hayloft, open_loop(0.8)),
            entry("0.90", Hayloft, open_loop(0.9)),
            entry("0.95", Hayloft, open_loop(0.95)),
            entry("1.00", Hayloft, open_loop(1.0)),
            entry("1.10", Hayloft, open_loop(1.1)),
        ],
    ),
    workload(
        "overload",
        "64 KiB GETs in an open loop (Poisson), at twice the peak rate of 64 connections",
        Needles64K,
        &[entry("peak", Hayloft, gets(64)), entry("2x", Hayloft, open_loop(2.0))],
    ),
    in_memory(workload(
        "get-64k-32-in-memory",
        "the same 64 KiB GETs when everything fits into memory",
        Needles64K,
        &[
            entry("hayloft", Hayloft, gets(32)),
            entry("nginx", Nginx, gets(32)),
            entry("seaweedfs", SeaweedFs, gets(32)),
        ],
    )),
    workload(
        "get-8k-1",
        "8 KiB GETs, one at a time",
        Needles8K,
        &[
            entry("hayloft", Hayloft, gets(1)),
            entry("nginx", Nginx, gets(1)),
            entry("seaweedfs", SeaweedFs, gets(1)),
        ],
    ),
    workload(
        "get-8k-32",
        "8 KiB GETs, 32 connections",
        Needles8K,
        &[
            entry("hayloft", Hayloft, gets(32)),
            entry("ring", Ring, gets(32)),
            entry("fio", Fio, gets(32)),
            entry("nginx", Nginx, gets(32)),
            entry("seaweedfs", SeaweedFs, gets(32)),
        ],
    ),
    traced(workload(
        "get-8k-64",
        "8 KiB GETs, 64 connections",
        Needles8K,
        &[
            entry("hayloft", Hayloft, gets(64)),
            entry("nginx", Nginx, gets(64)),
            entry("baseline", Baseline, gets(64)),
            entry("ring", Ring, gets(64)),
            entry("null", Null, gets(64)),
        ],
    )),
    workload(
        "get-8k-128",
        "8 KiB GETs, 128 connections",
        Needles8K,
        &[
            entry("hayloft", Hayloft, gets(128)),
            entry("nginx", Nginx, gets(128)),
            entry("seaweedfs", SeaweedFs, gets(128)),
        ],
    ),
    workload(
        "zipf-missing",
        "8 KiB GETs, 32 connections, Zipf (exponent 1), half of them of objects that do not exist",
        Needles8K,
        &[
            entry("hayloft", Hayloft, Load { popularity: "zipf:1.0", missing: 0.5, ..gets(32) }),
            entry("nginx", Nginx, Load { popularity: "zipf:1.0", missing: 0.5, ..gets(32) }),
            entry(
                "seaweedfs",
                SeaweedFs,
                Load { popularity: "zipf:1.0", missing: 0.5, ..gets(32) },
            ),
        ],
    ),
    workload(
        "missing",
        "GETs of objects that do not exist, 32 connections",
        Needles8K,
        &[
            entry("hayloft", Hayloft, Load { missing: 1.0, ..gets(32) }),
            entry("nginx", Nginx, Load { missing: 1.0, ..gets(32) }),
            entry("seaweedfs", SeaweedFs, Load { missing: 1.0, ..gets(32) }),
        ],
    ),
    in_memory(workload(
        "get-8k-32-in-memory",
        "the same 8 KiB GETs when everything fits into memory",
        Needles8K,
        &[
            entry("hayloft", Hayloft, gets(32)),
            entry("nginx", Nginx, gets(32)),
            entry("seaweedfs", SeaweedFs, gets(32)),
        ],
    )),
    workload(
        "get-4k-1",
        "4 KiB GETs, one at a time",
        Needles4K,
        &[entry("hayloft", Hayloft, gets(1)), entry("nginx", Nginx, gets(1))],
    ),
    workload(
        "get-4k-32",
        "4 KiB GETs, 32 connections",
        Needles4K,
        &[entry("hayloft", Hayloft, gets(32)), entry("nginx", Nginx, gets(32))],
    ),
    workload(
        "get-4k-64",
        "4 KiB GETs, 64 connections",
        Needles4K,
        &[entry("hayloft", Hayloft, gets(64)), entry("nginx", Nginx, gets(64))],
    ),
    workload(
        "get-4k-128",
        "4 KiB GETs, 128 connections",
        Needles4K,
        &[entry("hayloft", Hayloft, gets(128)), entry("nginx", Nginx, gets(128))],
    ),
    workload(
        "get-mixed-32",
        "B of the paper: 70 % of 8 KiB and 30 % of 64 KiB, 32 connections",
        Mixed,
        &[
            entry("hayloft", Hayloft, gets(32)),
            entry("nginx", Nginx, gets(32)),
            entry("seaweedfs", SeaweedFs, gets(32)),
        ],
    ),
    workload(
        "get-8m-4",
        "8 MiB GETs, 4 connections",
        Large,
        &[
            entry("hayloft", Hayloft, gets(4)),
            entry("nginx", Nginx, gets(4)),
            entry("seaweedfs", SeaweedFs, gets(4)),
        ],
    ),
    workload(
        "range-8m-32",
        "ranges of 64 KiB of 8 MiB, 32 connections",
        Large,
        &[
            entry(
                "hayloft",
                Hayloft,
                Load { range_len: Some("64KiB"), ..mixed("get=0,range=100") },
            ),
            entry("nginx", Nginx, Load { range_len: Some("64KiB"), ..mixed("get=0,range=100") }),
            entry(
                "seaweedfs",
                SeaweedFs,
                Load { range_len: Some("64KiB"), ..mixed("get=0,range=100") },
            ),
        ],
    ),
    workload(
        "shards",
        "8 KiB GETs, one shard with 64 connections, and two shards through their own or any port, with 64 \
         connections in total or each",
        Shards,
        &[
            entry("1 shard", Hayloft, gets(64)),
            entry("2, own port", OwnPort, gets(64)),
            entry("2, any port", AnyPort, gets(64)),
            entry("2, own port, 64 each", OwnPort, gets(128)),
            entry("2, any port, 64 each", AnyPort, gets(128)),
        ],
    ),
    workload(
        "put-8k-32",
        "durable 8 KiB PUTs, 32 connections, also to zeroed volumes; SeaweedFS without and with fsync",
        Empty,
        &[
            entry("hayloft", Hayloft, puts(32, "8KiB")),
            entry("hayloft zeroed", Zeroed, puts(32, "8KiB")),
            entry("seaweedfs", SeaweedFs, puts(32, "8KiB")),
            entry("seaweedfs fsync", SeaweedFsFsync, puts(32, "8KiB")),
        ],
    ),
    workload(
        "put-8k-64",
        "durable 8 KiB PUTs, 64 connections",
        Empty,
        &[
            entry("hayloft", Hayloft, puts(64, "8KiB")),
            entry("seaweedfs fsync", SeaweedFsFsync, puts(64, "8KiB")),
        ],
    ),
    workload(
        "put-64k-64",
        "durable 64 KiB PUTs, 64 connections",
        Empty,
        &[
            entry("hayloft", Hayloft, puts(64, "64KiB")),
            entry("seaweedfs fsync", SeaweedFsFsync, puts(64, "64KiB")),
        ],
    ),
    workload(
        "multi-write",
        "C, D and E of the paper: 64 KiB images, 1, 4 and 16 in each durable write, 16 connections",
        Empty,
        &[
            entry("1 each", Hayloft, multi_writes(1)),
            entry("4 each", Hayloft, multi_writes(4)),
            entry("16 each", Hayloft, multi_writes(16)),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_valid_file_names() {
        let names: BTreeSet<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
        assert_eq!(names.len(), WORKLOADS.len());
        for workload in WORKLOADS {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            assert!(workload.name.chars().all(plain), "{}", workload.name);
            let entries: BTreeSet<&str> = workload.entries.iter().map(|entry| entry.name).collect();
            assert_eq!(entries.len(), workload.entries.len(), "{}", workload.name);
        }
    }

    #[test]
    fn workloads_with_data_in_memory_come_last_in_their_data_set() {
        for data in DataSet::ALL {
            let of: Vec<_> = WORKLOADS.iter().filter(|workload| workload.data == data).collect();
            assert!(!of.is_empty(), "no workload uses {data:?}");
            assert!(of.is_sorted_by_key(|workload| workload.in_memory), "{data:?}");
        }
    }

    #[test]
    fn the_share_of_puts_follows_from_the_mix() {
        let shares: Vec<f64> = WORKLOADS
            .iter()
            .flat_map(|workload| workload.entries)
            .map(|entry| entry.load.puts())
            .collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
        assert_eq!((mixed("get=95,put=5").puts(), gets(1).puts()), (0.05, 0.0));
    }

    #[test]
    fn another_build_has_the_same_load() {
        for workload in WORKLOADS {
            let against = workload.against_other_build();
            let [own, other] = against.entries else { panic!("{} has two", workload.name) };
            assert_eq!((own.subject, other.subject), (Hayloft, Subject::OtherBuild));
            assert_eq!((own.load, other.name), (other.load, OTHER_BUILD));
            assert_eq!((against.name, against.data), (workload.name, workload.data));
        }
    }

    #[test]
    fn the_first_entry_is_a_closed_loop() {
        for workload in WORKLOADS {
            assert_eq!(workload.entries[0].load.pace, Pace::Closed, "{}", workload.name);
        }
    }
}
