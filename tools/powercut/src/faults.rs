//! Device faults under load: failing writes or flushes, once or permanently.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use faultdisk::log::{Entry, Kind};
use faultdisk::random::split_mix;
use faultdisk::xfs::extents;
use faultdisk::{Fault, FaultTarget, RequestLog};

use crate::cuts::cut;
use crate::daemon::{Daemon, Setup};
use crate::error::Error;
use crate::findings::Findings;
use crate::history::{Moment, Observed, Verdict, WriteGroup};
use crate::http::client;
use crate::load::{Load, LoadResult};
use crate::read::observed;
use crate::record::Recording;
use crate::test_bed::TestBed;
use crate::total::Total;

/// Timeout for a daemon to exit after it lost its only volume.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Observation time of a daemon that still has another volume.
const OBSERVATION: Duration = Duration::from_millis(700);
/// States of the device verified after a fault.
const STATES: u64 = 3;

/// Kind of fault.
#[derive(Clone, Copy, Debug)]
pub enum FaultKind {
    /// One flush fails; later ones succeed although data was lost.
    OneFlush,
    /// One write to a volume file fails.
    OneWrite,
    /// All flushes fail.
    Flushes,
    /// All writes fail, including those to the XFS log.
    Writes,
}

impl FaultKind {
    pub const ALL: [Self; 4] = [Self::OneFlush, Self::OneWrite, Self::Flushes, Self::Writes];

    fn fault(self, volumes: &[VolumeExtents]) -> Fault {
        let extents = || volumes.iter().flat_map(|(_, extents)| extents.clone()).collect();
        match self {
            Self::OneFlush => Fault { target: FaultTarget::Flushes, once: true },
            Self::OneWrite => Fault { target: FaultTarget::WritesTo(extents()), once: true },
            Self::Flushes => Fault { target: FaultTarget::Flushes, once: false },
            Self::Writes => Fault { target: FaultTarget::Writes, once: false },
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::OneFlush => "one flush fails",
            Self::OneWrite => "one write to a volume fails",
            Self::Flushes => "every flush fails",
            Self::Writes => "every write fails",
        }
    }
}

/// Runs one trial in an empty directory; returns the findings while the daemon ran, and those afterwards.
pub fn round(
    setup: &Setup,
    dir: &Path,
    kind: FaultKind,
    seed: &mut u64,
    report: impl FnMut(&str, &Findings),
) -> Result<(Findings, Total), Error> {
    let mut bed = TestBed::set_up(setup, dir)?;
    let volumes = volume_extents(&bed, setup)?;
    let (clock, from) = (bed.clock(), bed.disk.device().done());
    let load = Load::start(bed.daemon.data, setup, split_mix(seed), Arc::clone(&clock));
    std::thread::sleep(Duration::from_millis(200 + split_mix(seed) % 300));
    let fault = kind.fault(&volumes);
    bed.disk.device().fail(Some(fault.clone()));
    let mut findings = Findings::default();
    let goes_on = fault.once && setup.shards > 1;
    let ended = bed.daemon.wait(if goes_on { OBSERVATION } else { EXIT_TIMEOUT });
    match ended {
        None if goes_on => {}
        Some(status) if status.code() == Some(1) => {}
        other => findings
            .trouble
            .push(format!("exit status {other:?} instead of exit code 1, {}", kind.name())),
    }
    let LoadResult { groups, acknowledged, failed, full, trouble } = load.finish();
    findings.trouble.extend(trouble);
    if acknowledged < 20 || failed.is_empty() {
        return Err(Error::Idle(format!("{acknowledged} writes before the fault; {failed:?}")));
    }
    if ended.is_none() {
        still_readable(&bed.daemon, &groups, &mut findings);
    }
    let to = bed.disk.device().done();
    let TestBed { daemon, mount, disk, base, log, mut history } = bed;
    drop(daemon);
    disk.device().fail(None);
    drop(mount.unmount()?);
    drop(disk);
    let log = RequestLog::open(&log)?;
    for (volume, (_, moment)) in &failed {
        let extents = volumes.iter().find(|(of, _)| of == volume).map_or(&[][..], |(_, e)| &e[..]);
        let entries = &log.entries()[range(*moment, to)];
        let touched = entries.iter().filter(|entry| touches(entry, extents)).count();
        if touched > 0 {
            let text = format!("{touched} writes to volume {volume} after: {}", kind.name());
            findings.trouble.push(text);
        }
    }
    // Nothing else on this device flushes: XFS writes its log only after half a minute.
    if let (1, Some(first)) = (setup.shards, failed.values().map(|(_, moment)| *moment).min()) {
        let entries = &log.entries()[range(first, to)];
        let flushes = entries.iter().filter(|entry| entry.kind == Kind::Flush).count();
        if flushes > 0 {
            findings.trouble.push(format!("{flushes} flushes after: {}", kind.name()));
        }
    }
    (history.groups, history.full) = (groups, full);
    let recording = Recording { base, log, history, from, to, acknowledged };
    let total = cut(setup, &recording, dir, (&[to], STATES, 0), seed, report)?;
    Ok((findings, total))
}

fn range(from: Moment, to: Moment) -> Range<usize> {
    let at = |moment| usize::try_from(moment).expect("the entries are in memory");
    at(from)..at(to)
}

fn touches(entry: &Entry, extents: &[Range<u64>]) -> bool {
    let end = entry.offset + entry.len;
    entry.len > 0 && extents.iter().any(|extent| entry.offset < extent.end && extent.start < end)
}

/// Checks that every object reads correctly or fails with 500.
fn still_readable(daemon: &Daemon, groups: &[WriteGroup], findings: &mut Findings) {
    let read = || -> std::io::Result<Vec<String>> {
        let client = client(daemon.data);
        let mut bad = Vec::new();
        for group in groups {
            let mut found = Vec::new();
            for path in &group.paths {
                found.push(observed(&client, path)?);
            }
            let fails =
                |it: &Observed| matches!(it, Observed::Failed(why) if why.starts_with("500"));
            match group.judge(Moment::MAX, &found) {
                Verdict::Lost(text) if !found.iter().any(fails) => bad.push(text),
                Verdict::Wrong(text) => bad.push(text),
                _ => {}
            }
        }
        Ok(bad)
    };
    match read() {
        Ok(bad) => findings.wrong.extend(bad),
        Err(error) => findings
            .trouble
            .push(format!("reads failed after a failed write ({error}):\n{}", daemon.log_tail())),
    }
}

/// Volume id, and the extents of its file on the device (bytes).
type VolumeExtents = (u32, Vec<Range<u64>>);

fn volume_extents(bed: &TestBed, setup: &Setup) -> Result<Vec<VolumeExtents>, Error> {
    let of = |volume: u32| {
        let file = bed.mount.path().join(format!("data/{volume}.0.vol"));
        let extents = extents(&file)?;
        assert!(!extents.is_empty(), "no extents of volume {volume}");
        Ok((volume, extents))
    };
    setup.volumes().into_iter().map(of).collect()
}
