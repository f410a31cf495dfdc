//! Stores many photos: every file of a directory ([`tree`]), or the photos of a tar ([`archive`]).
//!
//! An import that was interrupted resumes when it is run again, and stores nothing twice: every name is
//! durable in the journal ([`ledger`]) before anything is sent under it, or is given by the tar.
//!
//! | file | holds |
//! | --- | --- |
//! | `source` | opens what is imported: a directory, a tar in a file, a tar from a pipe (`pipe`) |
//! | [`tree`] | a directory: finds the files and what to do with each |
//! | `precheck`, `upload`, `prune` | its steps: checks before sending, files, photos without a file |
//! | [`archive`] | a tar: `route` to volumes, upload |
//! | `directory` | the running import of a directory, with its files |
//! | `audit` | asks the store for the photos of the manifest |
//! | [`ledger`], [`row`], [`escape`] | manifest and journal, their lines, and the paths in these |
//! | `sender` | requests for photos, with retries |
//! | `run` | state of a running import |
//! | `plan`, `status` | parameters of an import; which daemon and volumes it uses |
//! | `volumes`, `unfit` | volumes of the store; those that take no photos |
//! | `progress`, `report`, `error` | progress, result, and why an import could not start |

pub mod archive;
mod audit;
mod directory;
mod error;
pub mod escape;
pub mod ledger;
mod pipe;
mod plan;
mod precheck;
mod progress;
mod prune;
mod report;
mod route;
pub mod row;
mod run;
mod sender;
mod source;
mod status;
#[cfg(test)]
mod tests;
pub mod tree;
mod unfit;
mod upload;
mod volumes;

pub use error::ImportError;
pub use plan::Plan;
pub use progress::Progress;
pub use report::{Failure, Report, Stop};
pub use source::import;
pub use tree::abandon;
pub use unfit::{Unfit, UnfitReason};
pub use volumes::CreateError;
