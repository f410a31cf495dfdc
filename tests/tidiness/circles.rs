//! Circular dependencies between files, and facades that define items.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{Token, behind_attributes, behind_bracket, is, paths};
use super::modules::{Product, modules, product_of};
use super::{Project, Violation, violation};

/// Source directories of the crates.
const CRATES: &[&str] = &[
    "bench/baseline/src/",
    "bench/index/src/",
    "bench/runner/src/",
    "bench/stats/src/",
    "src/",
    "tools/faultdisk/src/",
    "tools/loadgen/src/",
    "tools/powercut/src/",
    "xtask/src/",
];

type Path = Vec<String>;

/// Files of a crate, and the definitions of the names that they re-export.
struct Crate<'a> {
    /// Files by module path; the root has an empty path.
    files: BTreeMap<Path, (&'a str, Product)>,
    /// Per module: re-exported names and their paths.
    passed_on: BTreeMap<Path, BTreeMap<String, Path>>,
}

impl<'a> Crate<'a> {
    fn load(project: &'a Project, reached: &BTreeMap<String, bool>, dir: &str) -> Self {
        let mut files = BTreeMap::new();
        for (file, tokens) in product_of(project, reached, dir) {
            let path = file[dir.len()..].trim_end_matches(".rs").trim_end_matches("/mod");
            let is_root = matches!(path, "lib" | "main");
            let module =
                if is_root { Vec::new() } else { path.split('/').map(str::to_owned).collect() };
            files.insert(module, (file, tokens));
        }
        let mut this = Self { files, passed_on: BTreeMap::new() };
        for (module, (_, tokens)) in &this.files {
            let names = imports(tokens, true)
                .into_iter()
                .map(|(name, path)| (name, this.absolute(module, &path)))
                .collect();
            this.passed_on.insert(module.clone(), names);
        }
        this
    }

    /// Resolves a path in `module` to one from the crate root; empty for other crates.
    fn absolute(&self, module: &Path, path: &[String]) -> Path {
        let mut path = path.to_vec();
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        match path[0].as_str() {
            "crate" => path[1..].to_vec(),
            "self" | "super" => {
                let rest = path.iter().position(|name| !["self", "super"].contains(&name.as_str()));
                let rest = rest.unwrap_or(path.len());
                let up = path[..rest].iter().filter(|name| *name == "super").count();
                let base = &module[..module.len().saturating_sub(up)];
                base.iter().chain(&path[rest..]).cloned().collect()
            }
            first => {
                let mut child = module.clone();
                child.push(first.to_owned());
                let is_child = self.files.contains_key(&child);
                if is_child { module.iter().cloned().chain(path).collect() } else { Vec::new() }
            }
        }
    }

    /// The module that defines the item at a path.
    fn definition(&self, path: &[String]) -> Option<Path> {
        let mut path = path.to_vec();
        // Bounds chains of re-exports.
        for _ in 0..8 {
            let len = (0..=path.len()).rev().find(|&len| self.files.contains_key(&path[..len]))?;
            let (module, rest) = (path[..len].to_vec(), &path[len..]);
            match rest.first().and_then(|name| self.passed_on[&module].get(name)) {
                Some(target) => path = target.iter().chain(&rest[1..]).cloned().collect(),
                None if rest.is_empty() && is_facade(&self.files[&module].1) => return None,
                None => return Some(module),
            }
        }
        None
    }

    /// Per module: the other modules whose items it uses.
    fn uses(&self) -> BTreeMap<&Path, BTreeSet<Path>> {
        let mut uses = BTreeMap::new();
        for (module, (_, tokens)) in &self.files {
            let imported: BTreeMap<_, _> = imports(tokens, false).into_iter().collect();
            let mut others = BTreeSet::new();
            if !is_facade(tokens) {
                for (_, path) in paths(tokens) {
                    let path = match imported.get(&path[0]) {
                        Some(target) => target.iter().chain(&path[1..]).cloned().collect(),
                        None => path,
                    };
                    let path = self.absolute(module, &path);
                    others.extend((!path.is_empty()).then(|| self.definition(&path)).flatten());
                }
            }
            others.remove(module);
            uses.insert(module, others);
        }
        uses
    }
}

