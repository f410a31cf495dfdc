//! Checks the dependencies against `deny.toml`: licences, duplicates and sources.
//!
//! The file is that of cargo-deny, of which the suite needs this small part and no network: building
//! cargo-deny takes longer than the tests do.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;
use spdx::Expression;

use crate::process::{Failed, announce};
use crate::project::{cargo, root};

/// Source of the crates of the registry crates.io, as cargo names it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The part of `deny.toml` that is checked.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

/// A second version of a crate that is tolerated: `name@version`, where the version may be shortened.
#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    krate: String,
}

impl Skip {
    fn covers(&self, package: &Package) -> bool {
        self.krate.split_once('@').is_some_and(|(name, version)| {
            let rest = package.version.strip_prefix(version);
            name == package.name
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for crates of the workspace and of `vendor/`.
    source: Option<String>,
}

/// Checks all dependencies of the workspace.
///
/// # Errors
/// When one breaks a rule, with all of the complaints; or when the rules or the dependencies cannot be read.
pub fn check() -> Result<(), Failed> {
    let text = std::fs::read_to_string(root().join("deny.toml"))
        .map_err(|error| Failed(format!("cannot read deny.toml: {error}")))?;
    let rules = rules(&text)?;
    let metadata =
        metadata(&mut cargo(&["metadata", "--format-version", "1", "--all-features", "--locked"]))?;
    let complaints = complaints(&rules, &metadata);
    if complaints.is_empty() {
        eprintln!("{} packages follow deny.toml", metadata.packages.len());
        return Ok(());
    }
    Err(Failed(complaints.join("\n")))
}

fn rules(text: &str) -> Result<Rules, Failed> {
    toml::from_str(text).map_err(|error| Failed(format!("deny.toml: {error}")))
}

fn metadata(command: &mut Command) -> Result<Metadata, Failed> {
    let line = announce(command);
    let output = command.output();
    let output = output.map_err(|error| Failed(format!("`{line}` cannot be started: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failed(format!("`{line}` failed: {why}")));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Failed(format!("`{line}` printed something else: {error}")))
}

fn complaints(rules: &Rules, metadata: &Metadata) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in &metadata.packages {
        let Package { name, version, .. } = package;
        let skipped = rules.bans.skip.iter().any(|skip| skip.covers(package));
        if !skipped {
            versions.entry(name).or_default().push(package);
        }
        let Some(source) = &package.source else { continue };
        if source != CRATES_IO {
            complaints.push(format!("{name} {version} comes from {source}"));
        }
        complaints.extend(license_problem(rules, package));
    }
    for (name, packages) in versions {
        if packages.len() > 1 {
            let list: Vec<&str> = packages.iter().map(|package| package.version.as_str()).collect();
            complaints.push(format!("{name} is there more than once: {}", list.join(", ")));
        }
    }
    for skip in &rules.bans.skip {
        if !metadata.packages.iter().any(|package| skip.covers(package)) {
            complaints.push(format!("deny.toml skips {}, which is not there", skip.krate));
        }
    }
    complaints
}

fn license_problem(rules: &Rules, package: &Package) -> Option<String> {
    let Package { name, version, license, .. } = package;
    let Some(license) = license else {
        return Some(format!("{name} {version} names no licence"));
    };
    // An old way to write OR, which crates.io still accepts.
    let expression = match Expression::parse(&license.replace('/', " OR ")) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("{name} {version}: {error}")),
    };
    let is_allowed = expression.evaluate(|requirement| {
        requirement.license.id().is_some_and(|id| rules.licenses.allow.contains(id.name))
    });
    (!is_allowed).then(|| format!("{name} {version}: the licence {license} is not allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "
        [licenses]
        allow = [\"MIT\"]
        [bans]
        skip = [{ crate = \"old@1.2\", reason = \"x\" }]
    ";

    fn complaints_about(packages: &[(&str, &str, Option<&str>, Option<&str>)]) -> Vec<String> {
        let packages = packages.iter().map(|(name, version, license, source)| Package {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
        });
        complaints(&rules(RULES).unwrap(), &Metadata { packages: packages.collect() })
    }

    #[test]
    fn dependencies_within_the_rules_pass() {
        let complaints = complaints_about(&[
            ("ours", "0.1.0", None, None),
            ("old", "1.2.3", Some("MIT OR Apache-2.0"), Some(CRATES_IO)),
            ("old", "2.0.0", Some("MIT/Apache-2.0"), Some(CRATES_IO)),
        ]);
        assert_eq!(complaints, Vec::<String>::new());
    }

    #[test]
    fn each_broken_rule_is_named() {
        let complaints = complaints_about(&[
            ("elsewhere", "1.0.0", Some("MIT"), Some("git+https://example.com/x")),
            ("silent", "1.0.0", None, Some(CRATES_IO)),
            ("copyleft", "1.0.0", Some("MIT AND GPL-3.0-only"), Some(CRATES_IO)),
            ("twice", "1.0.0", Some("MIT"), Some(CRATES_IO)),
            ("twice", "2.0.0", Some("MIT"), Some(CRATES_IO)),
            ("old", "1.20.0", Some("MIT"), Some(CRATES_IO)),
        ]);
        assert_eq!(
            complaints,
            [
                "elsewhere 1.0.0 comes from git+https://example.com/x",
                "silent 1.0.0 names no licence",
                "copyleft 1.0.0: the licence MIT AND GPL-3.0-only is not allowed",
                "twice is there more than once: 1.0.0, 2.0.0",
                "deny.toml skips old@1.2, which is not there",
            ]
        );
    }
}
