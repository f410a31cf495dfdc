//! The parts `reads`, `writes` and `scrubs`: the effect of background work on requests.

use super::admin::Admin;
use super::blocks::Blocks;
use super::load::Load;
use super::outcome::Outcome;
use super::scene::Scene;
use super::work::Work;
use crate::node::Node;
use crate::process::Failed;

/// Size of a volume (MiB), and of one in a trial run.
const MIB: (u64, u64) = (3072, 512);
/// Number of photos of 8 KiB in a volume.
const OBJECTS: (u64, u64) = (120_000, 20_000);
/// Pairs of blocks.
const PAIRS: (u64, u64) = (15, 3);
/// Seconds of a block.
const SECONDS: (f64, f64) = (4.0, 1.5);
/// Share of the peak at which requests are sent.
const SHARE: f64 = 0.3;
/// The volume that is worked on, of shard 0, and one of shard 1.
const VOLUMES: (u32, u32) = (1, 2);

/// Two shards with a volume each in one data directory.
struct TwoShards {
    node: Node,
    admin: Admin,
}

impl TwoShards {
    fn start(scene: &Scene) -> Result<Self, Failed> {
        let mib = scene.choose(MIB.0, MIB.1);
        let ports = free_ports()?.to_string();
        let node = scene.new_node("0,1", mib, &["--shard-ports", &ports])?;
        let admin = Admin::of(&node);
        let (one, other) = (admin.volume(VOLUMES.0)?, admin.create(VOLUMES.1, mib)?);
        if (one.shard, other.shard) != (Some(0), Some(1)) {
            let shards = (one.shard, other.shard);
            return Err(Failed(format!("the volumes are in shards {shards:?}, not 0 and 1")));
        }
        Ok(Self { node, admin })
    }

    /// A load on a volume. The generator is on core 1, also for shard 1, whose core it shares then: core 0
    /// compacts.
    fn load<'a>(&self, scene: &'a Scene, volume: u32) -> Result<Load<'a>, Failed> {
        let objects = scene.choose(OBJECTS.0, OBJECTS.1);
        let load = Load::new(scene, &self.node, "1", (volume, objects));
        load.fill()?;
        Ok(load)
    }
}

/// First of two ports that are free.
fn free_ports() -> Result<u16, Failed> {
    use std::net::TcpListener;
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let found = (21_000..22_000).step_by(2).find(|port| is_free(*port) && is_free(port + 1));
    found.ok_or_else(|| Failed("no two ports from 21000 on are free".to_owned()))
}

fn blocks<'a>(
    scene: &Scene,
    load: &'a Load<'a>,
    what: &'a str,
    (work, kind): (Work, &'a str),
    most: f64,
) -> Blocks<'a> {
    let (pairs, seconds) = (scene.choose(PAIRS.0, PAIRS.1), scene.choose(SECONDS.0, SECONDS.1));
    let filled = (kind == "put").then_some(VOLUMES.1);
    let worked = VOLUMES.0;
    Blocks { what, kind, load, work, worked, filled, pairs, seconds, share: SHARE, most }
}

fn method(scene: &Scene, requests: &str, more: &str) -> String {
    let work = "compacted again and again at the default pace, and while nothing is compacted. All its \
                photos live, so that a compaction writes as much as it reads.";
    method_of(scene, requests, &format!("{work}{more}"))
}

fn method_of(scene: &Scene, requests: &str, work: &str) -> String {
    let objects = scene.choose(OBJECTS.0, OBJECTS.1);
    format!(
        "Two shards with a volume each on one file system, {objects} photos of 8 KiB in each. {requests} at \
         {} of the peak of a closed loop with 16 connections, at times from a Poisson process, in \
         alternating blocks of {} s: while volume 1 (shard 0) is {work}",
        SHARE,
        scene.choose(SECONDS.0, SECONDS.1)
    )
}

/// Measures reads of the volume that is compacted, and of one in another shard.
///
/// # Errors
/// When a block fails.
pub fn reads(scene: &Scene) -> Result<Outcome, Failed> {
    let mut outcome = Outcome::measured(method(scene, "GETs", ""));
    let shards = TwoShards::start(scene)?;
    let same = shards.load(scene, VOLUMES.0)?;
    let other = shards.load(scene, VOLUMES.1)?;
    blocks(scene, &same, "GET, same volume", (Work::Compaction, "get"), 1.3)
        .measure(shards.admin, &mut outcome)?;
    blocks(scene, &other, "GET, other shard on the disk", (Work::Compaction, "get"), 1.3)
        .measure(shards.admin, &mut outcome)?;
    Ok(outcome)
}

/// Measures writes to a volume in another shard.
///
/// # Errors
/// When a block fails.
pub fn writes(scene: &Scene) -> Result<Outcome, Failed> {
    let more = " Volume 2, which the PUTs fill, is compacted before each pair.";
    let mut outcome = Outcome::measured(method(scene, "PUTs that replace photos,", more));
    let shards = TwoShards::start(scene)?;
    drop(shards.load(scene, VOLUMES.0)?);
    let other = shards.load(scene, VOLUMES.1)?;
    blocks(scene, &other, "PUT, other shard on the disk", (Work::Compaction, "put"), 1.5)
        .measure(shards.admin, &mut outcome)?;
    Ok(outcome)
}

/// Measures reads of the volume that is scrubbed, and of one in another shard.
///
/// # Errors
/// When a block fails.
pub fn scrubs(scene: &Scene) -> Result<Outcome, Failed> {
    let work = "scrubbed again and again at the default pace, and while nothing is scrubbed.";
    let mut outcome = Outcome::measured(method_of(scene, "GETs", work));
    let shards = TwoShards::start(scene)?;
    let same = shards.load(scene, VOLUMES.0)?;
    let other = shards.load(scene, VOLUMES.1)?;
    let get = (Work::Scrub, "get");
    blocks(scene, &same, "GET, same volume", get, 1.1).measure(shards.admin, &mut outcome)?;
    blocks(scene, &other, "GET, other shard on the disk", get, 1.1)
        .measure(shards.admin, &mut outcome)?;
    Ok(outcome)
}
