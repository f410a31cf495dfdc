//! The trials of each configuration of the daemon: power cuts, their control, shutdowns and faults.

use std::path::{Path, PathBuf};
use std::time::Instant;

use faultdisk::log::Kind;
use faultdisk::random::split_mix;
use faultdisk::xfs::command;

use crate::cli::{Cli, Prealloc};
use crate::compaction::phase::PhaseCounts;
use crate::cuts;
use crate::daemon::Setup;
use crate::error::{Error, file};
use crate::faults::{self, FaultKind};
use crate::findings::Findings;
use crate::record::Recording;
use crate::report::Row;
use crate::shutdown;
use crate::total::Total;

/// Ignored flushes in the control trial: more than those of one commit and its XFS metadata.
pub const IGNORED_FLUSHES: usize = 16;

/// Trials of one configuration of the daemon.
pub struct Trials<'a> {
    pub cli: &'a Cli,
    pub setup: Setup,
    /// Name of the configuration.
    pub name: String,
    pub seed: u64,
    /// Results so far.
    pub rows: Vec<Row>,
}

impl Trials<'_> {
    /// Creates an empty directory for the next trial, removing that of the last one.
    pub fn dir(&self) -> Result<PathBuf, Error> {
        let dir = clear(self.cli)?;
        std::fs::create_dir_all(&dir).map_err(file("create", &dir))?;
        Ok(dir)
    }

    /// Adds and prints a result.
    pub fn push(
        &mut self,
        what: &str,
        total: Total,
        is_control: bool,
        since: Instant,
        phases: PhaseCounts,
    ) {
        let what = format!("{what}, {}", self.name);
        let row = Row { what, total, is_control, took: since.elapsed(), phases };
        let (mark, total) = (if row.is_right() { "ok" } else { "BAD" }, &row.total);
        println!(
            "{mark}: {}: {} states, {} lost, {} wrong, {} other, {:.0?}",
            row.what, total.states, total.lost, total.wrong, total.trouble, row.took
        );
        self.rows.push(row);
    }

    /// Keeps the directory of a trial with violations.
    pub fn keep(&self, dir: &Path) {
        let mut kept = self.cli.dir.join("kept");
        let mut n = 1;
        while kept.exists() {
            kept = self.cli.dir.join(format!("kept-{n}"));
            n += 1;
        }
        match std::fs::rename(dir, &kept) {
            Ok(()) => println!(
                "kept in {0}; to recreate a state: faultdisk state {0}/log --base {0}/base --out IMAGE \
                 and the options printed above",
                kept.display()
            ),
            Err(error) => println!("cannot keep {}: {error}", dir.display()),
        }
    }

    fn power_cuts(&mut self) -> Result<(), Error> {
        let (dir, since) = (self.dir()?, Instant::now());
        let seed = split_mix(&mut self.seed);
        let recording = Recording::make(&self.setup, &dir, self.cli.seconds, seed)?;
        let entries = recording.log.entries();
        println!(
            "{}: seed {}: {} writes acknowledged, {} requests, {} of them flushes",
            self.name,
            self.cli.seed,
            recording.acknowledged,
            entries.len(),
            entries.iter().filter(|entry| entry.kind == Kind::Flush).count()
        );
        let cuts = cuts::choose(&recording, self.cli.cuts, &mut self.seed);
        let (setup, states) = (&self.setup, self.cli.states);
        let seed = &mut self.seed;
        let total = cuts::cut(setup, &recording, &dir, (&cuts, states, 0), seed, report)?;
        let is_bad = !total.is_clean();
        self.push("power cuts", total, false, since, PhaseCounts::new());
        if is_bad {
            self.keep(&dir);
            return Ok(());
        }
        self.control(&recording, &dir)
    }

    /// Negative control: the same recording with ignored flushes before each cut must show losses.
    fn control(&mut self, recording: &Recording, dir: &Path) -> Result<(), Error> {
        let since = Instant::now();
        let mut cuts = cuts::choose(recording, 8, &mut self.seed);
        cuts.retain(|cut| *cut >= recording.from);
        cuts.truncate(if self.cli.short { 2 } else { 6 });
        let (setup, seed) = (&self.setup, &mut self.seed);
        let total = cuts::cut(setup, recording, dir, (&cuts, 1, IGNORED_FLUSHES), seed, |_, _| ())?;
        let what = format!("CONTROL: the last {IGNORED_FLUSHES} flushes did nothing");
        self.push(&what, total, true, since, PhaseCounts::new());
        Ok(())
    }

    fn shutdowns(&mut self) -> Result<(), Error> {
        for flush in [false, true] {
            let (since, mut total) = (Instant::now(), Total::default());
            for n in (0..self.cli.shutdowns).filter(|n| (n % 2 == 1) == flush) {
                let dir = self.dir()?;
                let findings = shutdown::round(&self.setup, &dir, flush, &mut self.seed)?;
                report(&format!("shutdown {n}"), &findings);
                total.cuts += 1;
                total.add(&findings);
                if !findings.is_clean() {
                    self.keep(&dir);
                }
            }
            let log = if flush { "with" } else { "without" };
            if total.cuts > 0 {
                let what = format!("XFS shut down {log} its log");
                self.push(&what, total, false, since, PhaseCounts::new());
            }
        }
        Ok(())
    }

    fn faults(&mut self) -> Result<(), Error> {
        let kinds = FaultKind::ALL.iter().cycle().zip(0..self.cli.faults);
        for (&kind, n) in kinds {
            let (since, dir) = (Instant::now(), self.dir()?);
            let (setup, seed) = (&self.setup, &mut self.seed);
            let (findings, mut total) = faults::round(setup, &dir, kind, seed, report)?;
            report(&format!("fault {n}"), &findings);
            total.lost += findings.lost.len() as u64;
            total.wrong += findings.wrong.len() as u64;
            total.trouble += findings.trouble.len() as u64;
            let is_bad = !total.is_clean();
            self.push(kind.name(), total, false, since, PhaseCounts::new());
            if is_bad {
                self.keep(&dir);
            }
        }
        Ok(())
    }
}

