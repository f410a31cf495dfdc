//! Place where a setting was given: a line of a file or a flag.

use std::fmt;
use std::path::PathBuf;

/// Place where a setting was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SettingPlace {
    /// A line of a configuration file, from 1.
    File(PathBuf, usize),
    /// A flag of the command line, with its dashes.
    Flag(&'static str),
    /// A default, or a configuration made by code.
    #[default]
    Unknown,
}

/// Prints a prefix for messages, including its separator; nothing if the place is unknown.
impl fmt::Display for SettingPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}: ", path.display()),
            Self::Flag(flag) => write!(f, "{flag}: "),
            Self::Unknown => Ok(()),
        }
    }
}
