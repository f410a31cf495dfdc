//! Parameters of a run.

use hayloft::base::types::{ShardId, VolumeId};
use hayloft::http::conn::Deadlines;
use hayloft::http::head::Dialects;
use hayloft::node::shard::{FidKeys, ReadPlans, ShardConfig};
use hayloft::runtime::background::PaceLimits;
use hayloft::runtime::split_mix;

use super::{BATCH_MAX, SECOND};

/// Sizes of volumes (bytes).
pub const SIZES: [u64; 3] = [6 << 20, 2 << 20, 1 << 20];
/// Largest number of volumes of a node.
pub const VOLUMES: u32 = 3;

/// Parameters of a run, drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub shards: usize,
    pub volumes: u32,
    pub clients: u64,
    /// Objects in each volume.
    pub keys: u64,
    /// Limits the bits of the index hash, so that different objects collide.
    pub hash_bits: Option<u32>,
    /// Whether connections break and disk operations fail.
    pub faults: bool,
    /// Log between checkpoints (bytes); `None` for no checkpoints.
    pub interval: Option<u64>,
    /// Size of each volume (bytes).
    pub size: u64,
    /// Limit of the transfers in flight of a shard.
    pub device_limit: usize,
    /// Time limit of a drain (ns).
    pub drain_ns: u64,
    /// Longest pause of a client between two requests (ns).
    pub pause_ns: u64,
    /// Whether volumes are compacted.
    pub compactions: bool,
    /// Whether the disk damages what is stored.
    pub damage: bool,
    /// Whether objects expire.
    pub expiry: bool,
    /// Whether deleted objects are taken back.
    pub undelete: bool,
}

impl Plan {
    /// Draws a plan from a seed.
    pub fn draw(seed: u64) -> Self {
        let mut state = seed;
        let mut draw = |below: u64| split_mix(&mut state) % below;
        let plan = Self {
            shards: 1 + usize::try_from(draw(3)).unwrap(),
            volumes: 1 + u32::try_from(draw(u64::from(VOLUMES))).unwrap(),
            clients: 2 + draw(5),
            keys: 1 + draw(6),
            hash_bits: [None, Some(2)][usize::from(draw(2) == 0)],
            faults: draw(4) > 0,
            interval: [Some(4 << 10), Some(32 << 10), Some(256 << 10), None]
                [usize::try_from(draw(4)).unwrap()],
            size: SIZES[usize::try_from(draw(3)).unwrap()],
            device_limit: [1, 2, 96][usize::try_from(draw(3)).unwrap()],
            drain_ns: [30 * SECOND, 100_000, 5_000_000][usize::try_from(draw(3)).unwrap()],
            pause_ns: [20_000_000, 20_000_000, 100_000][usize::try_from(draw(3)).unwrap()],
            compactions: draw(3) > 0,
            damage: draw(2) == 0,
            expiry: draw(2) == 0,
            undelete: draw(2) == 0,
        };
        // A file that is compacted must have space for tombstones twice.
        let size = if plan.compactions { SIZES[0] } else { plan.size };
        Self { size, ..plan }
    }

    /// The shard that a volume belongs to.
    pub fn owner_of(&self, id: VolumeId) -> ShardId {
        ShardId::from_index(id.0 as usize % self.shards)
    }

    pub fn shard_config(&self, disk_missing: bool) -> ShardConfig {
        ShardConfig {
            deadlines: Deadlines {
                head: 5 * SECOND,
                idle: 75 * SECOND,
                body: 5 * SECOND,
                send: 10 * SECOND,
                rate: 16 << 10,
                linger: SECOND,
            },
            dialects: Dialects::Own,
            keys: FidKeys::default(),
            cache_control: "max-age=31536000, immutable".to_owned(),
            body_max: 8 << 20,
            batch_max: BATCH_MAX,
            connections_max: 1000,
            refusals_max: 256,
            drain_ns: self.drain_ns,
            disk_missing,
            audit_log: false,
            background: PaceLimits { min: 4 << 20, max: 256 << 20, transfer_max: 64 << 10 },
            reads: ReadPlans::default(),
        }
    }
}
