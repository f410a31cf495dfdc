//! Launch parameters of the shards, made from the configuration, and the body of the shards' threads.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::health::Records;
use super::machine::OpenFiles;
use super::placement::{Placed, Placement};
use super::random::random;
use super::store::Store;
use super::volume_files::{FoundFile, all_in_use};
use crate::base::limits::{CHECKPOINT_RATE, LINGER_NS};
use crate::base::sys;
use crate::base::types::{ShardId, VolumeId};
use crate::http::conn::Deadlines;
use crate::http::fid::TokenKey;
use crate::http::head::Dialects;
use crate::node::board::{VolumeInfo, VolumeState};
use crate::node::config::Config;
use crate::node::metrics::Metrics;
use crate::node::shard::{
    self, AssignedFile, Assignment, FidKeys, Listener, ReadPlans, ShardConfig, Shared, Start,
};
use crate::ring::{Prepared, Ring, RingOptions};
use crate::runtime::Runtime;
use crate::runtime::background::PaceLimits;
use crate::runtime::buffer::Pool;
use crate::volume::{Checkpointing, Expected};

/// Longest transfer of background work while the disk serves requests (bytes). Longer ones raise the 99th
/// percentile of reads; shorter ones take more system calls.
const BACKGROUND_TRANSFER: u64 = 64 << 10;

/// Launch parameters of one shard, passed to its thread.
pub struct Launch {
    /// The prepared ring.
    pub prepared: Prepared,
    /// Core to pin the thread to.
    pub core: usize,
    /// Initial state of the shard.
    pub start: Start,
}

/// Returns the launch parameters of all shards: cores, rings, listeners and volumes are divided among them.
pub fn launches(
    (config, files): (&Config, OpenFiles),
    (stores, records): (&[Store], &Records),
    placement: &Placement,
    shared: &Arc<Shared>,
    cores: Vec<usize>,
    prepared: Vec<Prepared>,
    listeners: Vec<Vec<Listener>>,
) -> Vec<Launch> {
    let count = cores.len();
    let mut assignments: Vec<Vec<Assignment>> = (0..count).map(|_| Vec::new()).collect();
    for (id, placed) in placement.all() {
        let assignment = assign(id, placed, stores, config, records, &shared.metrics);
        assignments[placed.shard.index()].push(assignment);
    }
    let missing = !all_in_use(stores);
    let parts = cores.into_iter().zip(prepared).zip(listeners).zip(assignments);
    let launch = |(id, (((core, prepared), listeners), assignments))| Launch {
        prepared,
        core,
        start: Start {
            id,
            config: shard_config(config, files, missing),
            shared: Arc::clone(shared),
            assignments,
            owners: placement.owners(),
            listeners,
        },
    };
    ShardId::all(count).zip(parts).map(launch).collect()
}

/// Returns the assignment of a volume for its shard, and registers the volume as recovering.
pub fn assign(
    id: VolumeId,
    placed: &Placed,
    stores: &[Store],
    config: &Config,
    records: &Records,
    metrics: &Metrics,
) -> Assignment {
    let files = placed.files.iter().map(|file| AssignedFile {
        health: records.known(file.store, id),
        ..assigned(id, *file, &stores[file.store], config)
    });
    let files: Vec<AssignedFile> = files.collect();
    let disk = disk(placed.files.last().expect("a volume has a file").store);
    let info = VolumeInfo { id, shard: placed.shard, disk, durable: !config.buffered };
    Assignment {
        volume: id,
        files,
        all_directories: all_in_use(stores),
        metrics: metrics.register_volume(info, VolumeState::Recovering),
    }
}

fn disk(store: usize) -> u32 {
    u32::try_from(store).expect("at most 256 data directories")
}

