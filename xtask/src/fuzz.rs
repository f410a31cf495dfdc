//! Fuzzing: runs every target for a given time, records the figures, and reduces the corpora.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, run};
use crate::project::root;
use crate::record::{Record, cannot};

/// Maximum number of files in a committed corpus.
const KEPT_FILES: usize = 200;
/// Maximum size of a committed corpus (bytes).
const KEPT_BYTES: u64 = 300 * 1024;
/// Prefix of inputs that once caused a failure; these are always kept.
const FOUND: &str = "found-";
/// Timeout of one input (seconds).
const INPUT_SECONDS: u32 = 20;
/// Memory limit of one input (MiB).
const INPUT_MEMORY: u32 = 2048;
/// Clock ticks in `/proc` (per second): the same on every Linux.
const TICKS: u64 = 100;
const NOTES: &str = "\
One process for each target, with the address sanitizer and debug assertions. Coverage is libFuzzer's `cov`:
edges of the control flow. Inputs collected are those of all runs so far.

| target | executions | per second | coverage | inputs collected | CPU seconds | findings |
| --- | --- | --- | --- | --- | --- | --- |
";

/// Options of a run.
pub struct Plan<'a> {
    /// Fuzzing time per target.
    pub seconds: u32,
    /// Only this target, if given.
    pub target: Option<&'a str>,
    /// Whether to replace the committed corpora with the reduced ones.
    pub keep: bool,
}

/// Result of fuzzing a target.
struct Outcome {
    target: String,
    executions: u64,
    per_second: u64,
    coverage: u64,
    corpus: usize,
    /// CPU time (seconds).
    cpu: u64,
    /// Inputs that caused a failure.
    findings: Vec<PathBuf>,
}

/// Parses the arguments after `fuzz`; `None` when they are invalid.
#[must_use]
pub fn plan<'a>(args: &[&'a str]) -> Option<Plan<'a>> {
    let mut plan = Plan { seconds: 60, target: None, keep: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--seconds" => {
                plan.seconds = args.next()?.parse().ok().filter(|seconds| *seconds > 0)?
            }
            "--keep" => plan.keep = true,
            target if !target.starts_with('-') && plan.target.is_none() => {
                plan.target = Some(target);
            }
            _ => return None,
        }
    }
    Some(plan)
}

/// Runs the fuzzer.
///
/// # Errors
/// When a prerequisite is missing, or a target failed.
pub fn fuzz(plan: &Plan<'_>) -> Result<(), Failed> {
    require()?;
    let targets = targets()?;
    let chosen: Vec<&String> =
        targets.iter().filter(|target| plan.target.is_none_or(|only| only == *target)).collect();
    if chosen.is_empty() {
        let known = targets.join(", ");
        return Err(Failed(format!("no such target; the targets are {known}")));
    }
    run(cargo_fuzz("build", &[]).args(plan.target))?;
    let outcomes: Result<Vec<_>, _> = chosen.iter().map(|name| one(name, plan)).collect();
    let outcomes = outcomes?;
    report(&outcomes, plan)?;
    if plan.keep {
        for target in chosen {
            keep(target)?;
        }
    }
    match outcomes.iter().map(|outcome| outcome.findings.len()).sum() {
        0 => Ok(()),
        count => Err(Failed(format!("{count} inputs caused a failure: {ADVICE}"))),
    }
}

const ADVICE: &str = "see above for each of them. Minimise it with `cargo +nightly fuzz tmin TARGET INPUT`, \
                      fix the bug, and keep the input as fuzz/corpus/TARGET/found-NAME";

/// Checks the prerequisites, with advice on how to install them.
fn require() -> Result<(), Failed> {
    let works = |command: &mut Command| command.output().is_ok_and(|done| done.status.success());
    if !works(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])) {
        let why = "fuzzing needs nightly Rust, which is missing; \
                   `rustup toolchain install nightly --profile minimal` installs it";
        return Err(Failed(why.to_owned()));
    }
    if !works(&mut cargo_fuzz("--version", &[])) {
        let why = "fuzzing needs cargo-fuzz, which is missing; \
                   `cargo install cargo-fuzz --locked` installs it (it needs a C++ compiler too)";
        return Err(Failed(why.to_owned()));
    }
    Ok(())
}

fn cargo_fuzz(command: &str, args: &[&str]) -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", "nightly", "cargo", "fuzz", command]).current_dir(root());
    if command != "--version" {
        cargo.arg("--target-dir").arg(built());
    }
    cargo.args(args);
    cargo
}

/// Target directory of the fuzzers, separate from that of builds with other flags.
fn built() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("fuzz")
}

/// Directory of the inputs collected while fuzzing: many more than are committed.
fn collected(target: &str) -> PathBuf {
    built().join("corpus").join(target)
}

