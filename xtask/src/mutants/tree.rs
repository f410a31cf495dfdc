//! A copy of the sources with mistakes built in, and the tests of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::candidate::{Candidate, read, sites};
use super::rewrite::{SWITCH, rewrite};
use super::site::Site;
use super::test_process::Binaries;
use crate::process::Failed;
use crate::project::{root, target};
use crate::record::cannot;

/// The crate's root, which the switch is added to.
const LIB: &str = "src/lib.rs";
/// Builds in which mistakes do not compile are repeated without them, at most so often.
const ROUNDS: usize = 30;

/// The copy.
pub struct Tree {
    dir: PathBuf,
    build: PathBuf,
}

/// The mistakes of a file that are built in, by site: numbers, and which of the site's mistakes.
type Chosen = BTreeMap<usize, Vec<(u32, usize)>>;

/// A site that is built in, with where it is in the rewritten file.
struct Built {
    numbers: Vec<u32>,
    range: Range<usize>,
    is_statement: bool,
}

/// An error of the compiler.
struct CompileError {
    /// Where it points to: the file, the bytes of it and whether that is what it is about.
    spans: Vec<(PathBuf, Range<usize>, bool)>,
    text: String,
}

impl CompileError {
    fn read(error: &Value) -> Self {
        let notes = error["children"].as_array().into_iter().flatten();
        let of_notes = notes.flat_map(|note| note["spans"].as_array().into_iter().flatten());
        let of_notes = of_notes.map(|span| (span, false));
        let own = error["spans"].as_array().into_iter().flatten();
        let own = own.map(|span| (span, span["is_primary"] == true));
        let spans = own.chain(of_notes).map(|(span, is_primary)| {
            let number =
                |name: &str| usize::try_from(span[name].as_u64().unwrap_or(0)).unwrap_or(0);
            let file = PathBuf::from(span["file_name"].as_str().unwrap_or_default());
            (file, number("byte_start")..number("byte_end"), is_primary)
        });
        let text = error["rendered"].as_str().unwrap_or_default().to_owned();
        Self { spans: spans.collect(), text }
    }

    /// The mistakes it comes from: the innermost around what it is about, or a statement that might be left
    /// out and that something else relies on.
    fn mistakes<'a>(&self, built: &'a BTreeMap<PathBuf, Vec<Built>>) -> Option<&'a [u32]> {
        let around = |(file, range, is_primary): &(PathBuf, Range<usize>, bool)| {
            let sites = built.get(file).into_iter().flatten();
            sites
                .filter(|site| site.is_statement || *is_primary)
                .filter(|site| site.range.start <= range.start && range.end <= site.range.end)
                .min_by_key(|site| site.range.len())
        };
        let mut spans: Vec<_> = self.spans.iter().collect();
        spans.sort_by_key(|(_, _, is_primary)| !is_primary);
        spans.into_iter().find_map(around).map(|site| site.numbers.as_slice())
    }
}

impl Tree {
    /// Copies what git knows of or would, but for the files that mistakes are built into; those that did not
    /// change keep their times, so that little is built anew.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy(candidates: &[Candidate]) -> Result<Self, Failed> {
        let (dir, build) = (target().join("mutants/tree"), target().join("mutants/build"));
        let known = known_files()?;
        let rewritten: BTreeSet<&Path> = candidates.iter().map(|it| it.file.as_path()).collect();
        for file in known.iter().filter(|it| !rewritten.contains(it.as_path())) {
            if file == Path::new(LIB) {
                continue;
            }
            let from = root().join(file);
            // Deleted and not yet committed.
            let Ok(bytes) = fs::read(&from) else { continue };
            write_if_changed(&dir.join(file), &bytes)?;
            copy_mode(&from, &dir.join(file))?;
        }
        remove_others(&dir, &dir, &known)?;
        // Tests make directories there.
        let of_tests = dir.join("target");
        fs::create_dir_all(&of_tests).map_err(cannot("make", &of_tests))?;
        Ok(Self { dir, build })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Builds all mistakes in, each under its position in the list; those that do not compile are taken out
    /// again, given to `keep` and returned. `out` are those of which that is known.
    ///
    /// # Errors
    /// When the copy does not compile for another reason.
    pub fn build_in(
        &self,
        candidates: &[Candidate],
        mut out: BTreeSet<u32>,
        keep: impl Fn(&BTreeSet<u32>) -> Result<(), Failed>,
    ) -> Result<BTreeSet<u32>, Failed> {
        for _ in 0..ROUNDS {
            let built = self.write(candidates, &out)?;
            let errors = self.check()?;
            if errors.is_empty() {
                return Ok(out);
            }
            let before = out.len();
            for error in &errors {
                // Without any, it may follow from another one.
                out.extend(error.mistakes(&built).unwrap_or_default());
            }
            if out.len() == before {
                return Err(Failed(errors[0].text.clone()));
            }
            keep(&out)?;
            eprintln!("{} mistakes do not compile and are left out", out.len());
        }
        Err(Failed(format!("after {ROUNDS} rounds there are still mistakes that do not compile")))
    }