/// Removes the directory of the last trial; returns its path.
pub fn clear(cli: &Cli) -> Result<PathBuf, Error> {
    let dir = cli.dir.join("trial");
    // A killed run leaves its mounts behind.
    for mount in ["xfs", "fuse"].map(|name| dir.join(name)) {
        let _ = command("umount", "mount", |c| c.arg("-l").arg(mount));
    }
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file("remove", &dir)(error))
        }
        _ => Ok(dir),
    }
}

/// Prints the violations found in a state.
pub fn report(state: &str, findings: &Findings) {
    for line in findings.lines() {
        println!("{state}: {line}");
    }
}

/// Runs all trials that the command line asks for.
///
/// # Errors
/// If a trial cannot be carried out. Violations are results, not errors.
pub fn run_all(cli: &Cli) -> Result<Vec<Row>, Error> {
    let both = [Prealloc::Fallocate, Prealloc::Zeroed];
    let kinds = [1, 2].into_iter().flat_map(|shards| both.map(|prealloc| (shards, prealloc)));
    let mut rows = Vec::new();
    for (shards, prealloc) in kinds {
        let wanted = cli.shards.is_none_or(|wanted| wanted == shards)
            && cli.prealloc.is_none_or(|wanted| wanted == prealloc);
        let in_short = (shards == 1) == (prealloc == Prealloc::Fallocate);
        if !wanted || (cli.short && !in_short) {
            continue;
        }
        let setup = Setup {
            program: cli.daemon.clone(),
            shards,
            prealloc: prealloc.name(),
            volume_mib: 64 + (cli.seconds * 96.0 / f64::from(shards)) as u64,
            data_dirs: 1,
            compacts: false,
            tombstone_keep: "30d",
        };
        let name = format!("{shards} shards, {}", prealloc.name());
        let seed = cli.seed.wrapping_add(u64::from(shards) << 32);
        let mut trials = Trials { cli, setup, name, seed, rows: Vec::new() };
        if cli.cuts > 0 {
            trials.power_cuts()?;
        }
        trials.shutdowns()?;
        trials.faults()?;
        rows.extend(trials.rows);
    }
    clear(cli)?;
    Ok(rows)
}
