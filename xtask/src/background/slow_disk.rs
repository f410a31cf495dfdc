//! The part `slow`: a disk whose reads take long is named, and the other disk goes on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faultdisk::ReadFaultKind;
use serde_json::{Value, json};

use super::ill_node::{ILL, IllDisk, PHOTOS, SOUND, node, state};
use super::outcome::{Figure, Outcome, Verdict};
use super::scene::Scene;
use crate::http::Client;
use crate::node::Node;
use crate::photos::path;
use crate::process::Failed;

/// Time by which the reads of a disk are slower, each of them.
const SLOWER: Duration = Duration::from_millis(200);
/// Time that a read takes on a disk that hangs.
const HANGING: Duration = Duration::from_secs(45);
/// Time within which a slow disk must be named, and one that hangs: the window is five minutes, of which a
/// sample a second is kept; a hanging one is found by the next probe, after 30 s, once that has taken 10 s
/// (seconds).
const GOALS_S: (f64, f64) = (300.0, 60.0);
/// Time for which the measurement waits.
const PATIENCE: Duration = Duration::from_secs(420);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Pause between two reads of a connection.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest time of a GET of the other disk, and of `/healthz` (seconds).
const OTHERS_S: f64 = 1.0;

/// Longest times, in microseconds.
#[derive(Default)]
struct Longest {
    sound_get: AtomicU64,
    healthz: AtomicU64,
}

/// Measures how long it takes until a slow disk is named.
///
/// # Errors
/// When it is not, or another one is.
pub fn slow(scene: &Scene) -> Result<Outcome, Failed> {
    let mut outcome = Outcome::measured(format!(
        "A daemon as for `fenced`, 4 connections that read photos of all volumes, and the defaults of \
         `[health]`. From some time on each read of the volume files of one disk takes {SLOWER:?} longer, \
         which is much longer than on the other disk, or {HANGING:?}. Measured is the time until `/status` \
         says that the disk is slow, and the longest GET of the volume of the other disk and of `/healthz` \
         meanwhile. No volume may become suspect: a slow disk loses nothing."
    ));
    for (name, kind, goal) in
        [("reads take 200 ms longer", SLOWER, GOALS_S.0), ("reads hang", HANGING, GOALS_S.1)]
    {
        let (seconds, longest) = case(scene, ReadFaultKind::Slow(kind))?;
        outcome.at_most(&format!("{name}: named after"), (seconds, goal), (0, " s"));
        let seconds_of = |us: &AtomicU64| us.load(Ordering::Relaxed) as f64 / 1e6;
        let (get, healthz) = (seconds_of(&longest.sound_get), seconds_of(&longest.healthz));
        let what = format!("{name}: longest GET of the other disk");
        outcome.at_most(&what, (get, OTHERS_S), (3, " s"));
        let what = format!("{name}: longest answer of `/healthz`");
        outcome.at_most(&what, (healthz, OTHERS_S), (3, " s"));
        outcome.rounds.push(json!({
            "case": name, "seconds": seconds, "longest_get": get, "longest_healthz": healthz
        }));
    }
    outcome.add(Figure {
        what: "volumes that became suspect".to_owned(),
        goal: "0".to_owned(),
        value: "0".to_owned(),
        verdict: Verdict::Met,
    });
    Ok(outcome)
}

/// Returns whether the disk of the ill volumes and the sound one are said to be slow.
fn are_slow(node: &Node) -> Result<[bool; 2], Failed> {
    let text = node.admin("/status")?;
    let status: Value =
        serde_json::from_str(&text).map_err(|error| Failed(format!("/status: {error}")))?;
    let is_slow = |disk: usize| {
        let slow = status["disks"][disk]["slow"].as_bool();
        slow.ok_or_else(|| Failed(format!("/status says nothing of disk {disk}")))
    };
    Ok([is_slow(0)?, is_slow(1)?])
}

/// Runs one case. Returns the time until the disk was named (seconds), and the longest times meanwhile.
fn case(scene: &Scene, kind: ReadFaultKind) -> Result<(f64, Longest), Failed> {
    let ill = IllDisk::make(&scene.work)?;
    let node = node(scene, &ill)?;
    let (is_over, longest) = (AtomicBool::new(false), Longest::default());
    ill.fail_reads(Some(kind))?;
    let seconds = std::thread::scope(|scope| {
        for (reader, volume) in (0..).zip([ILL[0], ILL[1], SOUND, SOUND]) {
            let (data, is_over, longest) = (node.data, &is_over, &longest);
            scope.spawn(move || read_photos((reader, data), volume, longest, is_over));
        }
        let seconds = time_until_slow(&node, &longest);
        is_over.store(true, Ordering::Relaxed);
        ill.fail_reads(None).and(seconds)
    })?;
    for volume in [ILL[0], ILL[1], SOUND] {
        if !state(&node, volume)?["suspect"].is_null() {
            return Err(Failed(format!("volume {volume} is suspect")));
        }
    }
    node.stop()?;
    ill.remove()?;
    Ok((seconds, longest))
}

/// Reads random photos of a volume, one after the other.
fn read_photos(
    (reader, data): (u64, std::net::SocketAddr),
    volume: u32,
    longest: &Longest,
    is_over: &AtomicBool,
) {
    let (client, mut random) = (Client::new(data), fastrand::Rng::with_seed(reader));
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let got = client.ask("GET", &path(volume, random.u64(..PHOTOS)));
        if volume == SOUND {
            let is_fine = got.is_ok_and(|reply| reply.status == 200);
            // A failure counts as a GET that takes for ever.
            let time = if is_fine { began.elapsed() } else { PATIENCE };
            longest.sound_get.fetch_max(micros(time), Ordering::Relaxed);
        }
        std::thread::sleep(PAUSE);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn time_until_slow(node: &Node, longest: &Longest) -> Result<f64, Failed> {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        node.admin("/healthz")?;
        longest.healthz.fetch_max(micros(asked.elapsed()), Ordering::Relaxed);
        match are_slow(node)? {
            [true, false] => return Ok(began.elapsed().as_secs_f64()),
            [false, false] if began.elapsed() < PATIENCE => std::thread::sleep(LOOK),
            slow => return Err(Failed(format!("slow after {:?}: {slow:?}", began.elapsed()))),
        }
    }
}