fn kept(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Failed> {
    let entries = fs::read_dir(dir).map_err(cannot("read", dir))?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

fn targets() -> Result<Vec<String>, Failed> {
    let files = files(&root().join("fuzz/fuzz_targets"))?;
    let names = files.iter().filter_map(|file| file.file_stem()?.to_str());
    Ok(names.map(str::to_owned).collect())
}

/// Fuzzes a target, starting from the committed and the collected inputs.
fn one(target: &str, plan: &Plan<'_>) -> Result<Outcome, Failed> {
    let (collected, kept, seconds) = (collected(target), kept(target), plan.seconds);
    let artifacts = root().join("fuzz/artifacts").join(target);
    for dir in [&collected, &kept, &artifacts] {
        fs::create_dir_all(dir).map_err(cannot("create", dir))?;
    }
    eprintln!("\n{target}: {seconds} seconds");
    let before = files(&artifacts)?;
    let mut command = cargo_fuzz("run", &[target]);
    command.arg(&collected).arg(&kept).arg("--");
    command.args([format!("-max_total_time={seconds}"), "-print_final_stats=1".to_owned()]);
    command.args([format!("-timeout={INPUT_SECONDS}"), format!("-rss_limit_mb={INPUT_MEMORY}")]);
    let dictionary = root().join("fuzz/dictionaries").join(target);
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let cpu = cpu_of_children();
    let output = command.output().map_err(|error| Failed(format!("cannot run cargo: {error}")))?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut findings = files(&artifacts)?;
    findings.retain(|finding| !before.contains(finding));
    if !output.status.success() {
        let end: Vec<&str> = log.lines().rev().take(60).collect();
        end.iter().rev().for_each(|line| eprintln!("{line}"));
        if findings.is_empty() {
            return Err(Failed(format!(
                "{target} ended with {}; see its log above",
                output.status
            )));
        }
    }
    let outcome = Outcome {
        target: target.to_owned(),
        executions: figure(&log, "stat::number_of_executed_units:"),
        per_second: figure(&log, "stat::average_exec_per_sec:"),
        coverage: figure(&log, " cov:"),
        corpus: files(&collected)?.len(),
        cpu: (cpu_of_children() - cpu) / TICKS,
        findings,
    };
    eprintln!("{}", row(&outcome));
    Ok(outcome)
}

/// The number after the last occurrence of `words`; 0 when there is none.
fn figure(log: &str, words: &str) -> u64 {
    let last = log.rsplit_once(words).map_or("", |(_, rest)| rest).trim_start();
    let digits = last.bytes().take_while(u8::is_ascii_digit).count();
    last[..digits].parse().unwrap_or(0)
}

/// CPU time of all terminated children (ticks).
fn cpu_of_children() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses can contain any character.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let times = fields.split(' ').skip(13).take(2).map(|ticks| ticks.parse().unwrap_or(0));
    times.sum()
}

fn row(outcome: &Outcome) -> String {
    let Outcome { target, executions, per_second, coverage, corpus, cpu, findings } = outcome;
    let findings = findings.len();
    format!(
        "| {target} | {executions} | {per_second} | {coverage} | {corpus} | {cpu} | {findings} |"
    )
}

/// Prints the table, and records it when all targets ran.
fn report(outcomes: &[Outcome], plan: &Plan<'_>) -> Result<(), Failed> {
    let rows: String = outcomes.iter().map(|outcome| row(outcome) + "\n").collect();
    let text = format!("{NOTES}{rows}");
    eprintln!("\n{text}");
    for finding in outcomes.iter().flat_map(|outcome| &outcome.findings) {
        eprintln!("finding: {}", finding.display());
    }
    if plan.target.is_some() {
        return Ok(());
    }
    let command = format!("cargo xtask fuzz --seconds {}", plan.seconds);
    Record { name: "fuzz", title: "Fuzzing", command: &command, text: &text }.keep()
}

/// Replaces the committed corpus with the smallest inputs that cover what all collected inputs cover, up to
/// the limits, and the inputs that once caused a failure.
fn keep(target: &str) -> Result<(), Failed> {
    let (collected, kept) = (collected(target), kept(target));
    for input in files(&kept)? {
        let copy = collected.join(input.file_name().unwrap_or_default());
        fs::copy(&input, &copy).map_err(cannot("write", &copy))?;
    }
    let mut found = Vec::new();
    for input in files(&kept)? {
        if input.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOUND)) {
            found.push((fs::read(&input).map_err(cannot("read", &input))?, input));
        }
    }
    run(cargo_fuzz("cmin", &[target]).arg(&collected))?;
    let mut chosen = Vec::new();
    for input in files(&collected)? {
        chosen.push((fs::read(&input).map_err(cannot("read", &input))?, input));
    }
    chosen.sort_by_key(|(data, path)| (data.len(), path.clone()));
    fs::remove_dir_all(&kept).map_err(cannot("empty", &kept))?;
    fs::create_dir_all(&kept).map_err(cannot("create", &kept))?;
    let (mut count, mut bytes) = (0, 0);
    for (data, path) in found.iter().chain(&chosen) {
        bytes += data.len() as u64;
        if count == KEPT_FILES || bytes > KEPT_BYTES {
            break;
        }
        let copy = kept.join(path.file_name().unwrap_or_default());
        fs::write(&copy, data).map_err(cannot("write", &copy))?;
        count += 1;
    }
    eprintln!("{target}: {count} inputs kept");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_figure_of_a_log_is_used() {
        let log = "#1\tINITED cov: 5 ft: 6\n#9\tDONE   cov: 77 ft: 8 corp: 9/10b\nstat::x:  12\n";
        assert_eq!((figure(log, " cov:"), figure(log, "stat::x:")), (77, 12));
        assert_eq!(figure(log, "stat::y:"), 0);
    }

    #[test]
    fn cpu_time_of_children_increases() {
        let before = cpu_of_children();
        let mut busy = Command::new("bash");
        busy.args(["-c", "for ((n = 0; n < 200000; n++)); do :; done"]);
        assert!(busy.status().unwrap().success());
        assert!(cpu_of_children() > before);
    }

    #[test]
    fn arguments_are_parsed_and_invalid_ones_rejected() {
        let read =
            |args: &[&str]| plan(args).map(|plan| (plan.seconds, plan.target.map(str::to_owned)));
        assert_eq!(read(&[]), Some((60, None)));
        assert_eq!(read(&["--seconds", "5", "engine"]), Some((5, Some("engine".to_owned()))));
        for bad in [&["--seconds"][..], &["--seconds", "0"], &["a", "b"], &["--fast"]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
