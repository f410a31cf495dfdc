//! Tasks, operations and buffers of one thread, independent of what carries the operations out.
//!
//! [`op`] is the seam: an operation is plain data, and its completion is a number. The driver below it is
//! [`crate::ring`] or, in tests, `sim`.

pub mod background;
pub mod buffer;
pub mod devices;
mod executor;
mod gate;
mod handle;
pub mod mailbox;
pub mod op;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod split_mix;
mod sync;
mod timer;

pub use executor::Runtime;
pub use gate::{ClosedGate, Gate, Pass};
pub use handle::{Handle, Operation, Sleep};
pub use split_mix::split_mix;
pub use sync::{Event, KeyLocks, Locked, Queue, Replies, Signal, join, join_all, within};
