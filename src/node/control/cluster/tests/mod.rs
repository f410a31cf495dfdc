//! Tests of the heartbeats and of the orders over real sockets on the loopback interface.

mod beats;
mod connections;
mod fake_master;
mod fake_node;
mod orders;
