//! Checking volumes: the whole log, and every byte of the live needles.

use std::time::Instant;

use serde::Serialize;

use super::cluster_report::ClusterReport;
use super::directories::Offline;
use super::location::VolumeLocation;
use super::picked::Picked;
use super::reader::{Progress, Reader};
use crate::base::limits::LOG_START;
use crate::base::types::VolumeId;
use crate::volume::{
    Damage, DamageSource, DamagedNeedle, DamagedRange, Ending, OpenError, SuperblockCopy,
    SuperblockState,
};

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is damaged, or could not be checked.
    Damage,
    /// A regular result of an earlier event, such as a crash: nothing is damaged.
    Note,
}

/// A finding of a check. It contains no cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Severity.
    pub severity: Severity,
    /// Volume.
    pub volume: VolumeId,
    /// Offset in its file (bytes), if the finding has one.
    pub offset: Option<u64>,
    /// Photo id, if it is known.
    pub key: Option<u64>,
    /// Size variant, if it is known.
    pub alt: Option<u32>,
    /// What was found, what it means, and what to do.
    pub text: String,
}

/// Result of checking a volume. Sizes and offsets are in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeReport {
    /// Volume.
    pub volume: VolumeId,
    /// Path of its file.
    pub file: String,
    /// Whether nothing is damaged.
    pub sound: bool,
    /// State in its superblock: `building`, `writable`, `sealed` or `read-only`.
    pub state: &'static str,
    /// What its cluster says about it; null if it belongs to none.
    pub cluster: Option<ClusterReport>,
    /// Number of live needles.
    pub needles: u64,
    /// Number of live needles that cannot be read.
    pub damaged_needles: u64,
    /// Number of live needles that are manifests of large bodies.
    pub large_bodies: u64,
    /// Bytes of live needles and their parts.
    pub live: u64,
    /// Bytes of the log that are not live.
    pub dead: u64,
    /// Offset of the end of the log.
    pub log_end: u64,
    /// How the log ends: `closed`, `open` (not closed, nothing was being written), or `torn`.
    pub ending: &'static str,
    /// Number of commits in the chain.
    pub commits: u64,
    /// Number of damaged places in the log, including those in live needles.
    pub damaged_places: u64,
    /// Number of valid, current superblock copies, of 3.
    pub superblock_copies: u64,
    /// Bytes read: the log once, and the live bytes once more.
    pub read: u64,
    /// Duration (seconds).
    pub seconds: f64,
}

/// Result of checking all selected volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CheckSummary {
    /// Whether all volumes were checked and nothing is damaged.
    pub sound: bool,
    /// Number of volumes that were checked.
    pub volumes: u64,
    /// Number of volumes that could not be opened, or of whose files none certainly counts.
    pub failed_volumes: u64,
    /// Number of live needles.
    pub needles: u64,
    /// Number of live needles that cannot be read.
    pub damaged_needles: u64,
    /// Live bytes.
    pub live: u64,
    /// Bytes that were read.
    pub read: u64,
    /// Duration (seconds).
    pub seconds: f64,
}

/// Receives the results of a check while it runs.
pub trait CheckObserver {
    /// Receives a finding.
    fn finding(&mut self, finding: Finding);
    /// Receives the report of a volume, after its findings.
    fn volume(&mut self, report: VolumeReport);
    /// Receives the progress on a volume.
    fn progress(&mut self, progress: Progress);
}

impl Offline {
    /// Checks every selected volume: recovers it in memory, and verifies every live needle.
    pub fn check(&mut self, observer: &mut dyn CheckObserver) -> CheckSummary {
        let begun = Instant::now();
        let mut all = CheckSummary { sound: true, ..CheckSummary::default() };
        for (id, picked) in self.volumes.clone() {
            if let Some(text) = picked.note() {
                observer.finding(Finding { severity: Severity::Note, ..damage(id, None, text) });
            }
            let place = match picked {
                Picked::File(place, _) => place,
                Picked::Nothing(_) => continue,
                Picked::Undecided(why) => {
                    all.failed_volumes += 1;
                    observer.finding(damage(id, None, why));
                    continue;
                }
            };
            match self.check_volume(&place, observer) {
                Ok(report) => {
                    all.volumes += 1;
                    all.needles += report.needles;
                    all.damaged_needles += report.damaged_needles;
                    all.live += report.live;
                    all.read += report.read;
                    all.sound &= report.sound;
                    observer.volume(report);
                }
                Err(error) => {
                    all.failed_volumes += 1;
                    observer.finding(damage(place.file.id, None, unopened_text(&place, &error)));
                }
            }
        }
        all.sound &= all.failed_volumes == 0;
        all.seconds = begun.elapsed().as_secs_f64();
        all
    }

    fn check_volume(
        &mut self,
        place: &VolumeLocation,
        observer: &mut dyn CheckObserver,
    ) -> Result<VolumeReport, OpenError> {
        let begun = Instant::now();
        observer.progress(Progress { volume: place.file.id, done: 0, total: None });
        let mut reader = Reader::open(&mut self.executor, place)?;
        let mut report = blank(place, &reader);
        for finding in found_at_opening(place.file.id, &reader) {
            report.sound &= finding.severity == Severity::Note;
            observer.finding(finding);
        }
        while let Some(next) = reader.next() {
            match next {
                Ok(live) => report.large_bodies += u64::from(live.needle.is_large),
                Err(damaged) => {
                    report.damaged_needles += 1;
                    report.sound = false;
                    observer.finding(of_needle(place.file.id, &damaged));
                }
            }
            observer.progress(reader.progress());
        }
        reader.close();
        report.seconds = begun.elapsed().as_secs_f64();
        Ok(report)
    }
}

