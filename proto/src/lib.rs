//! Messages and services of the protocol between the parts of a SeaweedFS cluster, as far as a node of
//! Hayloft uses it as a volume server: clients, servers and messages.
//!
//! The code is generated from the files in `proto/proto` by `cargo xtask proto`, and checked in. Methods that
//! are not in these files are answered with `UNIMPLEMENTED`, and unknown fields are ignored.

/// The service of the master: heartbeats and look-ups.
#[rustfmt::skip]
pub mod master_pb;
/// The service of a volume server: orders of the master, its shell and other nodes.
#[rustfmt::skip]
pub mod volume_server_pb;
