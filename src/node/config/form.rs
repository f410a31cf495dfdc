//! Checks the form of each setting before the values are read: known keys, and values of the right TOML type.
//! Messages show the setting in the right form.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::setting::Setting;
use super::settings::Config;

/// Smallest similarity at which a known key is suggested for an unknown one (Jaro-Winkler, 0 to 1).
const SIMILAR: f64 = 0.8;

/// A setting of the wrong form.
#[derive(Debug)]
pub(super) struct WrongForm {
    /// The setting, with its section.
    pub(super) key: String,
    /// Position of the wrong key or value in the text (byte offsets).
    pub(super) at: Range<usize>,
    /// The problem.
    pub(super) problem: String,
    /// What to write instead.
    pub(super) fix: String,
}

/// Checks that all settings in `document` are known and have values of the types of their defaults.
///
/// # Errors
/// The first setting, in the order of the text, for which this does not hold.
pub(super) fn check(
    text: &str,
    document: &DeTable<'_>,
    settings: &[Setting],
) -> Result<(), WrongForm> {
    let defaults = Table::try_from(Config::default()).expect("the defaults can be written as TOML");
    let mut settings: Vec<&Setting> = settings.iter().collect();
    settings.sort_by_key(|setting| setting.key_span.start);
    for setting in settings {
        let wrong = |at: &Range<usize>, (problem, fix): (String, String)| WrongForm {
            key: setting.key.clone(),
            at: at.clone(),
            problem,
            fix,
        };
        let Some(default) = find(&defaults, &setting.key) else {
            let fix = match suggestion(&defaults, &setting.key) {
                Some(known) => format!("did you mean {known}? {SEE_EXAMPLE}"),
                None => SEE_EXAMPLE.to_owned(),
            };
            let problem = "unknown setting".to_owned();
            return Err(wrong(&setting.key_span, (problem, fix)));
        };
        let value = find_value(document, &setting.key).expect("the setting is in the document");
        if let Some(said) = mismatch(setting, value, &text[setting.value_span.clone()], default) {
            return Err(wrong(&setting.value_span, said));
        }
    }
    Ok(())
}

const SEE_EXAMPLE: &str = "docs/hayloft.example.toml lists every setting";

fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => table.get(section)?.as_table().and_then(|inner| find(inner, rest)),
        None => table.get(key),
    }
}

fn find_value<'a, 'de>(table: &'a DeTable<'de>, key: &str) -> Option<&'a DeValue<'de>> {
    // A quoted key may contain dots; such keys are unknown and were refused before.
    let (name, rest) = key.split_once('.').map_or((key, None), |(name, rest)| (name, Some(rest)));
    let (_, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    match (rest, value.get_ref()) {
        (None, value) => Some(value),
        (Some(rest), DeValue::Table(inner)) => find_value(inner, rest),
        (Some(_), _) => None,
    }
}

/// Returns the keys of all settings and sections, each with its section.
fn known_keys(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in table {
        let inner = value.as_table().map(|inner| inner.keys());
        keys.extend(inner.into_iter().flatten().map(|name| format!("{key}.{name}")));
        keys.push(key.clone());
    }
    keys
}

/// Returns the known key most similar to `key`, if its similarity is at least [`SIMILAR`].
fn suggestion(defaults: &Table, key: &str) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let name = last(key).to_lowercase().replace('-', "_");
    let scored = known_keys(defaults).into_iter().map(|known| {
        let score = strsim::jaro_winkler(&last(&known), &name);
        (score, known)
    });
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= SIMILAR).then_some(best.1)
}

/// Returns the problem with a value and its fix; `None` if the type is right.
fn mismatch(
    setting: &Setting,
    value: &DeValue<'_>,
    raw: &str,
    default: &Value,
) -> Option<(String, String)> {
    let name = setting.key.rsplit('.').next().unwrap_or(&setting.key);
    let example = || format!("for instance {name} = {default}");
    let (wanted, write) = match (value, default) {
        (DeValue::Table(_), Value::Table(_)) | (DeValue::Boolean(_), Value::Boolean(_)) => {
            return None;
        }
        (DeValue::String(_), Value::String(_))
        | (DeValue::Float(_) | DeValue::Integer(_), Value::Float(_)) => return None,
        // A size may be a number of bytes, and shard_ports may be a port.
        (DeValue::Integer(_), Value::String(_)) if takes_numbers(&setting.key) => return None,
        (DeValue::Integer(number), Value::Integer(_)) => {
            let digits = number.as_str().replace('_', "");
            if u32::from_str_radix(&digits, number.radix()).is_ok() {
                return None;
            }
            let problem = format!("{raw} is out of range");
            return Some((problem, format!("write a whole number from 0, {}", example())));
        }
        (DeValue::Array(array), Value::Array(_)) => {
            let odd = array.iter().find(|item| !matches!(item.get_ref(), DeValue::String(_)))?;
            let problem = format!("{} in the list is {}", shown(odd.get_ref()), a(odd.get_ref()));
            return Some((problem, format!("write texts in quotes, {}", example())));
        }
        (DeValue::String(_), Value::Array(_)) => ("a list", format!("{name} = [{raw}]")),
        (_, Value::Array(_)) => ("a list", example()),
        (DeValue::String(text), Value::Integer(_)) if text.parse::<u32>().is_ok() => {
            ("a number", format!("{name} = {text}"))
        }
        (_, Value::Integer(_)) => ("a whole number", example()),
        (_, Value::Float(_)) => ("a number", example()),
        (_, Value::Boolean(_)) => ("true or false", format!("{name} = true or {name} = false")),
        (_, Value::Table(_)) => ("a section", format!("its settings below a line [{name}]")),
        (DeValue::Array(array), Value::String(_)) if array.len() == 1 => {
            ("one value, not a list", example())
        }
        _ => ("a text in quotes", example()),
    };
    let problem = match value {
        DeValue::Table(_) => format!("{} stands where {wanted} is needed", a(value)),
        _ => format!("{} is {}, and {wanted} is needed", shortened(raw), a(value)),
    };
    Some((problem, format!("write {write}")))
}

