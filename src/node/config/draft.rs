//! Reads a configuration file and records the line of each setting, so that errors found later, such as
//! conflicts between settings, name file, line and key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::DeTable;

use super::error::ConfigError;
use super::form::{self, WrongForm};
use super::place::SettingPlace;
use super::setting::{Setting, settings_of};
use super::settings::Config;

/// Largest configuration file (bytes): far above any real one, and small enough to read into memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

const SEE_EXAMPLE: &str = "docs/hayloft.example.toml shows every setting and its form";

/// A configuration that was read but not validated, with the places of its settings.
#[derive(Debug, Default)]
pub(crate) struct ConfigDraft {
    /// The settings, defaults included.
    pub(crate) config: Config,
    places: BTreeMap<String, SettingPlace>,
}

impl ConfigDraft {
    /// Reads a file; settings that it does not contain have their defaults.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_bounded(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// As [`Self::read`], from a text; `path` is used in messages only.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = DeTable::parse(text).map_err(|error| syntax_error(path, text, &error))?;
        let settings = settings_of(document.get_ref());
        form::check(text, document.get_ref(), &settings)
            .map_err(|wrong| wrong_form(path, text, wrong))?;
        let config =
            toml::from_str(text).map_err(|error| form_error(path, text, &settings, &error))?;
        let places = settings
            .into_iter()
            .map(|setting| {
                let line = line_at(text, setting.key_span.start);
                (setting.key, SettingPlace::File(path.to_owned(), line))
            })
            .collect();
        Ok(Self { config, places })
    }

    /// Records that a flag has overridden `key`.
    pub(crate) fn overridden(&mut self, key: &str, flag: &'static str) {
        self.places.insert(key.to_owned(), SettingPlace::Flag(flag));
    }

    /// Place of the setting `key`; [`SettingPlace::Unknown`] for a default.
    pub(crate) fn place(&self, key: &str) -> SettingPlace {
        self.places.get(key).cloned().unwrap_or_default()
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// As [`Config::validate`], with the place of the wrong setting.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.config.validate().map_err(|error| error.at(|key| self.place(key)))
    }

    /// Validates the configuration and returns it.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub(crate) fn validated(self) -> Result<Config, ConfigError> {
        self.validate()?;
        Ok(self.config)
    }
}

impl Config {
    /// Reads and validates a TOML file; settings that it does not contain have their defaults.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file, the line and the key: the file cannot be read, is not TOML, has
    /// an unknown key, a value of the wrong form, or one that [`Config::validate`] refuses.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        ConfigDraft::read(path)?.validated()
    }

    /// As [`Config::load`], from the text of a file and for a machine with these cores; `path` is used in
    /// messages only.
    ///
    /// # Errors
    /// [`ConfigError`], as [`Config::load`].
    pub fn from_toml(path: &Path, text: &str, cores: &[usize]) -> Result<Self, ConfigError> {
        let draft = ConfigDraft::parse(path, text)?;
        draft.config.validate_on(cores).map_err(|error| error.at(|key| draft.place(key)))?;
        Ok(draft.config)
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is larger than 1 MiB, so it is probably another file",
        ));
    }
    Ok(text)
}

fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    let line = line_at(text, offset);
    let content = text.lines().nth(line - 1).unwrap_or_default().trim();
    let key = content.split_once('=').map_or(content, |(key, _)| key);
    let fix = quoted(content).map_or_else(
        || {
            "correct the line (docs/hayloft.example.toml shows the form of every setting)"
                .to_owned()
        },
        |line| format!("texts stand in quotes: {line}"),
    );
    ConfigError::Syntax {
        path: path.to_owned(),
        line,
        text: key.trim().to_owned(),
        problem: one_line(error.message()),
        fix,
    }
}

/// Returns the line with its value in quotes, if only the quotes are missing.
fn quoted(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let value = value.split(" #").next().unwrap_or(value).trim();
    let is_plain = !value.is_empty() && !value.contains(['"', '\'', '[', ']', '{', '}', '\\', ',']);
    let fixed = format!("{} = \"{value}\"", key.trim());
    let is_valid = |line: &str| DeTable::parse(line).is_ok();
    (is_plain && is_valid(&fixed) && !is_valid(&format!("x = {value}"))).then_some(fixed)
}

fn wrong_form(path: &Path, text: &str, wrong: WrongForm) -> ConfigError {
    let WrongForm { key, at, problem, fix } = wrong;
    ConfigError::Setting {
        place: SettingPlace::File(path.to_owned(), line_at(text, at.start)),
        key,
        problem,
        fix,
    }
}

/// Returns the error for well-formed TOML with a value that a setting does not accept.
fn form_error(
    path: &Path,
    text: &str,
    settings: &[Setting],
    error: &toml::de::Error,
) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    // The settings of a section precede the section in the list, so the innermost key is found first.
    let key = settings
        .iter()
        .find(|setting| setting.key_span.contains(&offset) || setting.value_span.contains(&offset))
        .map_or_else(|| "the file".to_owned(), |setting| setting.key.clone());
    ConfigError::Setting {
        place: SettingPlace::File(path.to_owned(), line_at(text, offset)),
        key,
        problem: one_line(error.message()),
        fix: SEE_EXAMPLE.to_owned(),
    }
}

