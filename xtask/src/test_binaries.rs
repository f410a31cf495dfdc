//! The test binaries of the workspace: builds them, and runs as many at a time as there are cores, because
//! many of them wait more than they compute.

use std::collections::VecDeque;
use std::io::{BufReader, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;

use serde::Deserialize;

use crate::process::{Failed, announce};
use crate::project::{cargo, root};

/// Tests of this package that take longest. They begin first, so that the last ones are short.
const LONGEST: [&str; 7] =
    ["volume", "hostile", "contract", "tidy", "parity", "nginx", "smuggling"];

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestBinary {
    /// Path of its source, relative to the root of the project.
    pub name: String,
    /// Path of the binary.
    path: PathBuf,
    /// Directory of its package, in which it runs.
    dir: PathBuf,
    /// Its arguments.
    args: Vec<String>,
    /// Variables of its environment, besides those of this process.
    variables: Vec<(String, String)>,
}

impl TestBinary {
    /// The same binary with other arguments.
    #[must_use]
    pub fn with_args(&self, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { args, ..self.clone() }
    }
}

/// A test binary that has ended.
pub struct Ended {
    /// Path of its source.
    pub name: String,
    /// Everything that it printed.
    pub output: Vec<u8>,
    /// How it ended, or why it did not begin.
    pub status: Result<ExitStatus, std::io::Error>,
}

/// A line of cargo's output in JSON. Only what is needed: see "Artifact Messages" in the Cargo Book.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<MessageTarget>,
    profile: Option<MessageProfile>,
}

