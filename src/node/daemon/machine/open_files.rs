//! Division of the file descriptors of the process.

/// Division of the file descriptors of the process. The admin API and the volumes come first; connections of
/// clients get the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// Largest number of connections of clients at the same time.
    pub connections: u64,
    /// Largest number of connections per shard that are being refused with 503 at the same time.
    pub refusals_per_shard: u64,
    /// Volumes that can be open without lowering `connections`.
    pub volumes: u64,
    /// Largest number of open volumes: with more, connections would fall below the minimum, and the next
    /// start would be refused.
    pub volumes_max: u64,
    /// The limit of open files of the process.
    pub limit: u64,
}
