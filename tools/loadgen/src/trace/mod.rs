//! Traces of other systems, in a form that can be replayed.

mod access;
mod csv;
mod oracle_general;
mod read;
mod tencent_photo;

pub use self::csv::{Columns, TimeUnit};
pub use self::oracle_general::encode;
pub use self::read::{Format, ReadOptions, Trace, TraceEntry, read};
