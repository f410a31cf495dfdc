//! Tar archives of photos, as written by `hayloft export` and read by batch uploads and `hayloft import`.
//! Both use the same reader, so that an entry has the same meaning for both, or is refused by both.
//!
//! | module | contents |
//! | --- | --- |
//! | `error` | errors of reading a tar |
//! | [`header`] | the 512-byte headers of ustar, GNU and older tars |
//! | [`pax`] | the records of pax extended headers |
//! | [`photo`] | converts an entry and its records to a photo, or refuses it |
//! | [`reader`] | iterates over the photos of a tar |
//!
//! Archives are read strictly by POSIX.1-2024 (pax, "ustar Interchange Format" and "pax Extended Header");
//! ambiguous ones are refused. Does not know volumes and connections.

mod error;
pub mod header;
pub mod pax;
pub mod photo;
pub mod reader;

pub use error::TarError;
pub use pax::{ATTRIBUTES, EXPIRES, MEDIA_TYPE, MODIFIED, VOLUME};
pub use photo::Photo;
pub use reader::Reader;

#[cfg(test)]
mod tests;
