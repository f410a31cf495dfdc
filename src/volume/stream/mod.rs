//! Record streams: what a volume holds, in the order of its log, in pieces. A stream holds nothing of the
//! volume between two pieces, so that a reader may be as slow as it likes; and its position survives
//! compactions and restarts.
//!
//! - `position`: where a stream is. `find`: that position in the log of another generation.
//! - `record`: what a stream consists of. `piece`: some of it, and where it goes on.
//! - `read`: reading a piece. `turns`: one piece of a volume at a time, and none of one that is being closed.
//! - `not_read`: why there is none.

mod find;
mod not_read;
mod piece;
mod position;
mod read;
mod record;
pub(in crate::volume) mod turns;

pub use not_read::NotStreamed;
pub use piece::{Piece, PieceLimits};
pub use position::{StreamPlace, StreamPosition};
pub use record::{RecordKind, StreamRecord};
