//! Tests of the heartbeats and of the orders over real sockets on the loopback interface.

mod beats;
mod connections;
mod copies;
mod fake_master;
mod fake_node;
mod fake_peer;
mod orders;
