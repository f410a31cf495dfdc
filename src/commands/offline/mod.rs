//! Data directories that no daemon has open: reads them without a change to any volume file, and creates new
//! ones.
//!
//! Volumes are recovered with the daemon's own code, on one ring and one thread, one after the other; with
//! plain reads where the kernel refuses a ring. Results are passed to the caller: this module prints nothing.
//!
//! | file | holds |
//! | --- | --- |
//! | `check`, `table`, `export` | what the commands of these names do |
//! | `cluster_report`, `cluster_row` | what clusters say about a volume, and store with a needle |
//! | `escaped` | text for a column |
//! | `directories` | the selected volumes of directories that are open for reading |
//! | `reader` | reads a volume needle by needle |
//! | `executor`, `blocking` | run the engine on this thread: on a ring, or with plain reads |
//! | `location` | where a volume file is |
//! | `picked` | which of the files of a volume is read |
//! | `output` | a file that appears when it is complete |
//! | `init` | makes new data directories |
//! | `error` | why a command could not do its work |

mod blocking;
mod check;
mod cluster_report;
mod cluster_row;
mod directories;
mod error;
mod escaped;
mod executor;
mod export;
mod init;
mod location;
mod output;
mod picked;
mod reader;
mod table;

pub use check::{CheckObserver, CheckSummary, Finding, Severity, VolumeReport};
pub use cluster_report::ClusterReport;
pub use cluster_row::ClusterRow;
pub use directories::{Offline, Selection};
pub use error::OfflineError;
pub use escaped::escaped;
pub use export::ExportSummary;
pub use init::{Initialised, init};
pub use output::Output;
pub use reader::Progress;
pub use table::{Row, Unlisted};
