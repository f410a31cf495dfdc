//! Where in a recording a new file began to count.

use std::collections::BTreeMap;

use faultdisk::RequestLog;
use faultdisk::log::Kind;

use super::superblock::Superblock;
use crate::error::Error;
use crate::history::Moment;

/// Longest write that holds one superblock copy (bytes).
const LEN_MAX: u64 = 8192;

/// Writes of the superblock copies that make a new file count. The first of them is the atomic point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapPoint {
    /// Number of requests completed when the first copy was issued.
    pub from: Moment,
    /// Number of requests completed when the last copy was.
    pub to: Moment,
}

/// Finds the swaps of a recording, in order.
pub fn find(log: &RequestLog) -> Result<Vec<SwapPoint>, Error> {
    let mut found: BTreeMap<(u32, u64), (SwapPoint, u32)> = BTreeMap::new();
    for (n, entry) in log.entries().iter().enumerate() {
        if entry.kind != Kind::Write || entry.len > LEN_MAX {
            continue;
        }
        let Some(copy) = Superblock::decode(&log.data(n)?) else { continue };
        if !copy.is_finished || copy.generation == 0 {
            continue;
        }
        let point = SwapPoint { from: entry.begun, to: n as u64 + 1 };
        let (swap, copies) = found.entry((copy.volume, copy.generation)).or_insert((point, 0));
        // Later changes write the copies again.
        if *copies < 3 {
            *copies += 1;
            swap.to = n as u64 + 1;
        }
    }
    let mut swaps: Vec<SwapPoint> = found.into_values().map(|(swap, _)| swap).collect();
    swaps.sort_unstable_by_key(|swap| swap.from);
    Ok(swaps)
}
