//! Modules: which files are compiled, and which names they may use.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use super::lexer::{Token, Tokens, is, paths, tokens};
use super::rules::{CODEC, CODEC_WORDS, FORBIDDEN, LAYERS};
use super::{Project, Violation, violation};

/// Module path of a file from the crate root: `src/volume/read.rs` is `volume`, `read`.
pub fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let root = matches!(path, "lib" | "main");
    if root { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// Row of [`LAYERS`] of a module: the longest one that is a prefix of its path.
pub fn layer_of(module: &[String]) -> Option<&'static str> {
    let path = module.join("::");
    let rows = LAYERS.iter().map(|(row, _)| *row);
    rows.filter(|row| begins(&path, row)).max_by_key(|row| row.len())
}

/// Resolves a path to one from the crate root.
pub fn resolved(file: &str, path: &[String]) -> Vec<String> {
    let first = path[0].as_str();
    match first {
        "hayloft" => ["crate".to_owned()].into_iter().chain(path[1..].iter().cloned()).collect(),
        "core" | "alloc" => {
            ["std".to_owned()].into_iter().chain(path[1..].iter().cloned()).collect()
        }
        "self" | "super" => {
            let own = path.iter().take_while(|name| *name == "self").count();
            let up = path[own..].iter().take_while(|name| *name == "super").count();
            let mut module = module_of(file);
            module.truncate(module.len().saturating_sub(up));
            module.insert(0, "crate".to_owned());
            module.extend_from_slice(&path[own + up..]);
            module
        }
        _ => path.to_vec(),
    }
}

/// Files reachable from the roots by `mod` declarations, and whether they are compiled for tests only.
pub fn modules(project: &Project) -> BTreeMap<String, bool> {
    let mut reached: BTreeMap<String, bool> = BTreeMap::new();
    let roots = [
        "bench/baseline/src/main.rs",
        "bench/index/src/main.rs",
        "bench/runner/src/main.rs",
        "bench/stats/src/lib.rs",
        "fuzz/src/lib.rs",
        "src/lib.rs",
        "src/main.rs",
        "tools/faultdisk/src/lib.rs",
        "tools/faultdisk/src/main.rs",
        "tools/loadgen/src/main.rs",
        "tools/loadgen/tests/against_daemon.rs",
        "tools/loadgen/tests/against_servers.rs",
        "tools/powercut/src/main.rs",
        "tools/powercut/tests/usage.rs",
        "xtask/src/main.rs",
    ];
    let roots = roots.map(|root| (root, false));
    let tests = project.with("tests/", ".rs").filter(|(path, _)| is_test_binary(path));
    let binaries = tests.chain(project.with("fuzz/fuzz_targets/", ".rs"));
    let mut waiting: Vec<(String, bool)> = roots
        .into_iter()
        .chain(binaries.map(|(path, _)| (path, true)))
        .map(|(path, tests)| (path.to_owned(), tests))
        .collect();
    while let Some((file, tests)) = waiting.pop() {
        let Some(text) = project.0.get(&file) else { continue };
        if reached.get(&file).is_some_and(|&before| before <= tests) {
            continue;
        }
        reached.insert(file.clone(), tests);
        let found = tokens(text);
        let stem = file.trim_end_matches(".rs");
        let is_root = roots.iter().any(|(root, _)| *root == file)
            || stem.ends_with("/mod")
            || is_test_binary(&file);
        let dir = if is_root { stem.rsplit_once('/').map_or("", |(dir, _)| dir) } else { stem };
        for (tokens, tests) in [(&found.always, tests), (&found.for_tests, true)] {
            for n in 0..tokens.len() {
                if is(tokens, n, &["mod"]) && is(tokens, n + 2, &[";"]) {
                    let name = &tokens[n + 1].text;
                    waiting.push((format!("{dir}/{name}.rs"), tests));
                    waiting.push((format!("{dir}/{name}/mod.rs"), tests));
                }
            }
        }
    }
    reached
}

/// Whether the file is the root of a binary of tests.
fn is_test_binary(file: &str) -> bool {
    let Some(name) = file.strip_prefix("tests/") else { return false };
    name.strip_suffix("/main.rs").unwrap_or(name).matches('/').count() == 0
}