fn blank(place: &VolumeLocation, reader: &Reader<'_>) -> VolumeReport {
    let (volume, found) = (&reader.volume, reader.volume.open_report());
    let figures = volume.figures();
    VolumeReport {
        volume: place.file.id,
        file: place.file.path.display().to_string(),
        sound: true,
        state: state_text(volume.superblock_state()),
        cluster: ClusterReport::of(volume),
        needles: figures.needles,
        damaged_needles: 0,
        large_bodies: 0,
        live: figures.live,
        dead: figures.dead,
        log_end: found.end.tail,
        ending: match found.ending {
            Ending::Closed => "closed",
            Ending::Open => "open",
            Ending::Torn { .. } => "torn",
        },
        commits: found.commits,
        damaged_places: figures.damaged,
        superblock_copies: 3 - found.superblock.len() as u64,
        read: found.end.tail - LOG_START + figures.live,
        seconds: 0.0,
    }
}

fn state_text(state: SuperblockState) -> &'static str {
    match state {
        SuperblockState::Building => "building",
        SuperblockState::Live => "writable",
        SuperblockState::Sealed => "sealed",
        SuperblockState::ReadOnly => "read-only",
    }
}

fn damage(volume: VolumeId, offset: Option<u64>, text: impl Into<String>) -> Finding {
    let (severity, key, alt) = (Severity::Damage, None, None);
    Finding { severity, volume, offset, key, alt, text: text.into() }
}

fn note(volume: VolumeId, offset: u64, text: impl Into<String>) -> Finding {
    Finding { severity: Severity::Note, ..damage(volume, Some(offset), text) }
}

/// Returns the findings of the recovery, which are known before the needles are read.
fn found_at_opening(volume: VolumeId, reader: &Reader<'_>) -> Vec<Finding> {
    let found = reader.volume.open_report();
    let copies = found.superblock.iter().map(|copy| of_copy(volume, *copy));
    let mut findings: Vec<Finding> = copies.collect();
    if found.hint_damaged {
        findings.push(damage(
            volume,
            None,
            "a tail hint is damaged; the daemon rewrites it. Check the disk (kernel log, smartctl)",
        ));
    }
    // The walk reports damage in live needles, with more detail.
    let is_elsewhere = |place: &DamagedRange| match place.source {
        DamageSource::File | DamageSource::Loss => !reader.is_live(place.at.offset),
        DamageSource::Generation(_) => true,
    };
    let places = reader.volume.damage().into_iter().filter(is_elsewhere);
    findings.extend(places.map(|place| of_place(volume, &place)));
    if let Ending::Torn { kept } = found.ending {
        let text = format!(
            "the last commit was cut off while it was being written; it was never acknowledged. Needles of \
             it that are complete and kept: {kept}. Nothing needs to be done"
        );
        findings.push(note(volume, found.end.tail, text));
    }
    findings
}

fn of_copy(volume: VolumeId, copy: SuperblockCopy) -> Finding {
    if copy.outdated {
        let text = "this copy of the superblock is older than the others; the daemon rewrites it";
        return note(volume, copy.offset, text);
    }
    let text = "this copy of the superblock is damaged; the others are used, and the daemon rewrites it. \
                Check the disk (kernel log, smartctl)";
    damage(volume, Some(copy.offset), text)
}

/// Returns the finding for a damaged place that is no live needle.
fn of_place(volume: VolumeId, place: &DamagedRange) -> Finding {
    if let DamageSource::Generation(generation) = place.source {
        let text = format!(
            "{} bytes of the log that were acknowledged could not be read when generation {generation} of \
             this volume was compacted (byte {} of that file): needles and deletions in them may be lost, \
             others are not. Compare with another copy of the volume",
            place.at.len, place.at.offset
        );
        return damage(volume, None, text);
    }
    let offset = Some(place.at.offset);
    let Some(id) = place.id else {
        let text = format!(
            "{} bytes of the log that were acknowledged cannot be read: needles and deletions in them may be \
             lost, others are not. Compare with another copy of the volume",
            place.at.len
        );
        return damage(volume, offset, text);
    };
    let text = "a record of this needle in the log is damaged; its live record is stored elsewhere and is \
                verified separately. Check the disk (kernel log, smartctl)";
    Finding { key: Some(id.key.0), alt: Some(id.alt.0), ..damage(volume, offset, text) }
}

fn of_needle(volume: VolumeId, damaged: &DamagedNeedle) -> Finding {
    let text = match (damaged.damage, damaged.id) {
        (Damage::Lost(_), None) => format!(
            "a needle is lost, and its key is not known ({}): a GET of each key that may be the one \
             answers 500. Compare with another copy of the volume",
            damaged.damage
        ),
        _ => format!(
            "this needle is damaged ({}): a GET of it answers 500. Store it again from its file (hayloft \
             import --verify DIR, or PUT it under its URL), or delete it",
            damaged.damage
        ),
    };
    Finding {
        key: damaged.id.map(|id| id.key.0),
        alt: damaged.id.map(|id| id.alt.0),
        ..damage(volume, Some(damaged.at.offset), text)
    }
}

/// Describes why a volume cannot be opened, and what to do.
pub(super) fn unopened_text(place: &VolumeLocation, error: &OpenError) -> String {
    let advice = match error {
        OpenError::Io(..) => "; check the rights of the file, and the disk in the kernel log",
        OpenError::Superblock(_) => "; restore the file from another copy",
        _ => "",
    };
    format!("{} cannot be opened: {error}{advice}", place.file.path.display())
}
