//! Copies of the cluster's volumes on other nodes: changes are sent there while they are made here, and what
//! a copy may lack is offered again.
//!
//! Other nodes are asked over the ring of the shard, in the HTTP dialect of the cluster. A change is
//! confirmed by all of them before it is acknowledged; none is ever undone. The control plane says where the
//! copies are ([`CopiesBoard`](crate::node::board::CopiesBoard)), and has offered again what was not
//! confirmed.
//!
//! - `message`: requests to other nodes; `answer`: their responses;
//! - `patience`: how long an exchange may take; `failure`: why it has failed;
//! - `connection`, `pool`, `exchange`: a request and its response;
//! - `recipient`, `part_stream`: a change, and a large file, that is sent to one node;
//! - `known`: where the copies are; `origin_clock`: which of two changes is the later one;
//! - `confirm`, `fan_out`, `fan_out_of_parts`: a change that is sent to all copies;
//! - `offer`: changes of the past, in the order of the log.

mod answer;
mod confirm;
mod connection;
mod exchange;
mod failure;
mod fan_out;
mod fan_out_of_parts;
mod known;
mod message;
mod offer;
mod origin_clock;
mod part_stream;
mod patience;
mod pool;
mod recipient;

pub use fan_out::FanOut;
pub use fan_out_of_parts::FanOutOfParts;
pub use message::{CopiedFile, ORIGIN_FIELD};
pub use origin_clock::OriginClock;
pub use pool::PeerPool;
