//! A recording with compactions, and cuts in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use faultdisk::RequestLog;
use faultdisk::random::split_mix;

use super::operator::{Compactions, Operator};
use super::phase::{Phase, PhaseCounts};
use super::slow_uploads::SlowUploads;
use super::swaps::{self, SwapPoint};
use crate::daemon::Setup;
use crate::error::Error;
use crate::history::Moment;
use crate::load::{Load, LoadResult};
use crate::record::Recording;
use crate::test_bed::TestBed;

/// Least number of completed compactions of a recording.
const COMPACTIONS_MIN: usize = 2;
/// Longest time that a recording takes longer for these.
const EXTENSION_MAX: Duration = Duration::from_secs(20);

/// A finished recording in which volumes were compacted.
pub struct CompactionRecording {
    pub recording: Recording,
    pub compactions: Compactions,
    swaps: Vec<SwapPoint>,
}

impl CompactionRecording {
    /// Runs load and compactions for `seconds` in an empty directory.
    pub fn make(setup: &Setup, dir: &Path, seconds: f64, seed: &mut u64) -> Result<Self, Error> {
        let bed = TestBed::set_up(setup, dir)?;
        let (clock, from) = (bed.clock(), bed.disk.device().done());
        let (data, admin) = (bed.daemon.data, bed.daemon.admin);
        let load = Load::start(data, setup, split_mix(seed), Arc::clone(&clock));
        let uploads = SlowUploads::start(data, &setup.volumes(), split_mix(seed), &clock);
        let operator = Operator::start(admin, setup, split_mix(seed), clock);
        std::thread::sleep(Duration::from_secs_f64(seconds));
        let mut extension = Duration::ZERO;
        while operator.completed() < COMPACTIONS_MIN && extension < EXTENSION_MAX {
            std::thread::sleep(Duration::from_millis(50));
            extension += Duration::from_millis(50);
        }
        let to = bed.disk.device().done();
        let compactions = operator.finish();
        let LoadResult { groups, acknowledged, trouble, failed, full } = load.finish();
        let slow = uploads.finish();
        let Compactions { failed: failures, contradictions, .. } = compactions.clone();
        let problems = [trouble, failures, contradictions].concat();
        if !problems.is_empty() || !failed.is_empty() {
            let log = bed.daemon.log_tail();
            return Err(Error::Idle(format!("{failed:?} {problems:?}\n{log}")));
        }
        let TestBed { daemon, mount, disk, base, log, mut history } = bed;
        drop(daemon);
        drop(mount.unmount()?);
        drop(disk);
        let log = RequestLog::open(&log)?;
        let swaps = swaps::find(&log)?;
        let inside = swaps.iter().filter(|swap| (from..=to).contains(&swap.to)).count();
        if acknowledged < 100 || inside < COMPACTIONS_MIN {
            return Err(Error::Idle(format!("{acknowledged} writes, {inside} compactions")));
        }
        (history.groups, history.full) = (groups, full);
        history.groups.extend(slow);
        history.generations.clone_from(&compactions.done);
        let recording = Recording { base, log, history, from, to, acknowledged };
        Ok(Self { recording, compactions, swaps })
    }

    /// Phase in which a cut falls.
    pub fn phase(&self, cut: Moment) -> Phase {
        if self.swaps.iter().any(|swap| (swap.from..=swap.to).contains(&cut)) {
            return Phase::Superblocks;
        }
        self.compactions.timeline.at(cut)
    }

    /// Draws `count` cuts: a quarter at the superblocks of a new file, an eighth each in other phases, right
    /// behind an acknowledgement, and anywhere.
    pub fn choose(&self, count: u64, seed: &mut u64) -> Vec<Moment> {
        let Recording { history, from, to, .. } = &self.recording;
        let all: Vec<Moment> = (*from..=*to).collect();
        let mut by_phase: BTreeMap<Phase, Vec<Moment>> = BTreeMap::new();
        for &moment in &all {
            by_phase.entry(self.phase(moment)).or_default().push(moment);
        }
        let versions = history.groups.iter().flat_map(|group| &group.versions);
        let inside = |moment: &Moment| (*from..=*to).contains(moment);
        let acknowledged: Vec<Moment> =
            versions.filter_map(|version| version.acknowledged).filter(inside).collect();
        let of = |phase| by_phase.get(&phase).unwrap_or(&all);
        let mut cuts: Vec<Moment> = (0..count)
            .map(|n| {
                let from = match n % 8 {
                    0 | 4 => of(Phase::Superblocks),
                    1 => of(Phase::Swapping),
                    2 => of(Phase::Removing),
                    3 => of([Phase::CatchingUp, Phase::Verifying][n as usize / 8 % 2]),
                    5 => of(Phase::Copying),
                    6 => &acknowledged,
                    _ => &all,
                };
                from[split_mix(seed) as usize % from.len()]
            })
            .collect();
        cuts.sort_unstable();
        cuts
    }

    /// Number of cuts in each phase.
    pub fn phases(&self, cuts: &[Moment]) -> PhaseCounts {
        let mut counts = PhaseCounts::new();
        cuts.iter().for_each(|cut| *counts.entry(self.phase(*cut)).or_default() += 1);
        counts
    }
}
