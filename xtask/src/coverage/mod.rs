//! Coverage: runs the tests with counters built in, and lists what none of them reaches.
//!
//! Counters are those of LLVM: of regions, which are stretches of code without a decision, and of the results
//! of single conditions. The syntax of the sources says which regions belong together, so that code that
//! never runs is listed once, and which are of no interest. Code that no test reaches is covered by a new
//! one, or its reason is in `reasons.tsv`.
//!
//! | file | holds |
//! | --- | --- |
//! | `command` | one run of it |
//! | `options` | flags |
//! | `tools` | cargo-llvm-cov: prerequisites, environment, export |
//! | `counts` | counts of regions and conditions |
//! | `source` | the syntax of a source file |
//! | `site` | places that tests may reach, and those that none reached |
//! | `reasons` | why no test reaches some |
//! | `report` | the table and the list |

mod command;
mod counts;
mod options;
mod reasons;
mod report;
mod site;
mod source;
mod tools;

pub use command::coverage;
pub use options::Options;