#[derive(Deserialize)]
struct MessageTarget {
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct MessageProfile {
    test: bool,
}

/// Builds all test binaries of the workspace, and returns them in the order in which they are to begin.
///
/// # Errors
/// When the build fails.
pub fn build() -> Result<Vec<TestBinary>, Failed> {
    build_these(&["--workspace"], &[])
}

/// Builds the test binaries that `which`, arguments of cargo, selects. Variables are added to the environment
/// of the build, and of the binaries.
///
/// # Errors
/// When the build fails.
pub fn build_these(
    which: &[&str],
    variables: &[(String, String)],
) -> Result<Vec<TestBinary>, Failed> {
    let mut command = cargo(&["test", "--locked", "--no-run"]);
    command.args(which).envs(variables.iter().map(|(name, value)| (name, value)));
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let line = announce(&command);
    let output = command.output();
    let output = output.map_err(|error| Failed(format!("`{line}` cannot be started: {error}")))?;
    if !output.status.success() {
        return Err(Failed(format!("`{line}` failed: {}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut binaries: Vec<TestBinary> = text.lines().filter_map(test_binary).collect();
    for binary in &mut binaries {
        binary.variables = variables.to_vec();
    }
    if binaries.is_empty() {
        return Err(Failed(format!("`{line}` names no test binary")));
    }
    binaries.sort_by_key(|binary| (rank(&binary.name), binary.name.clone()));
    Ok(binaries)
}

fn test_binary(line: &str) -> Option<TestBinary> {
    let message: Message = serde_json::from_str(line).ok()?;
    let (target, manifest) = (message.target?, message.manifest_path?);
    if !message.profile?.test {
        return None;
    }
    let name = target.src_path.strip_prefix(root()).unwrap_or(&target.src_path);
    Some(TestBinary {
        name: name.display().to_string(),
        path: message.executable?,
        dir: manifest.parent()?.to_owned(),
        args: Vec::new(),
        variables: Vec::new(),
    })
}

fn rank(name: &str) -> usize {
    let name = name_of(Path::new(name));
    LONGEST.iter().position(|long| Some(*long) == name).unwrap_or(LONGEST.len())
}

/// Name of the binary of tests whose source this is: `tests/NAME.rs`, or `tests/NAME/main.rs`. `None` if it
/// is part of another one, or no test.
#[must_use]
pub fn name_of(source: &Path) -> Option<&str> {
    let name = source.strip_prefix("tests").ok()?.to_str()?;
    let name = name.strip_suffix("/main.rs").or_else(|| name.strip_suffix(".rs"))?;
    (!name.contains('/')).then_some(name)
}

/// Runs the binaries, as many at a time as there are cores, and calls `ended` after each.
pub fn run(binaries: &[TestBinary], ended: impl FnMut(Ended)) {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    run_at_once(binaries, at_once, ended);
}

fn run_at_once(binaries: &[TestBinary], at_once: usize, mut ended: impl FnMut(Ended)) {
    let queue: Mutex<VecDeque<&TestBinary>> = Mutex::new(binaries.iter().collect());
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..at_once {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || {
                let next = || queue.lock().expect("no worker panics with the lock").pop_front();
                while let Some(binary) = next() {
                    eprintln!("begin {}", binary.name);
                    let (output, status) = run_one(binary);
                    let name = binary.name.clone();
                    if sender.send(Ended { name, output, status }).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        receiver.into_iter().for_each(&mut ended);
    });
}

/// Runs one binary. Both streams go into one pipe, which keeps their lines in order.
fn run_one(binary: &TestBinary) -> (Vec<u8>, std::io::Result<ExitStatus>) {
    let TestBinary { path, dir, args, variables, .. } = binary;
    let mut output = Vec::new();
    let mut run = || {
        let (reader, writer) = std::io::pipe()?;
        let mut command = Command::new(path);
        // As cargo sets it for the package.
        command.args(args).current_dir(dir).env("CARGO_MANIFEST_DIR", dir);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
        // The command holds the writing end, without which the reader would never see the end.
        drop(command);
        BufReader::new(reader).read_to_end(&mut output)?;
        child.wait()
    };
    let status = run();
    (output, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(src: &str, is_test: bool) -> String {
        let root = root();
        let root = root.display();
        format!(
            r#"{{"reason":"compiler-artifact","manifest_path":"{root}/Cargo.toml","target":{{"kind":["test"],
            "src_path":"{root}/{src}"}},"profile":{{"test":{is_test}}},"executable":"{root}/target/x"}}"#
        )
        .replace('\n', "")
    }

    #[test]
    fn test_binaries_are_parsed_from_the_messages_of_cargo() {
        let binary = test_binary(&artifact("tests/volume/main.rs", true)).unwrap();
        assert_eq!(binary.name, "tests/volume/main.rs");
        assert_eq!((binary.path, binary.dir), (root().join("target/x"), root().to_owned()));
        assert_eq!(test_binary(&artifact("src/main.rs", false)), None);
        assert_eq!(test_binary(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(test_binary("noise"), None);
    }

    #[test]
    fn the_longest_tests_begin_first() {
        assert_eq!(rank("tests/volume/main.rs"), 0);
        assert!(rank("tests/hostile.rs") < rank("tests/volumes.rs"));
        assert_eq!(rank("tools/loadgen/tests/hostile.rs"), LONGEST.len());
        let tests = root().join("tests");
        let exists = |file: String| tests.join(file).exists();
        for long in LONGEST {
            assert!(exists(format!("{long}.rs")) || exists(format!("{long}/main.rs")), "{long}");
        }
        let name = |source| name_of(Path::new(source));
        assert_eq!(name("tests/crash.rs"), Some("crash"));
        assert_eq!(name("tests/volume/crash.rs"), None);
        assert_eq!(name("src/main.rs"), None);
    }

    #[test]
    fn every_binary_runs_once_with_its_output_in_order() {
        let binary = |name: &str, path: &str| TestBinary {
            name: name.to_owned(),
            path: path.into(),
            dir: "/".into(),
            args: Vec::new(),
            variables: Vec::new(),
        };
        let binaries =
            [binary("a", "/bin/pwd"), binary("b", "/nonexistent"), binary("c", "/bin/false")];
        let mut seen = Vec::new();
        run_at_once(&binaries, 2, |ended| {
            let status = ended.status.map(|status| status.success()).ok();
            seen.push((ended.name, String::from_utf8(ended.output).unwrap(), status));
        });
        seen.sort();
        let expected = [("a", "/\n", Some(true)), ("b", "", None), ("c", "", Some(false))];
        let expected = expected.map(|(name, output, is)| (name.to_owned(), output.to_owned(), is));
        assert_eq!(seen, expected);
    }
}
