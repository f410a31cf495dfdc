//! Copies of the cluster's volumes on other nodes: changes are sent there while they are made here, and what a
//! copy may lack is offered again.
//!
//! - `offer`: changes of the past, in the order of the log.

mod offer;
