//! The volume engine: an append-only log of needles in a preallocated file, an index in memory.
//!
//! It knows operations ([`crate::op`]) and tasks ([`crate::runtime`]), but no sockets, HTTP, threads,
//! clocks or files: what it needs of them is handed in.

pub mod format;
pub mod index;
