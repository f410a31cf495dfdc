//! The scrubs of a volume on the board.

use super::cell::Level;

/// The scrubs of a volume. The volume's shard is the only writer.
#[derive(Debug, Default)]
pub struct ScrubBoard {
    /// 1 if a scrub was asked for that has not begun.
    pub is_requested: Level,
    /// 1 if one is under way.
    pub is_running: Level,
    /// Bytes of the log that the running or last one has verified.
    pub done_bytes: Level,
    /// Bytes of the log that it has to verify.
    pub to_do_bytes: Level,
    /// Number of scrubs that were completed since the volume was opened.
    pub passes: Level,
    /// Wall clock of the begin of the last of them (nanoseconds since 1970); 0 for none.
    pub last_began_ns: Level,
    /// Bytes that it has read.
    pub last_read_bytes: Level,
    /// Live needles and tombstones that it has verified.
    pub last_needles: Level,
    /// Parts of large objects that it has verified.
    pub last_parts: Level,
    /// Errors that it has met and that went away.
    pub last_healed: Level,
    /// 1 if it has compared the index with the log.
    pub is_index_compared: Level,
    /// Wall clock of the begin of the last scrub that found nothing wrong, or of the creation of the file
    /// (nanoseconds since 1970).
    pub verified_ns: Level,
    /// Number of places that are known to be damaged.
    pub damage: Level,
}
