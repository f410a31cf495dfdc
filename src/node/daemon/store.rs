//! One data directory of the configuration.

use std::path::PathBuf;

use crate::node::board::DiskState;
use crate::node::datadir::DataDir;

/// A data directory as configured.
pub struct Store {
    /// Path as configured.
    pub path: PathBuf,
    /// The open and locked directory; `None` when it is missing or its disk fails.
    pub dir: Option<DataDir>,
    /// State at the start, as in `/status`.
    pub state: DiskState,
}
