//! Copies of a volume of another store: the records of its stream are stored here as they are there, with
//! cookie, attributes and times, under versions of this volume. A volume that is a copy takes no other
//! writes.
//!
//! - `pull`: a pull in progress. `turns`: one step at a time. `begin`: becoming a copy; the begin and the end
//!   of a stream.
//! - `parser`: bytes that arrive. `pulled_record`: a record of them. `records`: storing some of them, with
//!   one commit for many. `object`: what a record changes here. `large`: bodies that arrive in pieces.
//! - `not_pulled`: why it does not go on.

mod begin;
mod large;
mod not_pulled;
mod object;
mod parser;
#[expect(clippy::module_inception, reason = "the file of `Pull`")]
mod pull;
mod pulled_record;
mod records;
#[cfg(test)]
mod tests;
pub(in crate::volume) mod turns;

pub use not_pulled::NotPulled;
pub use pull::Pull;
pub use pulled_record::Pulled;
