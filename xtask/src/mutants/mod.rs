//! Mutation testing: makes small mistakes one at a time, and looks whether a test notices.
//!
//! All mistakes are built into one copy of the sources, each behind a run-time switch, as a build for each
//! would take two cores days. Which tests can notice a mistake is measured: those that reach it. They are run
//! one after the other until one fails, first those that notice much for the time they take. What is found
//! out is kept (`known.rs`), so that a run that was stopped goes on, and one after tests were added is short.
//!
//! | file | holds |
//! | --- | --- |
//! | `campaign` | one run of it |
//! | `options` | which mistakes are made: flags |
//! | `areas`, `diff` | parts of the code and their files; changed lines |
//! | `site`, `sites`, `candidate` | places of mistakes, how they are found, and one mistake |
//! | `without_tests` | source files without their tests |
//! | `rewrite`, `tree` | building mistakes in, in a copy of the sources |
//! | `test_process` | tests as processes |
//! | `reach` | which tests reach which mistake |
//! | `runner`, `fate` | tests of the mistakes, and what became of them |
//! | `known` | what earlier runs found out |
//! | `report` | the table |

mod areas;
mod campaign;
mod candidate;
mod diff;
mod fate;
mod known;
mod options;
mod reach;
mod report;
mod rewrite;
mod runner;
mod site;
mod sites;
mod test_process;
mod tree;
mod without_tests;

pub use campaign::mutants;
pub use options::Options;
