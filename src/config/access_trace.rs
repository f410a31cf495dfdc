//! Section `[access_trace]`: which requests are written down, and where.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::size::ByteSize;

/// What of the requests is written down, for replaying it later. Off unless `file` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessTraceConfig {
    /// Where to; empty for nowhere. What an earlier run wrote there with the same share goes on.
    pub file: PathBuf,
    /// Of how many objects one is in the trace, with all its requests. 1 to 1,000,000.
    pub one_object_in: u32,
    /// The file grows no further than this. 1 MiB to 1 TiB.
    pub largest_file: ByteSize,
}

impl Default for AccessTraceConfig {
    fn default() -> Self {
        Self { file: PathBuf::new(), one_object_in: 1, largest_file: ByteSize::gib(1) }
    }
}

impl AccessTraceConfig {
    /// Whether anything is written down.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.file.as_os_str().is_empty()
    }
}
