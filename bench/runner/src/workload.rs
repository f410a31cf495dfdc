//! The workloads: what is measured, of whom, over which data. One table.
//!
//! A to G are those of the Haystack paper (OSDI 2010, section 4.2.2). Its multi-writes in F and G are single
//! writes here, at the same share of requests.

use Data::{Empty, Large, Mixed, Needles4K, Needles8K, Needles64K, Shards};
use Subject::{
    AnyPort, Baseline, Fio, FioMix, Hayloft, Nginx, Null, OwnPort, Ring, SeaweedFs, SeaweedFsFsync,
    Zeroed,
};

/// What is filled, alike on every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// 4 KiB each.
    Needles4K,
    /// 8 KiB each.
    Needles8K,
    /// 64 KiB each.
    Needles64K,
    /// 70 % of 8 KiB, 30 % of 64 KiB, as in workload B of the paper.
    Mixed,
    /// 8 MiB each.
    Large,
    /// 8 KiB each, in two volumes, for one shard and for two.
    Shards,
    /// Nothing: every block begins with an empty server.
    Empty,
}

impl Data {
    /// All, in the order in which they are measured.
    pub const ALL: [Self; 7] = [Needles64K, Needles8K, Needles4K, Mixed, Large, Shards, Empty];

    /// Its directory.
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

    /// Sizes as the load generator has them, and their mean (bytes).
    pub fn sizes(self) -> (&'static str, u64) {
        match self {
            Needles4K => ("4KiB", 4 << 10),
            Needles8K | Shards => ("8KiB", 8 << 10),
            Needles64K | Empty => ("64KiB", 64 << 10),
            Mixed => ("mix:8KiB=70,64KiB=30", (7 * (8 << 10) + 3 * (64 << 10)) / 10),
            Large => ("8MiB", 8 << 20),
        }
    }

    /// Its volumes.
    pub fn volumes(self) -> &'static str {
        if self == Shards { "1,2" } else { "1" }
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The daemon with one shard.
    Hayloft,
    /// The daemon with one shard, whose volumes were written with zeros when they were made.
    Zeroed,
    /// The daemon with two shards, asked at the port of the shard that owns the volume.
    OwnPort,
    /// The same, asked at the common port: half of the requests go to the wrong shard first.
    AnyPort,
    /// nginx with files, at its best: sendfile, aio threads, open_file_cache, keep-alive.
    Nginx,
    /// The volume server of SeaweedFS (Go).
    SeaweedFs,
    /// The same, with `fsync=true` on every write.
    SeaweedFsFsync,
    /// A plain server on tokio-uring over the daemon's own volume files.
    Baseline,
    /// The daemon's ring and HTTP without a disk.
    Null,
    /// The daemon's ring and the disk without HTTP.
    Ring,
    /// fio at its fastest: reads of the same spans.
    Fio,
    /// fio with so many of 100 reads, the rest durable writes, on a file of its own.
    FioMix(u32),
}

/// How fast it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as it answers.
    Closed,
    /// So many times the rate that the workload's first entry got last, whatever becomes of it.
    OfFirst(f64),
}

/// What it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Connections; in an open loop the most there may be; for the device its depth.
    pub connections: u32,
    /// Pace.
    pub pace: Pace,
    /// Shares of operations.
    pub mix: &'static str,
    /// Which objects.
    pub popularity: &'static str,
    /// Share of GETs for what does not exist.
    pub missing: f64,
    /// Length of a range.
    pub range_len: Option<&'static str>,
    /// Objects in each write, where a fixed number of objects is written instead of for a time.
    pub multi_write: Option<u32>,
    /// Sizes, where they are not those of the data.
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

/// One of those who are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Its name in the workload.
    pub name: &'static str,
    /// Who it is.
    pub subject: Subject,
    /// What it is asked.
    pub load: Load,
}

const fn entry(name: &'static str, subject: Subject, load: Load) -> Entry {
    Entry { name, subject, load }
}

/// What is measured together, in alternating blocks.
#[derive(Debug)]
pub struct Workload {
    /// Its name, for `--only` and the files.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// The data.
    pub data: Data,
    /// Whether all of the data fits into the memory that servers may use.
    pub in_memory: bool,
    /// Whether system calls are counted too, in a block of their own.
    pub traced: bool,
    /// Who is compared; ratios are those of the first one to each of the others.
    pub entries: &'static [Entry],
}

const fn workload(
    name: &'static str,
    what: &'static str,
    data: Data,
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

/// All of them. Those whose data fits into memory come last of their data.
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
        "64 KiB GETs that arrive by themselves (Poisson), at shares of what 64 connections get",
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
        "64 KiB GETs at twice the rate that 64 connections get (Poisson)",
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
        "8 KiB GETs, 32 connections, Zipf (exponent 1), half of them for what does not exist",
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
        "GETs for what does not exist, 32 connections",
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
        "8 KiB GETs, one shard with 64 connections, and two that are asked at the right port or at any, with \
         as many together or each",
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
    fn names_are_told_apart_and_name_files() {
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
    fn memory_is_scarce_first_and_data_stay_together() {
        for data in Data::ALL {
            let of: Vec<_> = WORKLOADS.iter().filter(|workload| workload.data == data).collect();
            assert!(!of.is_empty(), "{data:?} is measured by nobody");
            assert!(of.is_sorted_by_key(|workload| workload.in_memory), "{data:?}");
        }
    }

    #[test]
    fn the_share_of_puts_is_that_of_the_mix() {
        let shares: Vec<f64> = WORKLOADS
            .iter()
            .flat_map(|workload| workload.entries)
            .map(|entry| entry.load.puts())
            .collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
        assert_eq!((mixed("get=95,put=5").puts(), gets(1).puts()), (0.05, 0.0));
    }

    #[test]
    fn the_first_entry_sets_the_pace() {
        for workload in WORKLOADS {
            assert_eq!(workload.entries[0].load.pace, Pace::Closed, "{}", workload.name);
        }
    }
}