/// Returns the number of the line that contains a byte offset, from 1.
fn line_at(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        ConfigDraft::parse(Path::new("/etc/hayloft.toml"), text)
            .and_then(ConfigDraft::validated)
            .expect_err(text)
            .to_string()
    }

    #[test]
    fn errors_name_file_line_and_key() {
        for (text, start, advice) in [
            ("\n\nspeed = 1\n", "/etc/hayloft.toml:3: speed: ", "unknown setting"),
            (
                "log = \"info\"\n[limits]\nfoo = 1\n",
                "/etc/hayloft.toml:3: limits.foo: ",
                "unknown setting",
            ),
            ("[limit]\nconnections = 1\n", "/etc/hayloft.toml:1: limit: ", "unknown setting"),
            (
                "\nlimits.connections = \"x\"",
                "/etc/hayloft.toml:2: limits.connections: ",
                "a whole number is needed",
            ),
            (
                "[limits]\n\nconnections = -1",
                "/etc/hayloft.toml:3: limits.connections: ",
                "-1 is out of range",
            ),
            ("volume_size = \"1.5GiB\"", "/etc/hayloft.toml:1: volume_size: ", "1536MiB"),
            (
                "listen = [\n\"127.0.0.1:1\",\n\"localhost:80\",\n]",
                "/etc/hayloft.toml:1: listen: ",
                "not looked up",
            ),
            ("cores = \"0,0\"", "/etc/hayloft.toml:1: cores: ", "named twice"),
            ("shard_ports = 70000", "/etc/hayloft.toml:1: shard_ports: ", "off, or auto"),
            ("admin = \"localhost\"", "/etc/hayloft.toml:1: admin: ", "not looked up"),
            ("prealloc = \"zero\"", "/etc/hayloft.toml:1: prealloc: ", "write fallocate"),
            ("data = \"x\"", "/etc/hayloft.toml:1: data: ", "write data = [\"x\"]"),
            // Well formed, but out of range or in conflict with another setting: found after parsing.
            ("# size\nvolume_size = \"15MiB\"", "/etc/hayloft.toml:2: volume_size: ", "16MiB"),
            (
                "[limits]\nconnections = 1\ndevice_in_flight = 0",
                "/etc/hayloft.toml:3: limits.device_in_flight: ",
                "1 to 1024",
            ),
            ("\nadmin = \"127.0.0.1:8080\"", "/etc/hayloft.toml:2: admin: ", "another port"),
            ("\nlog = \"warn,,x=y=z\"", "/etc/hayloft.toml:2: log: ", "directive is empty"),
        ] {
            let error = error_of(text);
            assert!(error.starts_with(start), "{text:?}: {error}");
            assert!(error.contains(advice), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn toml_syntax_errors_name_line_and_key() {
        for (text, start) in [
            (
                "log = \"info\"\nadmin = 127.0.0.1\n",
                "/etc/hayloft.toml:2: \"admin\" is not valid TOML: ",
            ),
            ("[limits\n", "/etc/hayloft.toml:1: \"[limits\" is not valid TOML: "),
            ("log = \"a\"\nlog = \"b\"\n", "/etc/hayloft.toml:2: \"log\" is not valid TOML: "),
        ] {
            let error = error_of(text);
            assert!(error.starts_with(start), "{text:?}: {error}");
            assert!(error.contains("; texts stand in quotes") == text.contains("admin"), "{error}");
        }
        for (line, fixed) in [
            ("data = /disk1", "texts stand in quotes: data = \"/disk1\""),
            ("log = info # all", "texts stand in quotes: log = \"info\""),
            ("volume_size = 1GiB", "texts stand in quotes: volume_size = \"1GiB\""),
        ] {
            let error = error_of(line);
            assert!(error.ends_with(fixed), "{error}");
        }
    }

    #[test]
    fn unreadable_or_oversized_files_are_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent.toml");
        let error = Config::load(&absent).unwrap_err().to_string();
        assert!(error.contains(absent.to_str().unwrap()), "{error}");
        assert!(error.contains("check the path given to --config"), "{error}");

        let huge = directory.path().join("huge.toml");
        std::fs::write(&huge, "#".repeat(FILE_BYTES_MAX as usize + 1)).unwrap();
        let error = Config::load(&huge).unwrap_err().to_string();
        assert!(error.contains("larger than 1 MiB"), "{error}");
    }

    #[test]
    fn settings_absent_from_the_file_keep_their_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hayloft.toml");
        std::fs::write(&path, "volume_size = \"32MiB\"\n[limits]\nconnections = 7\n").unwrap();
        let mut expected =
            Config { volume_size: crate::base::size::ByteSize::mib(32), ..Config::default() };
        expected.limits.connections = 7;
        assert_eq!(Config::load(&path).unwrap(), expected);
        std::fs::write(&path, "").unwrap();
        assert_eq!(Config::load(&path).unwrap(), Config::default());
    }
}
