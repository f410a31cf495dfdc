//! Hayloft: a Haystack store node.
//!
//! `docs/ARCHITECTURE.md` is the map of this code: what each module is for, what it must not know,
//! and the invariants that hold it together.

pub mod buffer;
pub mod limits;
pub mod op;
pub mod ring;
pub mod runtime;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod sys;
pub mod types;
pub mod volume;
