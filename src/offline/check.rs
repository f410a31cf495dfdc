//! Checking volumes: the whole log, and every byte that is alive.

use std::time::Instant;

use serde::Serialize;

use super::reader::Reader;
use super::{Offline, Place, Progress};
use crate::limits::LOG_START;
use crate::volume::{DamagedNeedle, DamagedPlace, Ending, OpenError, SuperblockCopy, VolumeState};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is damaged or in the way.
    Damage,
    /// As it should be, considering what happened.
    Note,
}

/// Something that was found. It names no cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Volume.
    pub volume: u32,
    /// Where in its file (bytes), if it is anywhere.
    pub offset: Option<u64>,
    /// Photo id, where it can be told.
    pub key: Option<u64>,
    /// Size variant, where it can be told.
    pub alt: Option<u32>,
    /// What it is, what it means, and what to do.
    pub text: String,
}

/// What was found of a volume. Bytes unless named otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeReport {
    /// Volume.
    pub volume: u32,
    /// Its file.
    pub file: String,
    /// Whether nothing is damaged.
    pub sound: bool,
    /// What it accepts, as its superblock says.
    pub state: &'static str,
    /// Number of live needles.
    pub needles: u64,
    /// Those of them that cannot be read.
    pub damaged_needles: u64,
    /// Those of them that are manifests of large bodies.
    pub large_bodies: u64,
    /// Live needles and their parts.
    pub live: u64,
    /// Log that is neither.
    pub dead: u64,
    /// Where the log ends.
    pub log_end: u64,
    /// Why it ends there: `closed`, `open` (nothing was being written), or `torn`.
    pub ending: &'static str,
    /// Number of commits that chain.
    pub commits: u64,
    /// Number of damaged places in the log, those of live needles included.
    pub damaged_places: u64,
    /// Number of superblock copies that are as they should be, of 3.
    pub superblock_copies: u64,
    /// What was read: the log once, and once more what is alive.
    pub read: u64,
    /// How long it took (seconds).
    pub seconds: f64,
}

/// What was found of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CheckSummary {
    /// Whether nothing is damaged or in the way.
    pub sound: bool,
    /// Number of volumes that were read.
    pub volumes: u64,
    /// Number of volumes that could not be, or are in doubt.
    pub failed_volumes: u64,
    /// Number of live needles.
    pub needles: u64,
    /// Those of them that cannot be read.
    pub damaged_needles: u64,
    /// Bytes that are alive.
    pub live: u64,
    /// Bytes that were read.
    pub read: u64,
    /// How long it took (seconds).
    pub seconds: f64,
}

/// Who hears of it, as it goes on.
pub trait CheckObserver {
    /// Something was found.
    fn finding(&mut self, finding: Finding);
    /// A volume is done.
    fn volume(&mut self, report: VolumeReport);
    /// The work goes on.
    fn progress(&mut self, progress: Progress);
}

impl Offline {
    /// Checks every selected volume: recovers it in memory, and verifies every live needle.
    pub fn check(&mut self, observer: &mut dyn CheckObserver) -> CheckSummary {
        let begun = Instant::now();
        let mut all = CheckSummary { sound: true, ..CheckSummary::default() };
        let (single, double) = self.by_files();
        for two in double {
            all.failed_volumes += 1;
            observer.finding(damage(two.id, None, two.text()));
        }
        for place in single {
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
        place: &Place,
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

fn blank(place: &Place, reader: &Reader<'_>) -> VolumeReport {
    let (volume, found) = (&reader.volume, reader.volume.findings());
    let figures = volume.figures();
    VolumeReport {
        volume: place.file.id,
        file: place.file.path.display().to_string(),
        sound: true,
        state: state_text(volume.state()),
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

fn state_text(state: VolumeState) -> &'static str {
    match state {
        VolumeState::Building => "building",
        VolumeState::Live => "writable",
        VolumeState::Sealed => "sealed",
        VolumeState::ReadOnly => "read-only",
    }
}

fn damage(volume: u32, offset: Option<u64>, text: impl Into<String>) -> Finding {
    let (severity, key, alt) = (Severity::Damage, None, None);
    Finding { severity, volume, offset, key, alt, text: text.into() }
}

fn note(volume: u32, offset: u64, text: impl Into<String>) -> Finding {
    Finding { severity: Severity::Note, ..damage(volume, Some(offset), text) }
}

/// What is to be said before the needles are read.
fn found_at_opening(volume: u32, reader: &Reader<'_>) -> Vec<Finding> {
    let found = reader.volume.findings();
    let copies = found.superblock.iter().map(|copy| of_copy(volume, *copy));
    let mut findings: Vec<Finding> = copies.collect();
    if found.hint_damaged {
        findings.push(damage(
            volume,
            None,
            "a tail hint is damaged; the daemon writes it anew. Look after the disk (kernel log, smartctl)",
        ));
    }
    // Of a live needle the walk tells more.
    let places = reader.volume.damage().iter();
    let places = places.filter(|place| !reader.is_live(place.at.offset));
    findings.extend(places.map(|place| of_place(volume, place)));
    if let Ending::Torn { kept } = found.ending {
        let text = format!(
            "the last commit was cut off while it was being written; nobody was told that it was stored. \
             Needles of it that are whole and stay: {kept}. Nothing is to be done"
        );
        findings.push(note(volume, found.end.tail, text));
    }
    findings
}

fn of_copy(volume: u32, copy: SuperblockCopy) -> Finding {
    if copy.outdated {
        let text =
            "this copy of the superblock is older than the others; the daemon writes it anew";
        return note(volume, copy.offset, text);
    }
    let text = "this copy of the superblock is damaged; the others serve, and the daemon writes it anew. \
                Look after the disk (kernel log, smartctl)";
    damage(volume, Some(copy.offset), text)
}

/// A damaged place that is no live needle.
fn of_place(volume: u32, place: &DamagedPlace) -> Finding {
    let offset = Some(place.at.offset);
    let Some(id) = place.id else {
        let text = format!(
            "{} bytes of the log that were acknowledged cannot be read: needles and deletions may be lost \
             here, others are not. Compare with another copy of the volume",
            place.at.len
        );
        return damage(volume, offset, text);
    };
    let text = "a record of this needle in the log is damaged; what is alive of it stands elsewhere and is \
                verified for itself. Look after the disk (kernel log, smartctl)";
    Finding { key: Some(id.key.0), alt: Some(id.alt.0), ..damage(volume, offset, text) }
}

fn of_needle(volume: u32, damaged: &DamagedNeedle) -> Finding {
    let text = format!(
        "this needle is damaged ({}): a GET of it answers 500. Store it again from its file (hayloft import \
         --verify DIR, or PUT it under its URL), or delete it",
        damaged.damage
    );
    Finding {
        key: damaged.id.map(|id| id.key.0),
        alt: damaged.id.map(|id| id.alt.0),
        ..damage(volume, Some(damaged.at.offset), text)
    }
}

/// Why a volume cannot be looked at.
pub(super) fn unopened_text(place: &Place, error: &OpenError) -> String {
    let advice = match error {
        OpenError::Io(..) => "; check the rights of the file, and the disk in the kernel log",
        OpenError::Superblock(_) => "; restore the file from another copy",
        _ => "",
    };
    format!("{} cannot be opened: {error}{advice}", place.file.path.display())
}