/// The tokens of a file that are always compiled.
pub struct Product(Arc<Tokens>);

impl Deref for Product {
    type Target = [Token];

    fn deref(&self) -> &[Token] {
        &self.0.always
    }
}

/// Tokens of each file in `src/` that are compiled into the product.
pub fn product(project: &Project) -> Vec<(&str, Product)> {
    product_of(project, &modules(project), "src/")
}

/// Tokens of each file in a source directory that are not compiled for tests only.
pub fn product_of<'a>(
    project: &'a Project,
    reached: &BTreeMap<String, bool>,
    dir: &str,
) -> Vec<(&'a str, Product)> {
    project
        .with(dir, ".rs")
        .filter(|(file, _)| reached.get(*file) != Some(&true))
        .map(|(file, text)| (file, Product(tokens(text))))
        .collect()
}

/// (a) Modules use only modules below them.
pub fn imports(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (n, (module, uses)) in LAYERS.iter().enumerate() {
        for used in *uses {
            if !LAYERS[..n].iter().any(|(below, _)| below == used) {
                let what = format!("the table lets {module} use {used}, which is not below it");
                violations.push(violation("tests/tidiness/rules.rs", 0, what));
            }
        }
    }
    for (file, tokens) in product(project) {
        let mut module = module_of(file);
        if module.is_empty() {
            module.push(file.trim_start_matches("src/").trim_end_matches(".rs").to_owned());
        }
        let Some((own, uses)) = LAYERS.iter().find(|(row, _)| Some(*row) == layer_of(&module))
        else {
            let what = format!("{} has no row in the table of layers", module.join("::"));
            violations.push(violation(file, 1, what));
            continue;
        };
        for (line, path) in paths(&tokens) {
            let path = resolved(file, &path);
            if path[0] != "crate" || path.len() < 2 {
                continue;
            }
            let used = layer_of(&path[1..]);
            if used.is_none_or(|used| used != *own && !uses.contains(&used)) {
                violations.push(violation(
                    file,
                    line,
                    format!("{own} must not use {}", path.join("::")),
                ));
            }
        }
    }
    violations
}

pub fn begins(path: &str, with: &str) -> bool {
    path.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// (a) Files use no crate, module of `std` or layer that is forbidden for them.
pub fn forbidden_names(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, tokens) in product(project) {
        let all = paths(&tokens);
        for rule in FORBIDDEN {
            let starts = |names: &[&str]| names.iter().any(|name| file.starts_with(name));
            if !starts(rule.files) || starts(rule.except) {
                continue;
            }
            for (line, path) in &all {
                let path = resolved(file, path).join("::");
                let forbidden = rule.names.iter().any(|name| begins(&path, name));
                // An allowed name does not allow the names below it.
                let allowed = rule.allowed.iter().any(|name| {
                    if name.starts_with("crate") { begins(&path, name) } else { path == *name }
                });
                let renamed = path.starts_with("libc::")
                    && rule.allowed.contains(&format!("nix::{path}").as_str());
                if forbidden && !allowed && !renamed {
                    violations.push(violation(file, *line, format!("must not use {path}")));
                }
            }
        }
    }
    violations
}

/// (c) Every source file is compiled.
pub fn dead_files(project: &Project) -> Vec<Violation> {
    let reached = modules(project);
    let mut violations = Vec::new();
    for (file, text) in project.rust() {
        if !reached.contains_key(file) {
            violations.push(violation(file, 1, "no `mod` names this file"));
        }
        let tokens = &tokens(text).all;
        for n in 0..tokens.len() {
            if is(tokens, n, &["#", "[", "path", "="]) {
                let what = "a module must be in the file of its name";
                violations.push(violation(file, tokens[n].line, what));
            }
        }
    }
    violations
}

/// (g) Integers of the format are encoded in one place.
pub fn codec(project: &Project) -> Vec<Violation> {
    let files = product(project).into_iter();
    let files = files.filter(|(file, _)| file.starts_with("src/volume/") && *file != CODEC);
    let found = files.flat_map(|(file, tokens)| {
        let words = tokens.iter().filter(|token| CODEC_WORDS.contains(&token.text));
        words.map(|token| violation(file, token.line, token.text)).collect::<Vec<_>>()
    });
    found.collect()
}
