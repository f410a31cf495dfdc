//! The log: needles are appended in commits, and found again after a restart.
//!
//! - `append_log`: the append side of a volume. `pending`, `forming`, `joined`: a needle that is to be
//!   appended, its commit, and the outcome. `reservations`, `reservation`: space that is kept for later
//!   appends. `log_end`: where the log continues.
//! - `append`: the way into the log, and its end. `committer`: writes commits and publishes them. `records`:
//!   everything else that is written to the log.
//! - `recover`, `scan`: from the file to the index. `contents`: index and space accounting. `properties`:
//!   since when something is dead, the highest key, and what expires (`expiry_sums`). `damaged_range`: damage
//!   that is known. `loss`: records of what a compaction could not carry over.
//! - `log_reader`: reading a log in the background, for compactions and scrubs.

mod append;
pub(in crate::volume) mod append_log;
pub(in crate::volume) mod committer;
pub(in crate::volume) mod contents;
pub(in crate::volume) mod damaged_range;
pub(in crate::volume) mod expiry_sums;
pub(in crate::volume) mod forming;
pub(in crate::volume) mod joined;
pub(in crate::volume) mod log_end;
pub(in crate::volume) mod log_reader;
mod loss;
pub(in crate::volume) mod pending;
pub(in crate::volume) mod properties;
mod records;
pub(in crate::volume) mod recover;
pub(in crate::volume) mod reservation;
pub(in crate::volume) mod reservations;
pub(in crate::volume) mod scan;

pub use damaged_range::{DamageSource, DamagedRange};
pub use log_end::LogEnd;
pub use recover::{Ending, Progress};
