//! Trials in which volumes are compacted under load.
//!
//! | file | holds |
//! | --- | --- |
//! | `phase` | phases of a compaction, and when they were seen |
//! | `volume_state` | state of a volume, as the admin API shows it |
//! | `operator` | compacts volumes again and again, and records the phases |
//! | `superblock`, `files` | the files of volumes after a cut |
//! | `swaps` | where in a recording a new file began to count |
//! | `slow_uploads` | multipart objects that are sent for longer than a compaction takes |
//! | `recording` | a recording with compactions, and cuts in it |
//! | `interruption` | SIGKILL, or a shutdown of XFS, during a compaction |
//! | `after` | what must hold after a cut |
//! | `trials` | all of them, for each configuration |

pub mod after;
pub mod files;
pub mod interruption;
pub mod operator;
pub mod phase;
pub mod recording;
pub mod slow_uploads;
pub mod superblock;
pub mod swaps;
pub mod trials;
pub mod volume_state;
