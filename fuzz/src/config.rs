//! The text of a configuration file: any text is either a sound configuration or one error that names
//! the line.
//!
//! Input: the text.

use std::path::Path;

use hayloft::node::config::{Config, ConfigError, SettingPlace};

/// As on a machine with four cores: what the machine at hand has must not matter.
const CORES: [usize; 4] = [0, 1, 2, 3];

/// Runs the target.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let lines = 1 + text.matches('\n').count();
    match Config::from_toml(Path::new("fuzz.toml"), text, &CORES) {
        Ok(config) => {
            assert!(config.validate_on(&CORES).is_ok());
            assert!((1..=256).contains(&config.data.len()));
        }
        Err(error) => {
            let shown = error.to_string();
            let line = match error {
                ConfigError::Syntax { line, .. } => line,
                ConfigError::Setting { place: SettingPlace::File(_, line), .. } => line,
                other => panic!("names no line: {other}"),
            };
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {shown}");
            assert!(shown.starts_with(&format!("fuzz.toml:{line}: ")), "{shown}");
            assert!(!shown.contains(['\n', '\r', '\0']), "{shown:?}");
        }
    }
}