    /// Writes the rewritten files.
    fn write(
        &self,
        candidates: &[Candidate],
        without: &BTreeSet<u32>,
    ) -> Result<BTreeMap<PathBuf, Vec<Built>>, Failed> {
        let mut files: BTreeMap<&PathBuf, Chosen> = BTreeMap::new();
        for (number, it) in (0..).zip(candidates) {
            let sites = files.entry(&it.file).or_default();
            if !without.contains(&number) {
                sites.entry(it.site).or_default().push((number, it.mutant));
            }
        }
        let mut built = BTreeMap::new();
        for (file, chosen) in files {
            let all = sites(file)?;
            let mut with_numbers = Vec::new();
            for (site, mutants) in chosen {
                let mut only = Site { mutants: Vec::new(), ..all[site].clone() };
                only.mutants.extend(mutants.iter().map(|(_, n)| all[site].mutants[*n].clone()));
                with_numbers.push((only, mutants.iter().map(|(number, _)| *number).collect()));
            }
            let with_numbers: Vec<(&Site, Vec<u32>)> = with_numbers
                .iter()
                .map(|(site, numbers): &(_, Vec<_>)| (site, numbers.clone()))
                .collect();
            let rewritten = rewrite(&read(file)?, &with_numbers);
            write_if_changed(&self.dir.join(file), rewritten.text.as_bytes())?;
            let sites = with_numbers.into_iter().zip(rewritten.ranges);
            let sites = sites.map(|((site, numbers), range)| Built {
                numbers,
                range,
                is_statement: site.is_statement(),
            });
            built.insert(file.clone(), sites.collect());
        }
        let count = candidates.len().max(1);
        let switch = SWITCH.replace("COUNT", &count.to_string());
        write_if_changed(&self.dir.join("src/mutants.rs"), switch.as_bytes())?;
        let lib = read(Path::new(LIB))? + "\n#[allow(missing_docs)]\npub mod mutants;\n";
        write_if_changed(&self.dir.join(LIB), lib.as_bytes())?;
        Ok(built)
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command.args(args).args(["--locked", "--message-format=json", "--package", "hayloft"]);
        command.current_dir(&self.dir).env("CARGO_TARGET_DIR", &self.build);
        // Nobody debugs it.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("RUSTFLAGS", "--allow=warnings");
        command.stderr(Stdio::null());
        command
    }

    fn messages(&self, args: &[&str]) -> Result<(bool, Vec<Value>), Failed> {
        let output = self.cargo(args).output();
        let output = output.map_err(|error| Failed(format!("cargo cannot be started: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((output.status.success(), messages))
    }

    fn check(&self) -> Result<Vec<CompileError>, Failed> {
        let (succeeded, messages) = self.messages(&["check", "--lib", "--features", "sim"])?;
        if succeeded {
            return Ok(Vec::new());
        }
        let errors = messages.iter().map(|it| &it["message"]).filter(|it| it["level"] == "error");
        let all: Vec<_> = errors.map(CompileError::read).collect();
        if all.is_empty() {
            return Err(Failed("the copy does not compile, and no error says where".to_owned()));
        }
        Ok(all)
    }

    /// Builds the tests, or those of the binaries that are named.
    ///
    /// # Errors
    /// When they do not compile.
    pub fn build_tests(&self, only: &[String]) -> Result<Binaries, Failed> {
        let mut args = vec!["test", "--no-run"];
        for name in only {
            args.extend(if name == "lib" { vec!["--lib"] } else { vec!["--test", name] });
        }
        let (succeeded, messages) = self.messages(&args)?;
        if !succeeded {
            let error = messages.iter().find(|it| it["message"]["level"] == "error");
            let text = error.map(|it| it["message"]["rendered"].to_string()).unwrap_or_default();
            return Err(Failed(format!("the tests of the copy do not compile: {text}")));
        }
        let mut binaries = Binaries::new();
        for message in messages.iter().filter(|it| it["reason"] == "compiler-artifact") {
            let (Some(path), true) =
                (message["executable"].as_str(), message["profile"]["test"] == true)
            else {
                continue;
            };
            let is_lib = message["target"]["kind"][0] == "lib";
            let name = message["target"]["name"].as_str().unwrap_or_default();
            let name = if is_lib { "lib" } else { name };
            binaries.insert(name.to_owned(), PathBuf::from(path));
        }
        Ok(binaries)
    }
}

/// The files that git knows of, or would if they were added.
///
/// # Errors
/// When git cannot be started.
pub fn known_files() -> Result<BTreeSet<PathBuf>, Failed> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = git.current_dir(root()).output();
    let listed = listed.map_err(|error| Failed(format!("git cannot be started: {error}")))?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}

/// Scripts are run.
fn copy_mode(from: &Path, to: &Path) -> Result<(), Failed> {
    let mode = fs::metadata(from).map_err(cannot("look at", from))?.permissions();
    fs::set_permissions(to, mode).map_err(cannot("write", to))
}

fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(cannot("make", dir))?;
    }
    fs::write(path, bytes).map_err(cannot("write", path))
}

/// Removes files of an earlier copy that git does not know any more.
fn remove_others(top: &Path, dir: &Path, known: &BTreeSet<PathBuf>) -> Result<(), Failed> {
    for entry in fs::read_dir(dir).map_err(cannot("read", dir))? {
        let path = entry.map_err(cannot("read", dir))?.path();
        if path.is_dir() {
            remove_others(top, &path, known)?;
            continue;
        }
        let name = path.strip_prefix(top).expect("below it");
        if !known.contains(name) && name != Path::new("src/mutants.rs") {
            fs::remove_file(&path).map_err(cannot("remove", &path))?;
        }
    }
    Ok(())
}