/// Local names and paths of `use` declarations: all, or only re-exports.
fn imports(tokens: &[Token], re_exported: bool) -> Vec<(String, Path)> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let starts = at == 0 || [";", "}", "]", "{", "pub", ")"].contains(&tokens[at - 1].text);
        if tokens[at].text != "use" || !starts {
            continue;
        }
        let is_public = at > 0 && ["pub", ")"].contains(&tokens[at - 1].text);
        if re_exported && !is_public {
            continue;
        }
        let end = (at..tokens.len()).find(|&n| tokens[n].text == ";").unwrap_or(tokens.len());
        let declared = &tokens[at + 1..end];
        let renamed: BTreeMap<&str, &str> = (1..declared.len().saturating_sub(1))
            .filter(|&n| declared[n].text == "as")
            .map(|n| (declared[n - 1].text, declared[n + 1].text))
            .collect();
        for (_, path) in paths(declared) {
            let last = path.iter().rev().find(|name| *name != "self");
            let Some(last) = last.filter(|_| path.len() > 1) else { continue };
            let name = renamed.get(last.as_str()).copied().unwrap_or(last);
            found.push((name.to_owned(), path.clone()));
        }
    }
    found
}

/// Whether a file consists of `mod` and `use` declarations only.
fn is_facade(tokens: &[Token]) -> bool {
    let mut at = 0;
    while at < tokens.len() {
        if is(tokens, at, &["#", "!"]) {
            at = behind_bracket(tokens, at + 2);
            continue;
        }
        at = behind_attributes(tokens, at);
        if is(tokens, at, &["pub"]) {
            at += 1;
            at = if is(tokens, at, &["("]) { behind_bracket(tokens, at) } else { at };
        }
        if !is(tokens, at, &["mod"]) && !is(tokens, at, &["use"]) {
            return at >= tokens.len();
        }
        while at < tokens.len() && tokens[at].text != ";" {
            if is(tokens, at, &["{"]) && tokens[at - 1].text != "::" {
                return false;
            }
            at = if is(tokens, at, &["{"]) { behind_bracket(tokens, at) } else { at + 1 };
        }
        at += 1;
    }
    true
}

/// Sets of modules that depend on each other in a circle.
fn circles(uses: &BTreeMap<&Path, BTreeSet<Path>>) -> BTreeSet<BTreeSet<Path>> {
    let reach = |from: &Path| {
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<&Path> = uses.get(from).into_iter().flatten().collect();
        while let Some(module) = waiting.pop() {
            if seen.insert(module.clone()) {
                waiting.extend(uses.get(module).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&Path, BTreeSet<Path>> =
        uses.keys().map(|module| (*module, reach(module))).collect();
    let in_a_circle = reached.iter().filter(|(module, others)| others.contains(**module));
    let sets = in_a_circle.map(|(module, others)| {
        others.iter().filter(|other| reached[*other].contains(*module)).cloned().collect()
    });
    sets.collect()
}

/// (a) Files do not depend on each other in a circle.
pub fn circles_of_files(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    let reached = modules(project);
    for dir in CRATES {
        let krate = Crate::load(project, &reached, dir);
        let uses = krate.uses();
        for circle in circles(&uses) {
            let inside = circle.iter().map(|module| {
                let within = uses[module].intersection(&circle).map(|to| to.join("::"));
                format!("{} -> {}", module.join("::"), within.collect::<Vec<_>>().join(", "))
            });
            let what = format!("a circle of files: {}", inside.collect::<Vec<_>>().join("; "));
            let first = circle.first().expect("a circle has members");
            violations.push(violation(krate.files[first].0, 1, what));
        }
    }
    violations
}

/// (a) A `mod.rs` only declares and re-exports; it defines nothing.
pub fn facades(project: &Project) -> Vec<Violation> {
    let reached = modules(project);
    let files = CRATES.iter().flat_map(|dir| product_of(project, &reached, dir));
    let facades = files.filter(|(file, _)| file.ends_with("/mod.rs"));
    facades
        .filter(|(_, tokens)| !is_facade(tokens))
        .map(|(file, _)| violation(file, 1, "a facade that defines something"))
        .collect()
}
