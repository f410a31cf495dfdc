//! The effective settings as a TOML file, with the source of each setting.

use std::collections::BTreeMap;

use thiserror::Error;
use toml::de::DeTable;

use super::cores::describe;
use super::draft::ConfigDraft;
use super::error::ConfigError;
use super::listen::Listen;
use super::place::SettingPlace;
use super::setting::settings_of;
use super::settings::Config;

/// Why the settings cannot be shown.
#[derive(Debug, Error)]
pub(crate) enum EffectiveError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A path is not UTF-8.
    #[error(
        "the settings cannot be written as TOML: {0}; `hayloft serve` takes such a path from a flag, a \
         configuration file cannot hold it"
    )]
    Form(#[from] toml::ser::Error),
}

/// Formats all settings of a draft as a configuration file with the same settings. Comments at the top
/// describe what `serve` would run; a comment after each setting names its source.
///
/// # Errors
/// [`EffectiveError::Config`], as for `serve`; [`EffectiveError::Form`] for a path that is not UTF-8.
pub(crate) fn effective(draft: &ConfigDraft) -> Result<String, EffectiveError> {
    draft.validate()?;
    let mut text = toml::to_string(&draft.config)?;
    let places = places(&text);
    // From the end, so that an insertion does not move the remaining positions.
    for (end, key) in places.into_iter().rev() {
        text.insert_str(end, &format!(" # {}", origin(&draft.place(&key))));
    }
    Ok(plan(&draft.config)? + &text)
}

/// Returns the settings in a generated text, by the end of their values (byte offset).
fn places(text: &str) -> BTreeMap<usize, String> {
    let document = DeTable::parse(text).expect("the TOML serializer writes valid TOML");
    let settings = settings_of(document.get_ref());
    let is_section = |key: &str| {
        let begin = format!("{key}.");
        settings.iter().any(|setting| setting.key.starts_with(&begin))
    };
    let settings = settings.iter().filter(|setting| !is_section(&setting.key));
    settings.map(|setting| (setting.value_span.end, setting.key.clone())).collect()
}

/// Formats what `serve` would run: shards, buffers and addresses, as comment lines.
fn plan(config: &Config) -> Result<String, ConfigError> {
    let cores = config.shard_cores()?;
    let shards = match cores.len() {
        1 => "1 shard, on core".to_owned(),
        count => format!("{count} shards, on cores"),
    };
    let listen: Vec<String> = config.listen.iter().map(Listen::to_string).collect();
    let own = match config.shard_port_range(cores.len())? {
        None => "have no ports of their own".to_owned(),
        Some(ports) => format!(
            "shard k has port {} + k besides (last: {}) on {}",
            ports.start(),
            ports.end(),
            config.shard_port_host()
        ),
    };
    Ok(format!(
        "# `hayloft serve` would run {shards} {}, each with {} of buffers.\n\
         # Data API: {} for all shards;\n\
         # {own}.\n\
         # Admin API: http://{}\n\n",
        describe(&cores),
        config.limits.buffer_memory_per_shard,
        listen.join(", ").replace(char::is_control, "?"),
        config.admin,
    ))
}

/// Formats the source of a setting for a comment: `FILE:LINE`, a flag or `default`.
fn origin(place: &SettingPlace) -> String {
    match place {
        SettingPlace::File(path, line) => {
            format!("{}:{line}", path.display()).replace(char::is_control, "?")
        }
        SettingPlace::Flag(flag) => (*flag).to_owned(),
        SettingPlace::Unknown => "default".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn draft(text: &str) -> ConfigDraft {
        let core = crate::node::config::available_cores().unwrap()[0];
        ConfigDraft::parse(Path::new("/etc/h.toml"), &format!("cores = \"{core}\"\n{text}"))
            .unwrap()
    }

    #[test]
    fn output_parses_to_the_same_settings_and_names_origins() {
        let mut draft = draft(
            "listen = [\"127.0.0.1:90\", \"unix:/a b\\n#c\"]\nlog = \"warn\"\n\
             data = [\"/d\\n[limits]\", \"/e = f\"]\n[limits]\nconnections = 7\n",
        );
        draft.config.volume_size = crate::base::size::ByteSize::gib(2);
        draft.overridden("volume_size", "--volume-size");
        let text = effective(&draft).unwrap();
        let again = ConfigDraft::parse(Path::new("again"), &text).unwrap();
        assert_eq!(again.config, draft.config, "{text}");
        for line in [
            "log = \"warn\" # /etc/h.toml:3",
            "volume_size = \"2GiB\" # --volume-size",
            "admin = \"127.0.0.1:8081\" # default",
            "connections = 7 # /etc/h.toml:6",
            "device_in_flight = 96 # default",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let settings = toml::Table::try_from(Config::default()).unwrap();
        let count = |value: &toml::Value| value.as_table().map_or(1, toml::Table::len);
        let said = text.lines().filter(|line| line.contains(" # ")).count();
        assert_eq!(said, settings.values().map(count).sum::<usize>(), "each of them once: {text}");
    }

    #[test]
    fn comments_describe_shards_and_ports() {
        let text = effective(&draft("listen = [\"127.0.0.1:90\"]")).unwrap();
        assert!(text.contains("would run 1 shard, on core "), "{text}");
        let ports =
            "127.0.0.1:90 for all shards;\n# shard k has port 190 + k besides (last: 190) on";
        assert!(text.contains(ports), "{text}");
        assert!(text.contains("# Admin API: http://127.0.0.1:8081\n"), "{text}");
        let text = effective(&draft("shard_ports = \"off\"")).unwrap();
        assert!(text.contains("no ports of their own"), "{text}");
    }

    #[test]
    fn invalid_configuration_is_refused() {
        let error = effective(&draft("\nvolume_size = \"1MiB\"")).unwrap_err().to_string();
        assert!(error.starts_with("/etc/h.toml:3: volume_size: "), "{error}");
    }
}