fn assigned(id: VolumeId, file: FoundFile, store: &Store, config: &Config) -> AssignedFile {
    let dir = store.dir.as_ref().expect("volumes are found in open stores only");
    AssignedFile {
        dir: store.path.clone(),
        disk: disk(file.store),
        expected: Expected {
            volume: id,
            generation: file.generation,
            store: dir.store_id().0.to_be_bytes(),
            hash_bits: None,
            segments_max: None,
            checkpoints: Some(Checkpointing {
                interval: config.checkpoint_interval.bytes(),
                rate: CHECKPOINT_RATE,
            }),
        },
        health: None,
    }
}

fn shard_config(config: &Config, files: OpenFiles, disk_missing: bool) -> ShardConfig {
    let limits = &config.limits;
    let ns =
        |time: Duration| u64::try_from(time.as_nanos()).expect("at most a day: checked in config");
    ShardConfig {
        deadlines: Deadlines {
            head: ns(limits.head_timeout()),
            idle: ns(limits.idle_timeout()),
            body: ns(limits.body_grace()),
            send: ns(limits.send_timeout()),
            rate: u64::from(limits.body_min_bytes_per_second),
            linger: LINGER_NS,
        },
        dialects: if config.cluster.is_on() { Dialects::WithFids } else { Dialects::Own },
        keys: fid_keys(),
        cache_control: config.cache_control.clone(),
        body_max: limits.largest_body.bytes(),
        batch_max: limits.batch_bytes(),
        connections_max: files.connections,
        refusals_max: files.refusals_per_shard,
        drain_ns: ns(limits.drain_timeout()),
        disk_missing,
        audit_log: config.audit_log,
        reads: ReadPlans {
            scrub_interval_ns: config.background.scrub_interval_ns(),
            probe_interval_ns: config.health.probe_interval_ns(),
        },
        background: PaceLimits {
            min: config.background.rate_min.bytes(),
            max: config.background.rate_max.bytes(),
            transfer_max: BACKGROUND_TRANSFER,
        },
    }
}

/// Keys of tokens, from the variables of the environment in which SeaweedFS has them, too.
fn fid_keys() -> FidKeys {
    let key = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(TokenKey::new(value.as_encoded_bytes()))
    };
    FidKeys { read: key("WEED_JWT_SIGNING_READ_KEY"), write: key("WEED_JWT_SIGNING_KEY") }
}

/// Number of operations that one shard may have in flight on a device: `limits.device_in_flight`, divided by
/// the number of shards that share the device. At least 1.
pub fn device_limit(config: &Config, placement: &Placement, shard: ShardId) -> usize {
    (config.limits.device_in_flight as usize / placement.sharing(shard)).max(1)
}

/// Runs a shard on the calling thread, pinned to its core, until it has drained.
///
/// # Panics
/// If its ring cannot be started.
pub fn run(launch: Launch, pool: &Pool, peers: Vec<RawFd>, options: RingOptions) {
    let Launch { prepared, core, start } = launch;
    if let Err(error) = sys::pin_to_core(core) {
        tracing::warn!("cannot pin a shard to core {core}: {error}");
    }
    let ring = Ring::start(prepared, pool.clone(), peers, options).unwrap_or_else(|error| {
        panic!("a prepared ring could not be started on its thread: {error}")
    });
    let runtime = Runtime::new(&ring, pool.clone(), random);
    shard::run(ring, runtime, start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::daemon::volume_files::FoundVolume;

    #[test]
    fn device_limit_is_divided_among_shards_with_a_minimum_of_1() {
        let mut config = Config::default();
        config.limits.device_in_flight = 5;
        let mut placement = Placement::new(3);
        let limits = |config: &Config, placement: &Placement| {
            [0, 1, 2].map(|shard| device_limit(config, placement, ShardId::from_index(shard)))
        };
        assert_eq!(limits(&config, &placement), [5, 5, 5]);
        for id in [VolumeId(1), VolumeId(2)] {
            placement.place(&FoundVolume::single(id, 0, 0));
        }
        assert_eq!(limits(&config, &placement), [2, 2, 5]);
        config.limits.device_in_flight = 1;
        assert_eq!(limits(&config, &placement), [1, 1, 1]);
    }
}
