//! The part `index`: memory of the index after a compaction, and of both indexes during it.

use std::time::Duration;

use serde_json::json;

use super::admin::Admin;
use super::outcome::Outcome;
use super::scene::Scene;
use crate::photos::Batches;
use crate::process::Failed;

/// Memory for each needle that the documentation states (bytes; docs/OPERATIONS.md).
const STATED: f64 = 30.0;
/// Needles of every ten that are replaced before the compaction.
const REPLACED: u64 = 3;
/// Interval at which the memory is sampled.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);
/// Space of a needle in the log, rounded up (bytes).
const NEEDLE: u64 = 1040;
/// Photos that are in the volume when the memory of the empty daemon is measured.
const FIRST: usize = 5000;
/// Photos that are read afterwards.
const SAMPLE: u64 = 1000;

fn photo(key: u64) -> usize {
    usize::try_from(1 + key % 100).expect("below 101")
}

/// Measures the memory of indexes with `needles` needles.
///
/// # Errors
/// When the volume cannot be filled or compacted, or a photo is lost.
pub fn index(scene: &Scene, needles: u64) -> Result<Outcome, Failed> {
    let mut outcome = Outcome::measured(format!(
        "One idle shard, one volume with {needles} photos of up to 100 bytes, of which three tenths were \
         replaced. The memory for both indexes is the largest `VmRSS` during the compaction (sampled every \
         20 ms) less that of the nearly empty daemon, for each needle; the bound of docs/OPERATIONS.md is \
         {STATED} bytes."
    ));
    let log = needles * NEEDLE * (10 + REPLACED) / 10;
    let node = scene.new_node("0", (log >> 20) + 256, &["--shard-ports", "off"])?;
    let admin = Admin::of(&node);
    let photos = Batches { volume: 1, each: 1000, len_of: photo };
    let keys: Vec<u64> = (0..needles).collect();
    // The first batches make the daemon allocate what it needs whatever the number of needles is.
    let (first, rest) = keys.split_at(FIRST.min(keys.len()));
    photos.put(node.data, first)?;
    let empty = node.resident()?;
    photos.put(node.data, rest)?;
    let replaced: Vec<u64> = keys.iter().copied().filter(|key| key % 10 < REPLACED).collect();
    photos.put(node.data, &replaced)?;
    let (before, filled) = (admin.volume(1)?, node.resident()?);
    let mut most = filled;
    let ended = admin.compact_watched(1, SAMPLE_INTERVAL, |_| {
        most = most.max(node.resident()?);
        Ok(())
    })?;
    let (after, later) = (admin.volume(1)?, node.resident()?);
    if after.needles != needles {
        return Err(Failed(format!("LOST: {} of {needles} needles live", after.needles)));
    }
    let step = usize::try_from(needles / SAMPLE + 1).expect("usize has 64 bits");
    let sample: Vec<u64> = keys.iter().copied().step_by(step).collect();
    photos.check(node.data, &sample)?;
    let each = |bytes: f64| bytes / needles as f64;
    outcome.at_most(
        "index after the compaction",
        (after.index_bytes_per_needle, 9.0),
        (2, " bytes a needle"),
    );
    outcome.at_most(
        "memory with both indexes",
        (each(most - empty), STATED),
        (2, " bytes a needle"),
    );
    outcome.show(
        "bytes a needle",
        format!(
            "index before {:.2}; resident before {:.2}, at most {:.2}, after {:.2}",
            before.index_bytes_per_needle,
            each(filled - empty),
            each(most - empty),
            each(later - empty)
        ),
    );
    outcome.show(
        "the compaction",
        format!(
            "{:.0} s, {:.0} needles/s, read / used {:.3}, written / live {:.3}",
            ended.seconds,
            needles as f64 / ended.seconds,
            ended.read as f64 / before.used as f64,
            ended.written as f64 / before.live as f64
        ),
    );
    outcome.rounds.push(json!({
        "needles": needles, "before": before, "after": after, "resident_empty": empty,
        "resident_before": filled, "resident_max": most, "resident_after": later,
    }));
    node.stop()?;
    Ok(outcome)
}
