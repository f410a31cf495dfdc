//! The command: builds the programs, makes the file system, and runs the parts one after the other.

use std::time::Instant;

use super::measurement::Measurement;
use super::options::Options;
use super::outcome::Outcome;
use super::part::Part;
use super::report::{Result as PartResult, record};
use super::scene::Scene;
use super::{
    amounts, erased, found, idle, ill_disk, index, lists, pulls, reads, refill, slow_disk, streams,
    swaps,
};
use crate::packages::require;
use crate::process::{Failed, run};
use crate::project::{cargo, is_root};

/// Programs for making a file system, and their Debian packages.
const TOOLS: [(&str, &str); 3] =
    [("mkfs.xfs", "xfsprogs"), ("losetup", "mount"), ("fallocate", "util-linux")];

/// Measures compactions, with the flags of [`Options`], and records the figures.
///
/// # Errors
/// When a part fails, or finds lost or remaining data. A figure that misses its goal is no error.
pub fn compaction(flags: &[&str]) -> Result<(), Failed> {
    measure_all(&Options::parse(Measurement::Compaction, flags)?)
}

/// Measures scrubs, and what becomes of an ill disk, as [`compaction`] measures compactions.
///
/// # Errors
/// When a part fails, or damage is not found. A figure that misses its goal is no error.
pub fn health(flags: &[&str]) -> Result<(), Failed> {
    measure_all(&Options::parse(Measurement::Health, flags)?)
}

fn measure_all(options: &Options) -> Result<(), Failed> {
    require(&TOOLS)?;
    if !is_root() {
        return Err(Failed("making an XFS needs root".to_owned()));
    }
    let packages = ["--package", "hayloft", "--package", "hayloft-loadgen"];
    run(cargo(&["build", "--release", "--locked", "--bins"]).args(packages))?;
    let scene = Scene::set_up(options)?;
    let (mut complaints, mut failed) = (Vec::new(), 0);
    let all = options.parts.len();
    for (number, part) in options.parts.iter().enumerate() {
        eprintln!("\n== {} ({} of {all})", part.name(), number + 1);
        let began = Instant::now();
        let done = measure(*part, &scene, options);
        scene.clear();
        let seconds = began.elapsed().as_secs_f64();
        let result = PartResult::new((*part, options), seconds, done);
        if let Some(why) = &result.error {
            eprintln!("  FAILED: {why}");
            failed += 1;
        }
        eprintln!("  {seconds:.0} s");
        record(&result, options)?;
        complaints.extend(result.complaints());
    }
    match complaints.is_empty() {
        true => println!("\nall goals are met"),
        false => println!("\nnot as wanted:\n{}", complaints.join("\n")),
    }
    if failed == 0 { Ok(()) } else { Err(Failed(format!("{failed} of {all} parts failed"))) }
}

fn measure(part: Part, scene: &Scene, options: &Options) -> Result<Outcome, Failed> {
    match part {
        Part::Reads => reads::reads(scene),
        Part::Writes => reads::writes(scene),
        Part::Swaps => swaps::swaps(scene),
        Part::Amounts => amounts::amounts(scene),
        Part::Idle => idle::idle(scene),
        Part::Erased => erased::erased(scene),
        Part::Refill => refill::refill(scene),
        Part::Index => index::index(scene, options.needles),
        Part::Found => found::found(scene),
        Part::Scrubs => reads::scrubs(scene),
        Part::Fenced => ill_disk::fenced(scene),
        Part::Slow => slow_disk::slow(scene),
        Part::Streams => streams::streams(scene),
        Part::Lists => lists::lists(scene),
        Part::Pulls => pulls::pulls(scene),
    }
}
