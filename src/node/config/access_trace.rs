//! Section `[access_trace]`: recording of requests.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::size::ByteSize;

/// Recording of requests in an access trace, for a later replay. Off unless `file` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessTraceConfig {
    /// File of the trace; empty for none. An existing trace with the same `one_object_in` is continued.
    pub file: PathBuf,
    /// Sampling: one of this many objects is in the trace, with all its requests. 1 to 1,000,000.
    pub one_object_in: u32,
    /// Largest size of the file. 1 MiB to 1 TiB.
    pub largest_file: ByteSize,
}

impl Default for AccessTraceConfig {
    fn default() -> Self {
        Self { file: PathBuf::new(), one_object_in: 1, largest_file: ByteSize::gib(1) }
    }
}

impl AccessTraceConfig {
    /// Whether requests are recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.file.as_os_str().is_empty()
    }
}
