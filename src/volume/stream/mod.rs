//! Record streams: what a volume holds, in the order of its log, in pieces. A stream holds nothing of the
//! volume between two pieces, so that a reader may be as slow as it likes; and its position survives
//! compactions and restarts.
//!
//! - `find`: a position in the log of another generation.
//! - `record`: what a list consists of. `piece`: some of it, and where it goes on. `exchange_piece`: the
//!   same of a stream in the exchange format.
//! - `read`: reading needles from a position on. `collector`: what is made of them. `list`: records of what
//!   is in the volume. `exchange`: all bytes, in the exchange format; `exchange_writer`: these bytes;
//!   `body`: the bodies of large objects.
//! - `turns`: one piece of a volume at a time, and none of one that is being closed.
//! - `not_read`: why there is none.

mod body;
mod collector;
mod exchange;
mod exchange_piece;
mod exchange_writer;
mod find;
mod list;
mod not_read;
mod piece;
mod read;
mod record;
pub(in crate::volume) mod turns;

pub use exchange_piece::ExchangePiece;
pub use not_read::NotStreamed;
pub use piece::{Piece, PieceLimits};
pub use record::{RecordKind, StreamRecord};