/// Whether a setting is a text or a number.
fn takes_numbers(key: &str) -> bool {
    let sizes = [
        "volume_size",
        "checkpoint_interval",
        "shard_ports",
        "limits.buffer_memory_per_shard",
        "limits.largest_body",
        "limits.largest_batch",
        "access_trace.largest_file",
        "background.rate_min",
        "background.rate_max",
        "compaction.reserve",
        "auto_create.when_room_below",
        "auto_create.size",
        "cluster.port",
    ];
    sizes.contains(&key)
}

/// Returns the type of a value for messages, with its article.
fn a(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// Formats an entry of a list for messages.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        _ => "an entry".to_owned(),
    }
}

/// Formats the text of a value on one line, at most 40 characters.
fn shortened(raw: &str) -> String {
    let line = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::draft::ConfigDraft;
    use super::*;

    fn error_of(text: &str) -> String {
        ConfigDraft::parse(Path::new("h.toml"), text).expect_err(text).to_string()
    }

    #[test]
    fn wrong_type_error_shows_the_right_form() {
        for (text, wanted) in [
            (
                "data = \"/disk1\"",
                "h.toml:1: data: \"/disk1\" is a text, and a list is needed; write data = [\"/disk1\"]",
            ),
            ("data = 1", "write for instance data = [\"./hayloft-data\"]"),
            (
                "listen = [8080]",
                "listen: 8080 in the list is a number; write texts in quotes, for \
                 instance listen = [\"127.0.0.1:8080\"]",
            ),
            ("admin = 8081", "write for instance admin = \"127.0.0.1:8081\""),
            ("admin = [\"127.0.0.1:1\"]", "one value, not a list"),
            (
                "[compaction]\ngarbage_share = \"half\"",
                "h.toml:2: compaction.garbage_share: \"half\" is a text, and a number is needed; write for \
                 instance garbage_share = 0.5",
            ),
            ("compaction = 1", "write its settings below a line [compaction]"),
            ("buffered = \"yes\"", "write buffered = true or buffered = false"),
            ("buffered = 1", "write buffered = true or buffered = false"),
            (
                "[limits]\nconnections = \"12\"",
                "h.toml:2: limits.connections: \"12\" is a text, and a number is \
                 needed; write connections = 12",
            ),
            ("[limits]\nconnections = \"many\"", "for instance connections = 16384"),
            ("[limits]\nconnections = 1.5", "1.5 is a number with a fraction"),
            ("[limits]\nconnections = -1", "-1 is out of range"),
            ("[limits]\nconnections = 4294967296", "4294967296 is out of range"),
            ("limits = 3", "write its settings below a line [limits]"),
            (
                "[log]\nlevel = \"info\"",
                "log: a section stands where a text in quotes is needed; write for instance log = \"info\"",
            ),
            ("volume_size = 2026-01-01", "is a date, and a text in quotes is needed"),
            ("volume_size = 1.5", "write for instance volume_size = \"1GiB\""),
        ] {
            let error = error_of(text);
            assert!(error.contains(wanted), "{text:?}: {error}");
            for word in ["sequence", "expected", "invalid type", "u32", "i64", "struct"] {
                assert!(!error.contains(word), "{text:?}: {error}");
            }
        }
    }

    #[test]
    fn unknown_key_error_suggests_a_similar_key() {
        for (text, wanted) in [
            ("lisen = []", "h.toml:1: lisen: unknown setting; did you mean listen?"),
            ("volume-size = \"1GiB\"", "did you mean volume_size?"),
            ("datadir = \"/d\"", "did you mean data?"),
            ("[limit]\nconnections = 1", "h.toml:1: limit: unknown setting; did you mean limits?"),
            ("connections = 1", "did you mean limits.connections?"),
            (
                "[limits]\nlog = \"info\"",
                "h.toml:2: limits.log: unknown setting; did you mean log?",
            ),
            ("[access_trace]\nfiles = 1", "did you mean access_trace.file?"),
        ] {
            let error = error_of(text);
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
        let error = error_of("zzz = 1");
        assert!(!error.contains("did you mean") && error.contains("example.toml"), "{error}");
    }

    #[test]
    fn every_default_parses() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(
            ConfigDraft::parse(Path::new("h.toml"), &text).unwrap().config,
            Config::default()
        );
        // Sizes and ports may be plain numbers.
        for key in ["volume_size", "checkpoint_interval", "shard_ports"] {
            let text = format!("{key} = 16000");
            assert!(ConfigDraft::parse(Path::new("h.toml"), &text).is_ok(), "{text}");
        }
        for key in ["buffer_memory_per_shard", "largest_body", "largest_batch"] {
            let text = format!("[limits]\n{key} = 16000");
            assert!(ConfigDraft::parse(Path::new("h.toml"), &text).is_ok(), "{text}");
        }
    }
}
