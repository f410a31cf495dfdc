//! The cores that run shards: `all`, or a list such as `0,2-5`.

use std::fmt;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::limits::SHARDS_MAX;

/// Number of cores in an affinity mask (`sched_getaffinity(2)`): core ids are below this.
pub const CORE_ID_LIMIT: usize = CpuSet::count();
// A core runs one shard.
const _: () = assert!(CORE_ID_LIMIT <= SHARDS_MAX);

/// The cores to run on, one shard each. Text form: `all` or a list such as `0,2-5`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Cores {
    /// Every core this process may run on.
    #[default]
    All,
    /// The cores named, shard 0 on the first of them.
    List(CoreList),
}

/// Core ids in the order given: shard k runs on the k-th. Never empty, without duplicates, each below 1024.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreList(Vec<usize>);

impl CoreList {
    /// The core ids, in the order given.
    #[must_use]
    pub fn ids(&self) -> &[usize] {
        &self.0
    }
}

/// Why a text is no list of cores, or the cores are not available.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CoresError {
    /// An empty list, or nothing between two commas.
    #[error("{0:?} has an empty entry; write core numbers and ranges, for instance 0,2-5, or all")]
    Empty(String),
    /// Neither a number nor a range.
    #[error("{0:?} is not a core number or a range; write for instance 0,2-5, or all")]
    NotACore(String),
    /// A range is descending.
    #[error("the range {first}-{last} runs backwards; write {last}-{first}")]
    Backwards {
        /// First id of the range.
        first: usize,
        /// Last id of the range.
        last: usize,
    },
    /// An id is beyond the affinity mask.
    #[error(
        "core {0} is beyond {last}, the highest core number; see nproc and /proc/cpuinfo",
        last = CORE_ID_LIMIT - 1
    )]
    Beyond(usize),
    /// An id is named twice: two shards would share a core.
    #[error("core {0} is named twice; name each core once, since a core runs one shard")]
    Twice(usize),
    /// Cores outside the mask of this process.
    #[error(
        "this process may not run on {}; it may run on {}: name some of these, or widen the mask \
         (taskset, CPUAffinity= or AllowedCPUs= in systemd, the container's cpuset)",
        describe(.unavailable), describe(.available)
    )]
    Unavailable {
        /// Named cores that are not available.
        unavailable: Vec<usize>,
        /// Available cores.
        available: Vec<usize>,
    },
    /// The affinity mask of this process cannot be read.
    #[error(
        "the cores of this process cannot be read (sched_getaffinity: {0}); name them, for instance 0-3"
    )]
    Affinity(Errno),
}

impl Cores {
    /// Returns the core of each shard; `available` are the cores that this process may run on.
    ///
    /// # Errors
    /// [`CoresError::Unavailable`] names every core that is not in `available`.
    pub fn resolve(&self, available: &[usize]) -> Result<Vec<usize>, CoresError> {
        let Self::List(list) = self else {
            return Ok(available.to_vec());
        };
        let unavailable: Vec<usize> =
            list.0.iter().copied().filter(|core| !available.contains(core)).collect();
        if unavailable.is_empty() {
            return Ok(list.0.clone());
        }
        Err(CoresError::Unavailable { unavailable, available: available.to_vec() })
    }
}

/// Returns the cores that this process may run on, ascending; never empty.
///
/// # Errors
/// [`CoresError::Affinity`] when the kernel has more cores than its mask has room for (1024).
pub fn available_cores() -> Result<Vec<usize>, CoresError> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(CoresError::Affinity)?;
    let cores: Vec<usize> =
        (0..CORE_ID_LIMIT).filter(|core| set.is_set(*core).unwrap_or(false)).collect();
    assert!(!cores.is_empty(), "the affinity mask of a running thread is not empty");
    Ok(cores)
}

impl FromStr for Cores {
    type Err = CoresError;

    fn from_str(text: &str) -> Result<Self, CoresError> {
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        text.parse().map(Self::List)
    }
}

impl FromStr for CoreList {
    type Err = CoresError;

