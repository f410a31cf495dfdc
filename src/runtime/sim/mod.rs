//! The simulated world: a driver for tests.
//!
//! It has disks whose cache is lost in a power cut ([`disk`]), connections whose bytes arrive in segments of
//! varying length ([`net`]), completions in an order and after delays drawn from a seed, a clock that jumps
//! from event to event, and faults on chosen operations ([`fault`]). Either one runtime is alone in the world
//! and advances the clock itself ([`World::driver`]), or several runtimes are run alternately
//! ([`World::member`], [`World::next`]). The same seed gives the same run, and [`World::hash`] the same
//! number. The simulation uses no io_uring, no real time and no real files. [`history`] checks the answers
//! that clients received.
//!
//! | file | holds |
//! | --- | --- |
//! | `world` | the world, as tests use it |
//! | `driver` | the driver of one runtime in it |
//! | `schedule` | when operations end, and in which order |
//! | `files`, `sockets` | what operations on files and on connections do |
//! | `state`, `flight` | what is true of the world between two events; an operation in flight |
//! | [`disk`], [`fault`], [`net`] | the disk, faults, connections |
//! | [`page`], [`pages`], [`blocks`] | contents of files, and which of their blocks are allocated |
//! | [`history`] | checks the answers that clients received |

pub mod blocks;
pub mod disk;
mod driver;
pub mod fault;
mod files;
mod flight;
pub mod history;
pub mod net;
pub mod page;
pub mod pages;
mod schedule;
mod sockets;
mod state;
mod world;

pub use driver::SimDriver;
pub use fault::Fault;
pub use state::Snapshot;
pub use world::World;
