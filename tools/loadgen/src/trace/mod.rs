//! Traces of other systems, as a load can replay them.

mod access;
mod csv;
mod oracle_general;
mod read;
mod tencent_photo;

pub use self::csv::{Columns, TimeUnit};
pub use self::oracle_general::encode;
pub use self::read::{Entry, Format, Reading, Trace, read};
