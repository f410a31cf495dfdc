//! Recovery: from a log to an index, and to the offset at which the log continues.
//!
//! Recovery keeps three questions apart. *What chains?* Commit records that follow each other from the
//! start of the log. *Where the chain breaks, was more acknowledged?* Only if a witness proves it: a tail
//! hint, or a later commit, which was written only after this one was durable. In that case the place is
//! damaged: it is reported, what surrounds it stays, and nothing is truncated. *Otherwise the place is
//! the torn tail* of a commit that was never acknowledged. Of a torn commit, the needles that verify to
//! the last byte stay, and a batch put stays only as a whole. The decision is recorded in a seal, a
//! commit of its own, before the volume serves, so that a later recovery decides the same. The rules are
//! specified in `docs/FORMAT.md`.
//!
//! - `run`: a recovery from beginning to end. `recovery`: its state.
//! - `chain`: the first two questions. `replay`: from needles to the index. `tail`: the torn tail.
//! - `input`, `saved`: what it begins with. `recovered`, `ending`: its result. `progress`: how far it is.

mod chain;
mod ending;
mod input;
mod progress;
mod recovered;
mod recovery;
mod replay;
mod run;
mod saved;
mod tail;
#[cfg(test)]
mod tests;

pub use ending::Ending;
pub(in crate::volume) use input::RecoveryInput;
pub use progress::Progress;
pub(in crate::volume) use recovered::Recovered;
pub(in crate::volume) use run::recover;
pub(in crate::volume) use saved::Saved;
