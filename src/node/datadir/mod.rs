//! Data directories: one per disk, marked by `hayloft.toml`, locked by one daemon, with the volume files.
//!
//! Start-up code: it blocks, and runs before any shard does. It knows the file names, but not the contents of
//! volumes. Files of volumes are created, renamed and removed by the volume engine, through `op`.
//!
//! | file | holds |
//! | --- | --- |
//! | `data_dir` | [`DataDir`]: an open data directory |
//! | `found_volume` | [`FoundVolume`]: the volume files in a directory |
//! | `directory` | checks before opening; making an empty directory a data directory |
//! | `distinct` | detection of directories that are the same |
//! | `lock` | the lock file |
//! | `marker` | the marker: format and store id |
//! | `undo` | removal of what opening created |
//! | `names` | file names |
//! | `health_record` | what is known of the health of the volumes |
//! | `copies_record` | up to when the copies of the volumes have everything |
//! | `json_file` | reading and writing both |
//! | `listing` | names in a directory |
//! | `error` | errors |

mod copies_record;
mod data_dir;
mod directory;
mod distinct;
mod error;
mod found_volume;
mod health_record;
mod json_file;
mod listing;
mod lock;
mod marker;
mod names;
mod undo;

pub use copies_record::CopiesRecord;
pub use data_dir::DataDir;
pub use distinct::check_distinct;
pub use error::DataDirError;
pub use found_volume::{FoundVolume, any_volume, count_volumes};
pub use health_record::{HealthRecord, Suspicion, VolumeHealth};
pub use marker::{FORMAT, StoreId};
pub use names::{LOCK, MARKER, PROBE};

#[cfg(test)]
mod tests;
