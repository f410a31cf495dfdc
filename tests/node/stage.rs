//! How far the compactions of a simulated node are, from its files and the writes in flight.

use hayloft::base::types::VolumeId;
use hayloft::runtime::sim::World;

use super::files::VolumeFile;
use super::monitor::Monitor;

/// A stage of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The file of the next generation is there, and does not count.
    Copying,
    /// A superblock copy that makes the next generation count is being written.
    Exchange,
    /// The next generation is the current one, and the file of the old one is there.
    Removal,
}

/// Offsets of the first two superblock copies (bytes).
const SUPERBLOCKS: [u64; 2] = [0, 4096];

/// Stages of all compactions that are under way, or were interrupted.
pub fn stages(world: &World, monitor: &Monitor, volumes: u32) -> Vec<Stage> {
    let (names, writes) = (world.names(), world.writes());
    let mut stages = Vec::new();
    for current in (1..=volumes).filter_map(|id| monitor.current(VolumeId(id))) {
        let others = names.iter().filter_map(|name| Some((name, VolumeFile::beside(name)?)));
        let others = others.filter(|(_, file)| file.volume == current.volume);
        for (name, file) in others.filter(|(_, file)| file.generation != current.generation) {
            let is_exchanging = writes
                .iter()
                .any(|(written, offset)| written == name && SUPERBLOCKS.contains(offset));
            // The superblock of an unfinished file is written under another name.
            let is_named = VolumeFile::of_name(name).is_some();
            stages.push(match file.generation < current.generation {
                true => Stage::Removal,
                false if is_exchanging && is_named => Stage::Exchange,
                false => Stage::Copying,
            });
        }
    }
    stages
}
