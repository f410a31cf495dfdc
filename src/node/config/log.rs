//! The setting `log`: a filter of log lines.
//!
//! A subset of the syntax of `tracing` filters, and stricter: a misspelt level is an error here, where that
//! library takes it for the name of a target and so silences everything else.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Levels, most severe first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// The modules that log.
const MODULES: [&str; 8] = [
    "audit",
    "base::accept",
    "node::control",
    "node::daemon",
    "node::datadir",
    "node::shard",
    "ring",
    "volume",
];
/// The target of the audit log.
pub(super) const AUDIT: &str = "hayloft::audit";
/// Advice in the message about an invalid filter.
pub(super) const ADVICE: &str = "write a level (off, error, warn, info, debug or trace), or several \
    directives such as warn,hayloft::volume=debug";

/// Parses a filter: a level, `target=level`, or several of them separated by commas. Targets are `hayloft`,
/// `hayloft::MODULE` with its submodules, and other crates.
///
/// # Errors
/// A description of the problem.
pub(super) fn parse(text: &str) -> Result<Targets, String> {
    let mut targets = Targets::new();
    let mut is_about_us = false;
    for directive in text.split(',').map(str::trim) {
        targets = match directive.split_once('=') {
            None => {
                is_about_us = true;
                targets.with_default(level(directive)?)
            }
            Some((target, level_text)) => {
                let (target, level) = (target.trim(), level(level_text.trim())?);
                is_about_us |= is_ours(target)?;
                targets.with_target(target, level)
            }
        };
    }
    if !is_about_us {
        return Err(format!(
            "{text:?} says nothing about hayloft, so that nothing of it would be logged"
        ));
    }
    Ok(targets)
}

/// Whether a target is `hayloft` or one of its modules.
///
/// # Errors
/// A description of the problem: no target name, or no module of Hayloft that logs.
fn is_ours(target: &str) -> Result<bool, String> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !target.split("::").all(is_name) {
        return Err(format!("{target:?} is no target"));
    }
    let (crate_name, path) = target.split_once("::").unwrap_or((target, ""));
    if crate_name != "hayloft" {
        return Ok(false);
    }
    let known = |&module: &&str| is_within(path, module) || is_within(module, path);
    if !path.is_empty() && !MODULES.iter().any(known) {
        return Err(format!(
            "hayloft has no module {path:?} that logs (those that do: {})",
            MODULES.join(", ")
        ));
    }
    Ok(true)
}

/// Whether a path of modules is that of `module` or of a module in it.
fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let lower = text.to_ascii_lowercase();
    if LEVELS.contains(&lower.as_str()) {
        return Ok(lower.parse().expect("LEVELS are names of levels of tracing"));
    }
    Err(match text {
        "" => "a directive is empty".to_owned(),
        text => format!("{text:?} is no level"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use tracing::Level;

    use super::*;

    #[test]
    fn levels_and_targets_are_parsed() {
        let targets = parse("Warn, hayloft::volume = debug,axum=off").unwrap();
        assert!(targets.would_enable("hayloft::node::daemon", &Level::WARN));
        assert!(!targets.would_enable("hayloft::node::daemon", &Level::INFO));
        assert!(targets.would_enable("hayloft::volume::log::append", &Level::DEBUG));
        assert!(!targets.would_enable("axum::serve", &Level::ERROR));
        let targets =
            parse("warn,hayloft::node=debug,hayloft::node::shard::volumes=trace").unwrap();
        assert!(targets.would_enable("hayloft::node::datadir", &Level::DEBUG));
        assert!(targets.would_enable("hayloft::node::shard::volumes", &Level::TRACE));
        assert!(!parse("off").unwrap().would_enable("hayloft", &Level::ERROR));
        assert!(parse("hayloft=trace").unwrap().would_enable("hayloft::ring", &Level::TRACE));
        for level in LEVELS {
            assert!(parse(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn unknown_levels_and_targets_are_rejected() {
        for (text, says) in [
            ("verbose", "\"verbose\" is no level"),
            ("hayloft::volume", "\"hayloft::volume\" is no level"),
            ("info,verbose", "\"verbose\" is no level"),
            ("info,", "a directive is empty"),
            ("", "a directive is empty"),
            ("info;hayloft::volume=debug", "no target"),
            ("hayloft:volume=debug", "no target"),
            ("hayloft::volum=debug", "no module \"volum\""),
            ("hayloft::shard=debug", "no module \"shard\""),
            ("hayloft::node::volume=debug", "no module \"node::volume\""),
            ("volume=debug", "says nothing about hayloft"),
            ("axum=warn", "says nothing about hayloft"),
            ("hayloft=loud", "\"loud\" is no level"),
            ("hayloft=", "a directive is empty"),
            ("[span]=debug", "no target"),
            ("hayloft[{volume=1}]=debug", "no level"),
            ("3", "\"3\" is no level"),
        ] {
            let error = parse(text).map(|_| ()).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    /// Collects the modules that log, from the source files.
    fn modules(dir: &Path, found: &mut BTreeSet<String>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                modules(&path, found);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let logs = ["error", "warn", "info", "debug", "trace"]
                    .iter()
                    .any(|level| text.contains(&format!("tracing::{level}!")));
                let name = path.strip_prefix(&root).unwrap().with_extension("");
                if logs {
                    let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
                    let depth = if ["base", "node"].contains(&&*parts[0]) { 2 } else { 1 };
                    found.insert(parts[..depth].join("::"));
                }
            }
        }
    }

    #[test]
    fn log_targets_are_exactly_the_modules_that_log() {
        let mut found = BTreeSet::from(["audit".to_owned()]);
        modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let named: BTreeSet<String> = MODULES.iter().map(|&module| module.to_owned()).collect();
        assert_eq!(named, found);
    }
}
