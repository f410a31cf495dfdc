//! A volume as the admin API describes it, as far as commands need it. Sizes are in bytes.

use serde::Deserialize;

use crate::base::types::VolumeId;

/// A volume.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ListedVolume {
    pub(super) id: VolumeId,
    pub(super) shard: Option<u32>,
    pub(super) disk: u32,
    pub(super) state: String,
    pub(super) progress: Option<f64>,
    pub(super) error: Option<String>,
    /// Since when it takes no writes because of errors (seconds since 1970), if it is suspect.
    pub(super) suspect: Option<u64>,
    /// Whose copy it is, if it is one.
    pub(super) replica: Option<serde_json::Value>,
    /// What its cluster says about it, if it belongs to one.
    pub(super) cluster: Option<ListedCluster>,
    pub(super) size: u64,
    pub(super) used: u64,
    pub(super) live: u64,
    pub(super) dead: u64,
    pub(super) needles: u64,
    pub(super) damage: u64,
    pub(super) reclaimable: u64,
    pub(super) compaction: Option<ListedCompaction>,
    /// Number of compactions that have ended since the daemon started.
    pub(super) compactions: u64,
    pub(super) last_compaction: Option<EndedCompaction>,
}

impl ListedVolume {
    /// Returns the state for people: a suspect volume, and a copy, are read-only for a reason of their own.
    pub(super) fn shown_state(&self) -> &str {
        match &self.state[..] {
            "read_only" if self.suspect.is_some() => "suspect",
            "read_only" if self.replica.is_some() => "copy",
            state => state,
        }
    }
}

/// What its cluster says about a volume.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ListedCluster {
    /// Empty for the default collection.
    pub(super) collection: String,
    /// Three digits.
    pub(super) placement: String,
    pub(super) ttl: Option<String>,
}

/// A compaction that waits or runs.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ListedCompaction {
    pub(super) phase: String,
    pub(super) behind: Option<VolumeId>,
    pub(super) read: u64,
    pub(super) to_read: u64,
    /// Bytes per second.
    pub(super) rate: u64,
    pub(super) expected_gain: u64,
}

impl ListedCompaction {
    /// Returns the phase, with the part of the old file that was read while that tells something.
    pub(super) fn progress(&self) -> String {
        let phase = self.phase.replace('_', " ");
        match self.part_read() {
            Some(percent) => format!("{phase} {percent}%"),
            None => phase,
        }
    }

    /// Part of the old file that was read (percent), while it is being read.
    fn part_read(&self) -> Option<u64> {
        let is_reading = ["copying", "catching_up"].contains(&&self.phase[..]);
        let part = self.read.saturating_mul(100).checked_div(self.to_read);
        part.filter(|_| is_reading).map(|percent| percent.min(100))
    }
}

/// A compaction that has ended.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EndedCompaction {
    /// `done`, `cancelled` or `failed`.
    pub(super) outcome: String,
    pub(super) reason: String,
    pub(super) gained: u64,
    pub(super) seconds: f64,
}

#[cfg(test)]
impl ListedVolume {
    /// An empty volume of 1 GiB.
    pub(super) fn example(id: u32, state: &str) -> Self {
        Self {
            id: VolumeId(id),
            shard: Some(0),
            disk: 0,
            state: state.to_owned(),
            progress: None,
            error: None,
            suspect: None,
            replica: None,
            cluster: None,
            size: 1 << 30,
            used: 0,
            live: 0,
            dead: 0,
            needles: 0,
            damage: 0,
            reclaimable: 0,
            compaction: None,
            compactions: 0,
            last_compaction: None,
        }
    }
}

#[cfg(test)]
impl ListedCompaction {
    /// A compaction that has 100 bytes to read.
    pub(super) fn example(phase: &str) -> Self {
        Self {
            phase: phase.to_owned(),
            behind: None,
            read: 0,
            to_read: 100,
            rate: 0,
            expected_gain: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_a_percentage_while_the_old_file_is_read() {
        let progress =
            |phase, read| ListedCompaction { read, ..ListedCompaction::example(phase) }.progress();
        assert_eq!(progress("waiting", 0), "waiting");
        assert_eq!(progress("copying", 42), "copying 42%");
        assert_eq!(progress("catching_up", 130), "catching up 100%");
        assert_eq!(progress("verifying", 100), "verifying");
        let empty = ListedCompaction { to_read: 0, ..ListedCompaction::example("copying") };
        assert_eq!(empty.progress(), "copying");
    }
}
