//! The part `fenced`: a disk whose reads begin to fail takes its volumes out, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faultdisk::{ReadFault, ReadFaultKind};
use serde_json::json;

use super::ill_node::{ILL, IllDisk, PHOTOS, SOUND, node, state};
use super::outcome::{Figure, Outcome, Verdict};
use super::scene::Scene;
use crate::http::Client;
use crate::node::Node;
use crate::photos::path;
use crate::process::Failed;

/// One in a hundred, in millionths.
const ONE_PERCENT: u64 = 10_000;
/// Time within which the volumes must be suspect, and for which the measurement waits (seconds).
const GOAL_S: f64 = 60.0;
const PATIENCE: Duration = Duration::from_secs(180);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// GETs of one damaged photo.
const POPULAR: u64 = 10_000;

/// Measures how long an ill disk keeps its volumes.
///
/// # Errors
/// When volumes are not taken out, or those of the other disk are.
pub fn fenced(scene: &Scene) -> Result<Outcome, Failed> {
    let mut outcome = Outcome::measured(format!(
        "A daemon with two data directories: one on a disk whose reads can be made to fail, with 2 volumes, \
         and a sound one with 1; {PHOTOS} photos of 10,000 to 70,000 bytes in each. From some time on 1 % of \
         the sectors of 4 KiB of the volume files fail with EIO for good, or 1 % of the reads at random. \
         Under load 4 connections read random photos of all volumes. Idle means that photos are read one \
         after the other until one error was seen, and none after that. Measured is the time from the first \
         error on a metric until both volumes are suspect."
    ));
    let sectors = ReadFaultKind::Sectors(ONE_PERCENT);
    let random = ReadFaultKind::Random(ONE_PERCENT);
    for (kind, name) in [(sectors, "1 % of the sectors fail"), (random, "1 % of the reads fail")] {
        for is_loaded in [true, false] {
            let seconds = case(scene, kind, is_loaded)?;
            let what = format!("{name}, {}", if is_loaded { "under load" } else { "idle" });
            outcome.at_most(&what, (seconds, GOAL_S), (1, " s"));
            outcome.rounds.push(json!({"case": what, "seconds": seconds}));
        }
    }
    popular(scene, &mut outcome)?;
    Ok(outcome)
}

fn errors(node: &Node, volume: u32) -> Result<u64, Failed> {
    let state = state(node, volume)?;
    let number = |name: &str| state[name].as_u64().unwrap_or(0);
    Ok(number("hard_errors") + number("soft_errors"))
}

fn is_suspect(node: &Node, volume: u32) -> Result<bool, Failed> {
    Ok(!state(node, volume)?["suspect"].is_null())
}

/// Runs one case. Returns the time from the first error until both volumes were suspect (seconds).
fn case(scene: &Scene, kind: ReadFaultKind, is_loaded: bool) -> Result<f64, Failed> {
    let ill = IllDisk::make(&scene.work)?;
    let node = node(scene, &ill)?;
    ill.fail_reads(Some(kind))?;
    let (is_over, has_error) = (AtomicBool::new(false), AtomicBool::new(false));
    let seconds = std::thread::scope(|scope| {
        for reader in 0..if is_loaded { 4 } else { 1 } {
            let (data, is_over, has_error) = (node.data, &is_over, &has_error);
            scope.spawn(move || {
                let (client, mut random) = (Client::new(data), fastrand::Rng::with_seed(reader));
                while !is_over.load(Ordering::Relaxed)
                    && (is_loaded || !has_error.load(Ordering::Relaxed))
                {
                    let volume = [ILL[0], ILL[1], SOUND][random.usize(..3)];
                    let got = client.ask("GET", &path(volume, random.u64(..PHOTOS)));
                    if got.is_err() || !is_loaded {
                        // The metrics are published once in a while.
                        std::thread::sleep(LOOK);
                    }
                }
            });
        }
        let seconds = time_until_suspect(&node, &has_error);
        is_over.store(true, Ordering::Relaxed);
        seconds
    })?;
    ill.fail_reads(None)?;
    judge(&node)?;
    node.stop()?;
    ill.remove()?;
    Ok(seconds)
}

fn time_until_suspect(node: &Node, has_error: &AtomicBool) -> Result<f64, Failed> {
    let (began, mut first) = (Instant::now(), None);
    loop {
        if first.is_none() && ILL.iter().try_fold(0, |sum, id| Ok(sum + errors(node, *id)?))? > 0 {
            first = Some(Instant::now());
            has_error.store(true, Ordering::Relaxed);
        }
        let suspect = [is_suspect(node, ILL[0])?, is_suspect(node, ILL[1])?];
        if let (Some(first), [true, true]) = (first, suspect) {
            return Ok(first.elapsed().as_secs_f64());
        }
        if began.elapsed() > PATIENCE {
            return Err(Failed(format!(
                "suspect after {PATIENCE:?}: {suspect:?}, an error was seen: {}",
                first.is_some()
            )));
        }
        std::thread::sleep(LOOK);
    }
}

/// Checks that the volumes of the ill disk take no writes and serve reads, and that the other one does both.
fn judge(node: &Node) -> Result<(), Failed> {
    let client = Client::new(node.data);
    for volume in [ILL[0], ILL[1], SOUND] {
        let put = client.send("PUT", &path(volume, PHOTOS + 1), b"new")?.status;
        let got = client.ask("GET", &path(volume, 7))?.status;
        let wanted = if volume == SOUND { 201 } else { 503 };
        if (put, got) != (wanted, 200) {
            return Err(Failed(format!("volume {volume}: a PUT was answered {put}, a GET {got}")));
        }
    }
    if is_suspect(node, SOUND)? {
        return Err(Failed("the volume of the sound disk is suspect".to_owned()));
    }
    Ok(())
}

/// One damaged photo that is read often.
fn popular(scene: &Scene, outcome: &mut Outcome) -> Result<(), Failed> {
    let ill = IllDisk::make(&scene.work)?;
    let node = node(scene, &ill)?;
    let first = ill.extents()?.first().cloned().ok_or_else(|| Failed("no extents".to_owned()))?;
    // A sector behind the begin of the log, in the data of the first photos.
    let sector = first.start + 65_536 + 8192..first.start + 65_536 + 8192 + 512;
    let kind = ReadFaultKind::Sectors(1_000_000);
    ill.disk
        .device()
        .fail_reads(Some(ReadFault { ranges: std::iter::once(sector).collect(), kind }));
    let client = Client::new(node.data);
    let damaged = (0..PHOTOS)
        .find(|key| client.ask("GET", &path(ILL[0], *key)).is_ok_and(|reply| reply.status == 500));
    let damaged = damaged.ok_or_else(|| Failed("no photo is damaged".to_owned()))?;
    for _ in 0..POPULAR {
        let status = client.ask("GET", &path(ILL[0], damaged))?.status;
        if status != 500 {
            return Err(Failed(format!("the damaged photo was answered {status}")));
        }
    }
    std::thread::sleep(Duration::from_secs(25));
    let errors = errors(&node, ILL[0])?;
    let is_fenced = is_suspect(&node, ILL[0])? || is_suspect(&node, ILL[1])?;
    let verdict = if is_fenced { Verdict::Missed } else { Verdict::Met };
    outcome.add(Figure {
        what: format!("one damaged photo, fetched {POPULAR} times"),
        goal: "fences nothing".to_owned(),
        value: format!(
            "{errors} errors counted, {}",
            if is_fenced { "fenced" } else { "not fenced" }
        ),
        verdict,
    });
    ill.disk.device().fail_reads(None);
    node.stop()?;
    ill.remove()
}
