//! Errors of a configuration, with the place of the wrong setting.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::place::SettingPlace;

/// Why a configuration cannot be used. Every message has the place, the problem and its fix.
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
        /// The kernel's error.
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
        /// The key of the line, or the whole line if it has none.
        text: String,
        /// Message of the parser.
        problem: String,
        /// What to do.
        fix: String,
    },
    /// A setting is unknown, has a value of the wrong type, or conflicts with other settings.
    #[error("{place}{key}: {problem}; {fix}")]
    Setting {
        /// Place of the setting.
        place: SettingPlace,
        /// The setting, with its section: `limits.connections`.
        key: String,
        /// The problem.
        problem: String,
        /// What to do.
        fix: String,
    },
}

impl ConfigError {
    /// Creates an error about a setting, without its place: [`Self::at`] adds that.
    pub(crate) fn setting(key: &str, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Setting {
            place: SettingPlace::Unknown,
            key: key.to_owned(),
            problem: problem.into(),
            fix: fix.into(),
        }
    }

    /// Adds the place of the setting, if it is unknown so far.
    pub(crate) fn at(self, place_of: impl FnOnce(&str) -> SettingPlace) -> Self {
        match self {
            Self::Setting { place: SettingPlace::Unknown, key, problem, fix } => {
                Self::Setting { place: place_of(&key), key, problem, fix }
            }
            other => other,
        }
    }
}
