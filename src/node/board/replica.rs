//! Whose copy a volume is, on the board.

use super::cell::Level;

/// Whose copy a volume is. The volume's shard is the only writer.
#[derive(Debug, Default)]
pub struct ReplicaBoard {
    /// 1 if it is a copy: it takes no writes but those of its source.
    pub is_replica: Level,
    /// Number of its source; 0 as long as nothing was copied.
    pub source: Level,
    /// Position of the source up to which everything is here.
    pub position: Level,
    /// Wall clock when records of the source were stored last, or since when the volume is open as a copy
    /// (nanoseconds since 1970); 0 if it is none.
    pub pulled_ns: Level,
    /// 1 if objects may be here that the source has no more.
    pub has_surplus: Level,
}