    fn from_str(text: &str) -> Result<Self, CoresError> {
        let mut ids = Vec::new();
        for entry in text.split(',').map(str::trim) {
            if entry.is_empty() {
                return Err(CoresError::Empty(text.to_owned()));
            }
            let (first, last) = match entry.split_once('-') {
                Some((first, last)) => (core_id(entry, first)?, core_id(entry, last)?),
                None => (core_id(entry, entry)?, core_id(entry, entry)?),
            };
            if first > last {
                return Err(CoresError::Backwards { first, last });
            }
            for id in first..=last {
                if ids.contains(&id) {
                    return Err(CoresError::Twice(id));
                }
                ids.push(id);
            }
        }
        assert!(!ids.is_empty(), "split yields at least one entry");
        Ok(Self(ids))
    }
}

/// Parses one id. The bound is checked before a range is expanded, so that `0-4000000000` is cheap.
fn core_id(entry: &str, text: &str) -> Result<usize, CoresError> {
    let text = text.trim();
    // `parse` alone would accept "+1".
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CoresError::NotACore(entry.to_owned()));
    }
    match text.parse() {
        Ok(id) if id < CORE_ID_LIMIT => Ok(id),
        Ok(id) => Err(CoresError::Beyond(id)),
        Err(_) => Err(CoresError::Beyond(usize::MAX)),
    }
}

/// Formats `[0, 2, 3, 4, 5]` as `0,2-5`: consecutive ids become a range.
pub(super) fn describe(ids: &[usize]) -> String {
    let ranges: Vec<String> = ids
        .chunk_by(|left, right| left + 1 == *right)
        .map(|run| match run {
            [only] => only.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => String::new(),
        })
        .collect();
    if ranges.is_empty() {
        return "no core".to_owned();
    }
    ranges.join(",")
}

impl fmt::Display for CoreList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(&self.0))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::List(list) => list.fmt(f),
        }
    }
}

impl TryFrom<String> for Cores {
    type Error = CoresError;

    fn try_from(text: String) -> Result<Self, CoresError> {
        text.parse()
    }
}

impl From<Cores> for String {
    fn from(cores: Cores) -> Self {
        cores.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<usize> {
        match text.parse() {
            Ok(Cores::List(list)) => list.ids().to_vec(),
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn lists_parse_in_the_order_given() {
        assert_eq!(list("0"), [0]);
        assert_eq!(list("0,2-5"), [0, 2, 3, 4, 5]);
        assert_eq!(list("7, 0-1 ,3-3"), [7, 0, 1, 3]);
        assert_eq!(list("1023"), [1023]);
        assert_eq!("all".parse(), Ok(Cores::All));
    }

    #[test]
    fn invalid_core_lists_are_rejected_with_advice() {
        for (text, advice) in [
            ("", "has an empty entry"),
            ("0,,2", "has an empty entry"),
            ("0,", "has an empty entry"),
            ("a", "\"a\" is not a core number"),
            ("1-", "\"1-\" is not a core number"),
            ("-1", "\"-1\" is not a core number"),
            ("+1", "\"+1\" is not a core number"),
            ("1-2-3", "\"1-2-3\" is not a core number"),
            ("All", "\"All\" is not a core number"),
            ("5-2", "write 2-5"),
            ("1,0-2", "core 1 is named twice"),
            ("1024", "core 1024 is beyond 1023"),
            ("0-4000000000", "core 4000000000 is beyond"),
        ] {
            let error = text.parse::<Cores>().expect_err(text).to_string();
            assert!(error.contains(advice), "{text:?}: {error}");
        }
    }

    #[test]
    fn unavailable_cores_are_named() {
        let available = [0, 2, 3];
        assert_eq!(Cores::All.resolve(&available), Ok(vec![0, 2, 3]));
        let some: Cores = "3,0".parse().unwrap();
        assert_eq!(some.resolve(&available), Ok(vec![3, 0]));
        let too_many: Cores = "0-5".parse().unwrap();
        let error = too_many.resolve(&available).unwrap_err().to_string();
        assert!(error.contains("may not run on 1,4-5; it may run on 0,2-3"), "{error}");
    }

    #[test]
    fn core_lists_round_trip_through_text() {
        for text in ["all", "0", "0,2-5", "7,0-1,3"] {
            assert_eq!(text.parse::<Cores>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn available_cores_match_the_affinity_in_proc() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let listed =
            status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert_eq!(available_cores().unwrap(), list(listed.trim()));
    }
}
