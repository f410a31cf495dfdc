//! Export of the photos of a running daemon as a tar, and the entries of such tars.
//!
//! - `record_reader`: a stream in the exchange format, verified. `large_body`: a body that arrives in pieces.
//! - `photo_entry`: an entry of the tar, as batches and imports read it.
//! - `export_volume`: from one to the other, resumed where the connection breaks.
//! - `not_exported`: why an export has failed.

mod export_volume;
mod large_body;
mod not_exported;
mod photo_entry;
mod record_reader;

pub use export_volume::{Exported, LeftOut, export_volume};
pub use large_body::LargeBody;
pub use not_exported::NotExported;
pub use photo_entry::PhotoEntry;
pub use record_reader::{NotRead, Record, RecordReader};
