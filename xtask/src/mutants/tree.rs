//! A copy of the sources with mistakes built in, and the tests of it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::rewrite::{SWITCH, rewrite};
use super::run::Binaries;
use super::sites::{Site, find};
use crate::process::Failed;
use crate::project::{root, target};
use crate::record::cannot;

/// Builds in which mistakes do not compile are repeated without them, at most so often.
const ROUNDS: usize = 30;

/// One mistake.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Part of the code it belongs to.
    pub area: &'static str,
    /// The file, from the root of the project.
    pub file: PathBuf,
    /// Which of the file's sites.
    pub site: usize,
    /// Which of the site's mistakes.
    pub mutant: usize,
    /// Line of the site, from 1.
    pub line: usize,
    /// The function around it.
    pub function: String,
    /// What is replaced by what.
    pub change: String,
}

/// All mistakes of a file.
///
/// # Errors
/// When it cannot be read.
pub fn candidates(area: &'static str, file: &Path) -> Result<Vec<Candidate>, Failed> {
    let mut all = Vec::new();
    for (n, site) in sites(file)?.iter().enumerate() {
        for (mutant, what) in site.mutants.iter().enumerate() {
            all.push(Candidate {
                area,
                file: file.to_owned(),
                site: n,
                mutant,
                line: site.line,
                function: site.function.clone(),
                change: what.change.clone(),
            });
        }
    }
    Ok(all)
}

fn sites(file: &Path) -> Result<Vec<Site>, Failed> {
    find(&read(file)?).map_err(|error| Failed(format!("{}: {error}", file.display())))
}

fn read(file: &Path) -> Result<String, Failed> {
    let path = root().join(file);
    fs::read_to_string(&path).map_err(cannot("read", &path))
}

/// The copy.
pub struct Tree {
    dir: PathBuf,
    build: PathBuf,
}

/// A site that is built in, with where it is in the rewritten file.
struct Built {
    numbers: Vec<u32>,
    range: Range<usize>,
}

impl Tree {
    /// Copies what git knows of; files that did not change keep their times, so that little is built anew.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy() -> Result<Self, Failed> {
        let (dir, build) = (target().join("mutants/tree"), target().join("mutants/build"));
        let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
        let listed = listed.map_err(|error| Failed(format!("git cannot be started: {error}")))?;
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let known: BTreeSet<PathBuf> =
            text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
        for file in &known {
            let from = root().join(file);
            // Deleted and not yet committed.
            let Ok(bytes) = fs::read(&from) else { continue };
            write_if_changed(&dir.join(file), &bytes)?;
        }
        remove_others(&dir, &dir, &known)?;
        Ok(Self { dir, build })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Builds all mistakes in, each under its position in the list; those that do not compile are taken out
    /// again, and returned.
    ///
    /// # Errors
    /// When the copy does not compile for another reason.
    pub fn build_in(&self, candidates: &[Candidate]) -> Result<BTreeSet<u32>, Failed> {
        let mut out = BTreeSet::new();
        for _ in 0..ROUNDS {
            let built = self.write(candidates, &out)?;
            let errors = self.check()?;
            if errors.is_empty() {
                return Ok(out);
            }
            let before = out.len();
            for (file, range, message) in &errors {
                let sites = built.iter().filter(|(name, _)| name == file);
                let around = sites
                    .flat_map(|(_, sites)| sites)
                    .filter(|site| site.range.start <= range.start && range.end <= site.range.end)
                    .min_by_key(|site| site.range.len());
                match around {
                    Some(site) => out.extend(&site.numbers),
                    None if errors.len() == 1 => {
                        return Err(Failed(format!("{}: {message}", file.display())));
                    }
                    // It may follow from another one.
                    None => {}
                }
            }
            if out.len() == before {
                let (file, _, message) = &errors[0];
                return Err(Failed(format!("{}: {message}", file.display())));
            }
            eprintln!("{} mistakes do not compile and are left out", out.len());
        }
        Err(Failed(format!("after {ROUNDS} rounds there are still mistakes that do not compile")))
    }

    /// Writes the rewritten files.
    fn write(
        &self,
        candidates: &[Candidate],
        without: &BTreeSet<u32>,
    ) -> Result<Vec<(PathBuf, Vec<Built>)>, Failed> {
        let files: BTreeSet<&PathBuf> = candidates.iter().map(|it| &it.file).collect();
        let mut built = Vec::new();
        for file in files {
            let source = read(file)?;
            let all = sites(file)?;
            let mut chosen: Vec<(Site, Vec<u32>)> = Vec::new();
            for (n, site) in all.iter().enumerate() {
                let mut only = Site { mutants: Vec::new(), ..site.clone() };
                let mut numbers = Vec::new();
                for (number, candidate) in candidates.iter().enumerate() {
                    let number = u32::try_from(number).expect("fewer mistakes than bytes");
                    if candidate.file == *file && candidate.site == n && !without.contains(&number)
                    {
                        only.mutants.push(site.mutants[candidate.mutant].clone());
                        numbers.push(number);
                    }
                }
                if !numbers.is_empty() {
                    chosen.push((only, numbers));
                }
            }
            let chosen: Vec<_> =
                chosen.iter().map(|(site, numbers)| (site, numbers.clone())).collect();
            let rewritten = rewrite(&source, &chosen);
            write_if_changed(&self.dir.join(file), rewritten.text.as_bytes())?;
            let sites = chosen.into_iter().zip(rewritten.ranges);
            let sites = sites.map(|((_, numbers), range)| Built { numbers, range });
            built.push((file.clone(), sites.collect()));
        }
        let count = candidates.len().max(1);
        let switch = SWITCH.replace("COUNT", &count.to_string());
        write_if_changed(&self.dir.join("src/mutants.rs"), switch.as_bytes())?;
        let lib = read(Path::new("src/lib.rs"))? + "\n#[allow(missing_docs)]\npub mod mutants;\n";
        write_if_changed(&self.dir.join("src/lib.rs"), lib.as_bytes())?;
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

    /// Errors of the compiler: the file, the bytes of it and the message.
    fn check(&self) -> Result<Vec<(PathBuf, Range<usize>, String)>, Failed> {
        let (succeeded, messages) = self.messages(&["check", "--lib", "--features", "sim"])?;
        if succeeded {
            return Ok(Vec::new());
        }
        let errors = messages.iter().map(|it| &it["message"]).filter(|it| it["level"] == "error");
        let mut all = Vec::new();
        for error in errors {
            let spans = error["spans"].as_array().cloned().unwrap_or_default();
            for span in spans.iter().filter(|span| span["is_primary"] == true) {
                let number =
                    |name: &str| usize::try_from(span[name].as_u64().unwrap_or(0)).unwrap_or(0);
                let file = PathBuf::from(span["file_name"].as_str().unwrap_or_default());
                let text = error["rendered"].as_str().unwrap_or_default().to_owned();
                all.push((file, number("byte_start")..number("byte_end"), text));
            }
        }
        if all.is_empty() {
            return Err(Failed("the copy does not compile, and no error says where".to_owned()));
        }
        Ok(all)
    }

    /// Builds the tests.
    ///
    /// # Errors
    /// When they do not compile.
    pub fn build_tests(&self) -> Result<Binaries, Failed> {
        let (succeeded, messages) = self.messages(&["test", "--no-run"])?;
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
