//! Mutation testing: makes small mistakes one at a time, and looks whether a test notices.
//!
//! All mistakes are built into one copy of the sources, each behind a run-time switch, as a build for each
//! would take two cores days. Which tests can notice a mistake is measured: those that reach it. They are run
//! one after the other until one fails, first those that notice much for the time they take. What is found
//! out is kept (`cache.rs`), so that a run that was stopped goes on, and one after tests were added is short.
//!
//! | file | holds |
//! | --- | --- |
//! | `campaign` | one run of it |
//! | `options` | which mistakes are made: flags |
//! | `diff` | changed lines |
//! | `site`, `sites`, `candidate` | places of mistakes, how they are found, and one mistake |
//! | `without_tests` | source files without their tests |
//! | `rewrite`, `tree` | building mistakes in, in a copy of the sources |
//! | `test_process` | tests as processes |
//! | `coverage`, `test_coverage` | which tests reach which mistake |
//! | `runner`, `outcome` | tests of the mistakes, and their results |
//! | `cache`, `source_hashes` | results of earlier runs, and whether they still hold |
//! | `report` | the table |

mod cache;
mod campaign;
mod candidate;
mod coverage;
mod diff;
mod options;
mod outcome;
mod report;
mod rewrite;
mod runner;
mod site;
mod sites;
mod source_hashes;
mod test_coverage;
mod test_process;
mod tree;
mod without_tests;

pub use campaign::mutants;
pub use options::Options;
