//! Checks that this machine allows what the configuration needs: open files and memory.
//!
//! | file | holds |
//! | --- | --- |
//! | `check` | the checks, in the order of a start |
//! | `memory` | the memory that this process may use |
//! | `open_files` | the division of the file descriptors |

mod check;
mod memory;
mod open_files;

pub use check::{check, check_config, raise_file_limit};
pub use memory::Memory;
pub use open_files::OpenFiles;
