//! Power cuts: states of the device that are taken out of a recording, one after the other.

use std::path::Path;

use faultdisk::log::Kind;
use faultdisk::xfs::Loop;
use faultdisk::{Disk, Replay, Unflushed, state};

use crate::daemon::Setup;
use crate::error::{Error, file};
use crate::history::{Moment, roll};
use crate::record::Recording;
use crate::verify::{Findings, verify};

/// What came of a row of states.
#[derive(Clone, Debug, Default)]
pub struct Total {
    pub cuts: u64,
    pub states: u64,
    /// States in which something that no flush covers was torn or lost.
    pub torn: u64,
    pub checked: u64,
    pub lost: u64,
    pub wrong: u64,
    pub trouble: u64,
}

impl Total {
    pub fn add(&mut self, findings: &Findings) {
        self.states += 1;
        self.checked += findings.checked;
        self.lost += findings.lost.len() as u64;
        self.wrong += findings.wrong.len() as u64;
        self.trouble += findings.trouble.len() as u64;
    }

    pub fn is_clean(&self) -> bool {
        self.lost + self.wrong + self.trouble == 0
    }
}

/// Where to cut: a third each right behind an acknowledgement, right before a flush, and anywhere;
/// one in eight while the daemon starts and makes its volumes.
pub fn choose(recording: &Recording, count: u64, seed: &mut u64) -> Vec<Moment> {
    let versions = recording.history.subjects.iter().flat_map(|subject| &subject.versions);
    let inside = |moment: &Moment| (recording.from..=recording.to).contains(moment);
    let acknowledged: Vec<Moment> =
        versions.filter_map(|v| v.acknowledged).filter(inside).collect();
    let flushes: Vec<Moment> = (0..)
        .zip(recording.log.entries())
        .filter(|(moment, entry)| entry.kind == Kind::Flush && inside(moment))
        .map(|(moment, _)| moment)
        .collect();
    let mut pick = |from: &[Moment]| from[roll(seed) as usize % from.len()];
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

/// The fates of what no flush covers that are tried at a cut.
fn fates(pending: bool, states: u64, seed: &mut u64) -> Vec<Unflushed> {
    if !pending {
        return vec![Unflushed::Lost];
    }
    let seeds = (2..states).map(|_| Unflushed::Some(roll(seed) >> 32));
    [Unflushed::Lost, Unflushed::Kept].into_iter().chain(seeds).take(states as usize).collect()
}

/// Cuts at `cuts` and looks at `states` states of each (or one, where all are the same). With `deaf`,
/// the last so many flushes before each cut are taken for ones that did nothing.
pub fn cut(
    setup: &Setup,
    recording: &Recording,
    dir: &Path,
    (cuts, states, deaf): (&[Moment], u64, usize),
    seed: &mut u64,
    mut tell: impl FnMut(&str, &Findings),
) -> Result<Total, Error> {
    let [rolling, fuse, mount, log] =
        ["rolling", "fuse", "xfs", "state.log"].map(|name| dir.join(name));
    let mut replay = Replay::new(&recording.log, &recording.base, &rolling)?;
    let mut total = Total { cuts: cuts.len() as u64, ..Total::default() };
    for &moment in cuts {
        let (at, entries) = (usize::try_from(moment).expect("in memory"), recording.log.entries());
        let durable = state::durable(entries, at, deaf);
        replay.advance(durable)?;
        let pending = state::pending(entries, durable, at);
        for fate in fates(!pending.is_empty(), states, seed) {
            let _ = std::fs::remove_file(&log);
            let disk = Disk::serve(replay.overlay(at, fate)?, &fuse)?;
            let findings = match Loop::attach(disk.path())?.mount(&mount) {
                Ok(mounted) => {
                    let data = mounted.path().join("data");
                    let findings = verify(setup, &data, &log, &recording.history, moment)?;
                    mounted.unmount()?;
                    findings
                }
                Err(why) => {
                    let trouble = vec![format!("XFS does not mount: {why}")];
                    Findings { trouble, ..Findings::default() }
                }
            };
            total.torn += u64::from(matches!(fate, Unflushed::Some(_)));
            total.add(&findings);
            tell(&format!("--cut {moment} --unflushed {fate} --deaf {deaf}"), &findings);
        }
    }
    std::fs::remove_file(&rolling).map_err(file("remove", &rolling))?;
    Ok(total)
}
