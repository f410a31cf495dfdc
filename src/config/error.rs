//! What can be wrong with a configuration, and where the wrong setting was given.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no usable configuration. Every message says where, what is wrong and what to do.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error(
        "cannot read the configuration file {}: {source}; check the path given to --config and that \
         this user may read the file",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error(
        "{}:{line}: {text:?} is not valid TOML: {problem}; {fix}",
        path.display()
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands on the line, or its key when it has one.
        text: String,
        /// What the parser said.
        problem: String,
        /// What to do.
        fix: String,
    },
    /// One setting is unknown, has the wrong form, or does not fit the others.
    #[error("{place}{key}: {problem}; {fix}")]
    Setting {
        /// Where it was given.
        place: Place,
        /// The setting, with its section: `limits.connections`.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        fix: String,
    },
}

impl ConfigError {
    /// A setting that is wrong; where it was given is filled in by whoever knows ([`Self::at`]).
    pub(crate) fn setting(key: &str, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Setting {
            place: Place::Unknown,
            key: key.to_owned(),
            problem: problem.into(),
            fix: fix.into(),
        }
    }

    /// The same error, naming the place where the setting was given.
    pub(crate) fn at(self, place_of: impl FnOnce(&str) -> Place) -> Self {
        match self {
            Self::Setting { place: Place::Unknown, key, problem, fix } => {
                Self::Setting { place: place_of(&key), key, problem, fix }
            }
            other => other,
        }
    }
}

/// Where a setting was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// A line of a configuration file, from 1.
    File(PathBuf, usize),
    /// A flag of the command line, with its dashes.
    Flag(&'static str),
    /// A default, or a configuration made by code.
    #[default]
    Unknown,
}

/// Prints as a prefix: with what separates it from the rest, or nothing.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}: ", path.display()),
            Self::Flag(flag) => write!(f, "{flag}: "),
            Self::Unknown => Ok(()),
        }
    }
}
