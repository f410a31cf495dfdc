//! `hayloft check`: verifies volumes while no daemon runs on them.

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::offline::{Meter, OfflineArgs, place_text};
use super::output::{print, stdout, unwritten};
use crate::base::size::rounded;
use crate::commands::offline::{
    CheckObserver, CheckSummary, ClusterReport, Finding, Offline, Progress, Severity, VolumeReport,
};

const CHECK_EXAMPLES: &str = "\
Examples:
  hayloft check
      every volume in ./hayloft-data
  hayloft check --data /disk1/hayloft/data --data /disk2/hayloft/data
      every volume of two disks; with --volume 7 that one, in whichever directory it is
  hayloft check --config /etc/hayloft/hayloft.toml --json
      what a daemon with this configuration would serve, as one JSON document

Stop the daemon first. Nothing in a volume is changed, so a file system may be mounted \
read-only. Each volume is recovered in memory as the daemon does it, and every byte of every \
live photo is read and verified. A commit that was cut off by a crash is no damage: it was never \
acknowledged. If a compaction was cut off, a volume has several files: the one that the daemon \
would serve is checked, and named.
Exit codes: 0 all sound; 1 damage was found, or a volume could not be checked; 2 could not run.";

/// Flags of `hayloft check`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct CheckArgs {
    /// Data directories and volumes to check.
    #[command(flatten)]
    pub offline: OfflineArgs,

    /// Print one JSON document instead of lines
    #[arg(long)]
    pub json: bool,
}

impl CheckArgs {
    pub(super) fn run(self) -> ExitCode {
        let mut offline = match self.offline.open() {
            Ok(offline) => offline,
            Err(code) => return code,
        };
        let total =
            if self.json { print_document(&mut offline) } else { print_lines(&mut offline) };
        match total {
            Ok(total) if total.sound => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => unwritten(&error),
        }
    }
}

fn print_document(offline: &mut Offline) -> io::Result<CheckSummary> {
    let mut document = Document { meter: Meter::new(), findings: Vec::new(), volumes: Vec::new() };
    let total = offline.check(&mut document);
    document.meter.clear();
    let Document { findings, volumes, .. } = document;
    let whole = CheckDocument { sound: total.sound, findings, volumes, total };
    let text =
        serde_json::to_string_pretty(&whole).expect("numbers and strings always serialize to JSON");
    ignore_broken_pipe(print(&format!("{text}\n")))?;
    Ok(total)
}

/// Ignores a closed pipe (`| head`): the check goes on, for its exit code.
fn ignore_broken_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn print_lines(offline: &mut Offline) -> io::Result<CheckSummary> {
    let mut lines = Lines { meter: Meter::new(), out: stdout()?, written: Ok(()) };
    let total = offline.check(&mut lines);
    lines.print_line(&total_text(&total));
    ignore_broken_pipe(lines.written)?;
    Ok(total)
}

/// Observer that prints each finding at once, as a line.
struct Lines {
    meter: Meter,
    out: File,
    /// The first write error; nothing is printed after it.
    written: io::Result<()>,
}

impl Lines {
    fn print_line(&mut self, line: &str) {
        self.meter.clear();
        if self.written.is_ok() {
            self.written = self.out.write_all(format!("{line}\n").as_bytes());
        }
    }
}

impl CheckObserver for Lines {
    fn finding(&mut self, finding: Finding) {
        let Finding { severity, volume, offset, key, alt, text } = finding;
        let how = match severity {
            Severity::Damage => "damage",
            Severity::Note => "note",
        };
        self.print_line(&format!("{how}: {}: {text}", place_text(volume, offset, key, alt)));
    }

    fn volume(&mut self, report: VolumeReport) {
        self.print_line(&volume_text(&report));
    }

    fn progress(&mut self, progress: Progress) {
        self.meter.show(progress);
    }
}

/// Observer that collects findings and reports for one JSON document.
struct Document {
    meter: Meter,
    findings: Vec<Finding>,
    volumes: Vec<VolumeReport>,
}

/// The JSON document of `--json`.
#[derive(Serialize)]
struct CheckDocument {
    sound: bool,
    findings: Vec<Finding>,
    volumes: Vec<VolumeReport>,
    total: CheckSummary,
}

impl CheckObserver for Document {
    fn finding(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn volume(&mut self, report: VolumeReport) {
        self.volumes.push(report);
    }

    fn progress(&mut self, progress: Progress) {
        self.meter.show(progress);
    }
}

fn verdict(sound: bool) -> &'static str {
    if sound { "sound" } else { "DAMAGED" }
}

fn volume_text(report: &VolumeReport) -> String {
    let ending = match report.ending {
        "closed" => "closed in order",
        "torn" => "its last commit was cut off",
        _ => "not closed, nothing was being written",
    };
    let state = match &report.cluster {
        None => report.state.to_owned(),
        Some(cluster) => format!("{}, {}", report.state, cluster_text(cluster)),
    };
    format!(
        "volume {}: {}: {} ({state}): needles {} (damaged {}, large bodies {}), {} alive, {} dead, log ends \
         at byte {} after {} commits ({ending}), damaged places {}, superblock copies {} of 3, {}",
        report.volume,
        verdict(report.sound),
        report.file,
        report.needles,
        report.damaged_needles,
        report.large_bodies,
        rounded(report.live),
        rounded(report.dead),
        report.log_end,
        report.commits,
        report.damaged_places,
        report.superblock_copies,
        speed_text(report.read, report.seconds),
    )
}

fn cluster_text(cluster: &ClusterReport) -> String {
    let ClusterReport { collection, placement, ttl, read_only, .. } = cluster;
    let collection = if collection.is_empty() { "default" } else { collection };
    let ttl = ttl.as_ref().map(|ttl| format!(", photos live {ttl}")).unwrap_or_default();
    let closed = if *read_only { ", closed by the cluster" } else { "" };
    format!("collection {collection}, placement {placement}{ttl}{closed}")
}

fn total_text(total: &CheckSummary) -> String {
    format!(
        "total: {}: volumes {} (not checked {}), needles {} (damaged {}), {} alive, {}",
        verdict(total.sound),
        total.volumes + total.failed_volumes,
        total.failed_volumes,
        total.needles,
        total.damaged_needles,
        rounded(total.live),
        speed_text(total.read, total.seconds),
    )
}

fn speed_text(bytes: u64, seconds: f64) -> String {
    format!("{seconds:.2} s, {:.0} MB/s", bytes as f64 / 1e6 / seconds.max(1e-9))
}
