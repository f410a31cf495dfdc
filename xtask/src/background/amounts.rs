//! The part `amounts`: bytes that a compaction reads and writes.

use fastrand::Rng;
use serde_json::json;

use super::admin::Admin;
use super::counters::Moved;
use super::outcome::Outcome;
use super::scene::Scene;
use crate::node::Node;
use crate::photos::{Batches, delete};
use crate::process::Failed;

/// Log to write for each case (MiB), and in a trial run.
const LOG_MIB: (u64, u64) = (1024, 96);
/// Length of a tombstone in the log (bytes).
const TOMBSTONE: u64 = 1024;
/// Largest number of photos in a batch.
const EACH: usize = 1000;

/// How half of the photos die.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    Deleted,
    Replaced,
    None,
}

struct Case {
    what: &'static str,
    len_of: fn(u64) -> usize,
    /// Mean length in the log (bytes).
    mean: u64,
    death: Death,
}

const CASES: [Case; 4] = [
    Case {
        what: "4 to 124 KiB, half deleted",
        len_of: large,
        mean: 66 << 10,
        death: Death::Deleted,
    },
    Case { what: "4 to 124 KiB, all live", len_of: large, mean: 66 << 10, death: Death::None },
    Case {
        what: "512 to 1535 bytes, half replaced",
        len_of: small,
        mean: 1600,
        death: Death::Replaced,
    },
    Case {
        what: "512 to 1535 bytes, half deleted",
        len_of: small,
        mean: 1600,
        death: Death::Deleted,
    },
];

fn large(key: u64) -> usize {
    usize::try_from((4 << 10) + key.wrapping_mul(0x9E37_79B9) % (120 << 10)).expect("below 2^17")
}

fn small(key: u64) -> usize {
    usize::try_from(512 + key.wrapping_mul(0x9E37_79B9) % 1024).expect("below 2^11")
}

/// Half of the keys, by chance.
#[must_use]
pub fn half(keys: &[u64], seed: u64) -> Vec<u64> {
    let mut random = Rng::with_seed(seed);
    keys.iter().copied().filter(|_| random.bool()).collect()
}

/// Compares the bytes that compactions read and wrote with those of the log and the live needles.
///
/// # Errors
/// When a case fails, or a photo is lost.
pub fn amounts(scene: &Scene) -> Result<Outcome, Failed> {
    let mib = scene.choose(LOG_MIB.0, LOG_MIB.1);
    let mut outcome = Outcome::measured(format!(
        "One idle shard, volumes with about {mib} MiB of log, compacted at the default pace. *Used* is the \
         end of the log, *live* the bytes of needles that can be read, before the compaction; *read* and \
         *written* are the daemon's figures of the compaction. The device reads what was written once more: \
         the verification. A tombstone of 1 KiB is kept for each deletion (`compaction.tombstone_keep`): \
         beside small photos these count, so that the ratio is also shown to the live needles and these \
         together."
    ));
    for case in &CASES {
        let node = scene.new_node("0", 2 * mib + 256, &["--shard-ports", "off"])?;
        measure(scene, &node, case, mib, &mut outcome)?;
    }
    Ok(outcome)
}

fn measure(
    scene: &Scene,
    node: &Node,
    case: &Case,
    mib: u64,
    outcome: &mut Outcome,
) -> Result<(), Failed> {
    let admin = Admin::of(node);
    let photos = Batches { volume: 1, each: EACH, len_of: case.len_of };
    let log = if case.death == Death::Replaced { (mib << 20) * 2 / 3 } else { mib << 20 };
    let keys: Vec<u64> = (0..log / case.mean).collect();
    photos.put(node.data, &keys)?;
    let dead = half(&keys, 7);
    match case.death {
        Death::Deleted => delete(node.data, 1, &dead)?,
        Death::Replaced => photos.put(node.data, &dead)?,
        Death::None => {}
    }
    let before = admin.volume(1)?;
    let counters = || -> Result<[Moved; 2], Failed> {
        Ok([Moved::of_device(scene.device())?, Moved::of_process(node.pid())?])
    };
    let counted = counters()?;
    let ended = admin.compact(1)?;
    let later = counters()?;
    let [device, process] = [0, 1].map(|n: usize| later[n].since(counted[n]));
    let after = admin.volume(1)?;
    if after.needles != before.needles || after.live != before.live {
        return Err(Failed(format!(
            "LOST: {} needles of {} bytes live after the compaction, {} of {} before",
            after.needles, after.live, before.needles, before.live
        )));
    }
    let gone = |key: &u64| case.death == Death::Deleted && dead.binary_search(key).is_ok();
    let sample: Vec<u64> = keys.iter().copied().filter(|key| !gone(key)).step_by(97).collect();
    photos.check(node.data, &sample)?;
    let (read, written) =
        (ended.read as f64 / before.used as f64, ended.written as f64 / before.live as f64);
    outcome.at_most(&format!("{}: read / used", case.what), (read, 1.05), (3, ""));
    outcome.at_most(&format!("{}: written / live", case.what), (written, 1.05), (3, ""));
    if case.death == Death::Deleted {
        let kept = before.live + dead.len() as u64 * TOMBSTONE;
        let what = format!("{}: written / (live + tombstones)", case.what);
        outcome.at_most(&what, (ended.written as f64 / kept as f64, 1.05), (3, ""));
    }
    let [used, live] = [before.used, before.live].map(in_mib);
    outcome.show(
        &format!("{}: MiB", case.what),
        format!(
            "used {used}, live {live}; read {}, written {}; device read {}, wrote {}; process read {}, wrote \
             {}; {:.1} s",
            in_mib(ended.read),
            in_mib(ended.written),
            in_mib(device.read),
            in_mib(device.written),
            in_mib(process.read),
            in_mib(process.written),
            ended.seconds
        ),
    );
    outcome.rounds.push(json!({
        "case": case.what, "used": before.used, "live": before.live, "read": ended.read,
        "written": ended.written, "used_after": after.used, "seconds": ended.seconds,
        "device_read": device.read, "device_written": device.written,
        "process_read": process.read, "process_written": process.written,
    }));
    Ok(())
}

fn in_mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
