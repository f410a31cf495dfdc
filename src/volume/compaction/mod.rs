//! Compaction: what lives in a volume is copied to its next generation, which then takes the place of the
//! current one, while reads and writes go on.
//!
//! - `order`: how. `compacted`, `not_compacted`: how it ended. `compact`: from beginning to end.
//!   `work`: up to the exchange. `finish`: the removal of the old file.
//! - `target`: the file of the new generation. `commit_writer`: appending to the new log. `copier`: carrying
//!   a needle over. `pass`: which needles, in which order. `damage`: what was in ranges that cannot be
//!   understood.
//! - `swap`: the exchange of the generation. `read_back`: verifying the new one before the old one is
//!   removed.

mod commit_writer;
mod compact;
mod compacted;
mod copier;
mod damage;
mod finish;
mod not_compacted;
mod order;
mod pass;
mod read_back;
mod swap;
mod target;
#[cfg(test)]
mod tests;
mod work;

pub use compacted::Compacted;
pub use copier::Carried;
pub use not_compacted::NotCompacted;
pub use order::CompactionOrder;
pub use swap::OnSwap;
