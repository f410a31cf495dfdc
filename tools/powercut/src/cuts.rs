//! Power cuts: verifies crash states taken from a recording.

use std::path::Path;

use faultdisk::log::Kind;
use faultdisk::random::split_mix;
use faultdisk::xfs::Loop;
use faultdisk::{Disk, Replay, Unflushed, state};

use crate::daemon::Setup;
use crate::error::{Error, file};
use crate::findings::Findings;
use crate::history::Moment;
use crate::record::Recording;
use crate::total::Total;
use crate::verify::verify;

/// Draws the points of power cuts: about a third each right behind an acknowledgement, right before a flush,
/// and anywhere; one in eight during the start and the creation of volumes.
pub fn choose(recording: &Recording, count: u64, seed: &mut u64) -> Vec<Moment> {
    let versions = recording.history.groups.iter().flat_map(|group| &group.versions);
    let inside = |moment: &Moment| (recording.from..=recording.to).contains(moment);
    let acknowledged: Vec<Moment> =
        versions.filter_map(|v| v.acknowledged).filter(inside).collect();
    let flushes: Vec<Moment> = (0..)
        .zip(recording.log.entries())
        .filter(|(moment, entry)| entry.kind == Kind::Flush && inside(moment))
        .map(|(moment, _)| moment)
        .collect();
    let mut pick = |from: &[Moment]| from[split_mix(seed) as usize % from.len()];
    let (early, all): (Vec<_>, Vec<_>) =
        ((0..recording.from).collect(), (recording.from..=recording.to).collect());
    let mut cuts: Vec<Moment> = (0..count)
        .map(|n| match n % 8 {
            7 => pick(&early),
            0 | 3 | 5 => pick(&acknowledged),
            1 | 4 | 6 => pick(&flushes),
            _ => pick(&all),
        })
        .collect();
    cuts.sort_unstable();
    cuts
}

/// Modes for the unflushed writes at a cut; a single one if there are none.
fn unflushed_modes(pending: bool, states: u64, seed: &mut u64) -> Vec<Unflushed> {
    if !pending {
        return vec![Unflushed::Lost];
    }
    let seeds = (2..states).map(|_| Unflushed::Some(split_mix(seed) >> 32));
    [Unflushed::Lost, Unflushed::Kept].into_iter().chain(seeds).take(states as usize).collect()
}

/// Verifies `states` states of each cut in `cuts` (one if all are the same). The last `ignored_flushes`
/// flushes before each cut count as having had no effect.
pub fn cut(
    setup: &Setup,
    recording: &Recording,
    dir: &Path,
    (cuts, states, ignored_flushes): (&[Moment], u64, usize),
    seed: &mut u64,
    mut report: impl FnMut(&str, &Findings),
) -> Result<Total, Error> {
    let [rolling, fuse, mount, log] =
        ["rolling", "fuse", "xfs", "state.log"].map(|name| dir.join(name));
    let mut replay = Replay::new(&recording.log, &recording.base, &rolling)?;
    let mut total = Total { cuts: cuts.len() as u64, ..Total::default() };
    for &moment in cuts {
        let (at, entries) =
            (usize::try_from(moment).expect("the entries are in memory"), recording.log.entries());
        let durable = state::durable(entries, at, ignored_flushes);
        replay.advance(durable)?;
        let pending = state::pending(entries, durable, at);
        for mode in unflushed_modes(!pending.is_empty(), states, seed) {
            let _ = std::fs::remove_file(&log);
            let disk = Disk::serve(replay.overlay(at, mode)?, &fuse)?;
            let findings = match Loop::attach(disk.path())?.mount(&mount) {
                Ok(mounted) => {
                    let root = mounted.path();
                    let findings = verify(setup, root, &log, &recording.history, moment)?;
                    mounted.unmount()?;
                    findings
                }
                Err(why) => {
                    let trouble = vec![format!("cannot mount XFS: {why}")];
                    Findings { trouble, ..Findings::default() }
                }
            };
            total.torn += u64::from(matches!(mode, Unflushed::Some(_)));
            total.add(&findings);
            report(
                &format!("--cut {moment} --unflushed {mode} --deaf {ignored_flushes}"),
                &findings,
            );
        }
    }
    std::fs::remove_file(&rolling).map_err(file("remove", &rolling))?;
    Ok(total)
}
