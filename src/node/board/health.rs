//! The health of a volume on the board.

use super::cell::Level;

/// The errors of a volume and the reads that find them. The volume's shard is the only writer, except for the
/// field that names the main thread. Counts are since the daemon started, and do not decrease.
#[derive(Debug, Default)]
pub struct HealthBoard {
    /// Places at which a read failed, and failed again.
    pub hard_errors: Level,
    /// Places at which a read failed, and succeeded when it was repeated.
    pub soft_errors: Level,
    /// Those of the hard errors that the device has returned; the others were wrong bytes.
    pub hard_device_errors: Level,
    /// Those of the soft errors that the device has returned.
    pub soft_device_errors: Level,
    /// Random needles that were read to see whether the disk works.
    pub probes: Level,
    /// CLOCK_MONOTONIC at the begin of such a read that is under way (nanoseconds); 0 if there is none.
    pub probe_began_ns: Level,
    /// 1 if the volume takes no writes because of these errors.
    pub suspect: Level,
    /// Wall clock since when it is suspect (nanoseconds since 1970); 0 if it is not. Written by the main
    /// thread.
    pub suspect_since_ns: Level,
}
