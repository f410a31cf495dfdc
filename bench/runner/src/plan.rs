//! What a measurement consists of, and the space it needs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::measure::Times;
use crate::raw::SCRATCH_LEN;
use crate::servers::Server;
use crate::workload::{DataSet, Subject, Workload};

/// Size of the data for the comparison of shards (bytes): CPU time does not depend on the page cache.
const SHARDS_LEN: u64 = 512 << 20;
/// Assumed maximum write rate of a server that only writes (bytes per second), for the space it needs.
const WRITE_RATE: f64 = 2.5e9;
/// Assumed maximum rate of mixed workloads (requests per second), for the space they need.
const MIXED_RATE: f64 = 22_000.0;
/// Maximum share of the blocks of a mixed workload that are repeated: what is written uses up space.
pub const REPEATS_MAX: f64 = 0.5;
/// Maximum overhead of an object besides its data (bytes): header, inode, rest of a block.
const BESIDES: u64 = 4 << 10;

/// Parameters of a measurement.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The selected workloads.
    pub workloads: Vec<&'static Workload>,
    /// Number of rounds.
    pub pairs: usize,
    /// Durations of a block.
    pub times: Times,
    /// Body bytes in each server.
    pub data_bytes: u64,
    /// Command line, for the records.
    pub command: String,
    /// Directory for the records.
    pub out: PathBuf,
}

impl Plan {
    pub fn bytes_of(&self, data: DataSet) -> u64 {
        match data {
            DataSet::Shards => self.data_bytes.min(SHARDS_LEN),
            _ => self.data_bytes,
        }
    }

    /// Bytes that a server writes while it is measured.
    fn written(&self, data: DataSet, server: Server, workloads: &[&Workload]) -> u64 {
        let times = self.times.warmup + self.times.seconds;
        if data == DataSet::Empty {
            // Each block starts with an empty server.
            return (WRITE_RATE * times) as u64;
        }
        let entries = workloads.iter().flat_map(|workload| workload.entries);
        let puts = entries.filter(|entry| Server::of(entry.subject) == Some(server));
        let puts: f64 = puts.map(|entry| entry.load.puts()).sum();
        let blocks = self.pairs as f64 * (1.0 + REPEATS_MAX);
        let each = data.sizes().1 + BESIDES;
        (puts * MIXED_RATE * times * blocks * each as f64) as u64
    }

    /// Space that the servers of these workloads need together (bytes).
    fn room(&self, data: DataSet, workloads: &[&Workload]) -> u64 {
        let subjects = workloads.iter().flat_map(|workload| workload.entries);
        let subjects: BTreeSet<Subject> = subjects.map(|entry| entry.subject).collect();
        let servers: BTreeSet<Server> = subjects.iter().copied().filter_map(Server::of).collect();
        let objects = self.bytes_of(data) / data.sizes().1;
        let filled =
            if data == DataSet::Empty { 0 } else { self.bytes_of(data) + objects * BESIDES };
        let volumes = data.volumes().split(',').count() as u64;
        let of_server = |server: &Server| match server {
            Server::Hayloft | Server::OtherBuild | Server::Zeroed | Server::TwoShards => {
                self.volume_size(data, objects, workloads) * volumes
            }
            Server::Nginx => filled,
            Server::SeaweedFs => filled + self.written(data, *server, workloads),
            Server::Baseline | Server::Null => 0,
        };
        let mixes = subjects.iter().any(|subject| matches!(subject, Subject::FioMix(_)));
        let scratch = if mixes { SCRATCH_LEN } else { 0 };
        servers.iter().map(of_server).sum::<u64>() + scratch
    }

    /// Selected workloads by data set.
    pub fn by_data(&self) -> Vec<(DataSet, Vec<&'static Workload>)> {
        let of = |data| {
            let workloads = self.workloads.iter().filter(|workload| workload.data == data);
            (data, workloads.copied().collect())
        };
        DataSet::ALL
            .map(of)
            .into_iter()
            .filter(|(_, workloads): &(_, Vec<_>)| !workloads.is_empty())
            .collect()
    }

    /// Space that must be free before the measurement (bytes); only one data set exists at a time.
    pub fn room_max(&self) -> u64 {
        let rooms = self.by_data().into_iter().map(|(data, workloads)| self.room(data, &workloads));
        rooms.max().unwrap_or(0)
    }

    /// Size of a volume of the daemon (bytes): filled data with headers, and data written by the workloads.
    pub fn volume_size(&self, data: DataSet, objects: u64, workloads: &[&Workload]) -> u64 {
        let room = self.written(data, Server::Hayloft, workloads);
        let volumes = data.volumes().split(',').count() as u64;
        let (filled, objects) = match data {
            DataSet::Empty => (0, 0),
            _ => (self.bytes_of(data) / volumes, objects / volumes),
        };
        // A needle takes up to 1 KiB more than its data; commits have records, and the log ends before the
        // file.
        let len = filled + filled / 64 + objects * 1024 + (512 << 20) + room;
        // The daemon allocates extents of 1 GiB on XFS, so a volume takes whole ones.
        len.next_multiple_of(1 << 30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WORKLOADS;

    fn plan() -> Plan {
        Plan {
            workloads: WORKLOADS.iter().collect(),
            pairs: 9,
            times: Times { warmup: 1.0, seconds: 5.0 },
            data_bytes: 4 << 30,
            command: String::new(),
            out: PathBuf::new(),
        }
    }

    fn of(data: DataSet) -> Vec<&'static Workload> {
        WORKLOADS.iter().filter(|workload| workload.data == data).collect()
    }

    #[test]
    fn volumes_have_space_for_filled_and_written_objects() {
        let plan = plan();
        let objects = (4_u64 << 30) / 4096;
        let size = |data, objects| plan.volume_size(data, objects, &of(data));
        // A needle of 4 KiB takes ten units of 512 bytes.
        assert!(size(DataSet::Needles4K, objects) > objects * 5120 + (512 << 20));
        assert!(size(DataSet::Empty, 1) > 14 << 30);
        assert_eq!(size(DataSet::Large, 512), 5 << 30);
        assert_eq!(size(DataSet::Shards, 65_536), 1 << 30, "each volume has half of them");
        // 11 of 100 requests of the three mixes are PUTs; half of the blocks may be measured again.
        let written = 0.11 * MIXED_RATE * 6.0 * 9.0 * 1.5 * 65_536.0;
        assert!(size(DataSet::Needles64K, 65_536) > (4 << 30) + written as u64);
    }

    #[test]
    fn required_space_follows_from_the_flags() {
        let all = plan();
        let rooms = [
            all.clone(),
            Plan { pairs: 20, ..all.clone() },
            Plan { times: Times { warmup: 1.0, seconds: 20.0 }, ..all.clone() },
            Plan { data_bytes: 8 << 30, ..all.clone() },
        ]
        .map(|plan| plan.room_max());
        assert!(rooms[0] > 3 * (4 << 30), "three servers hold the data");
        assert!(rooms[1..].iter().all(|room| *room > rooms[0] + (1 << 30)), "{rooms:?}");
        let mut one = all;
        one.workloads.retain(|workload| workload.name == "get-4k-1");
        assert!(
            one.room_max() < rooms[0] / 2,
            "nothing is written, and only two servers hold the data"
        );
    }
}
