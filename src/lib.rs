//! Hayloft: a Haystack store node.
//!
//! `docs/ARCHITECTURE.md` describes the code: the seven parts, the modules that each must not use, and the
//! invariants. [`volume`], [`http`] and [`ring`] know nothing of each other; [`node`] puts them together.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

pub mod base;
pub mod commands;
pub mod http;
pub mod node;
pub mod ring;
pub mod runtime;
pub mod volume;
