//! A child process that opens a data directory.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::DataDir;

/// Environment variable with the directory that the child process opens.
const CHILD_DIRECTORY: &str = "HAYLOFT_TEST_DATADIR";
/// Prefix that distinguishes the output of the child from that of the test harness.
const CHILD_SAYS: &str = "child-says: ";

/// Not a test: the code of the process that [`spawn_opener`] starts. Opens the directory, prints the result,
/// and keeps it open until the end of its standard input.
#[test]
#[ignore = "helper process of the tests beside it, which run it themselves"]
fn child_process() {
    let Some(path) = std::env::var_os(CHILD_DIRECTORY) else {
        return; // run by hand, with --include-ignored
    };
    let opened = DataDir::open(Path::new(&path), true);
    match &opened {
        Ok(directory) => println!("\n{CHILD_SAYS}opened {}", directory.store_id()),
        Err(error) => println!("\n{CHILD_SAYS}{error}"),
    }
    let _ = std::io::stdin().read(&mut [0]);
    drop(opened);
}

/// A child process that opened, or failed to open, a data directory.
pub(super) struct Opener {
    pub(super) process: Child,
    /// Standard input of the process: closing it ends the process normally.
    pub(super) stdin: Option<ChildStdin>,
    /// Kept open, since the test harness of the child prints until its end.
    _stdout: BufReader<ChildStdout>,
    /// Output of the child: `opened` with the store id, or the error.
    pub(super) said: String,
}

pub(super) fn spawn_opener(path: &Path, executable: &Path, uid: Option<u32>) -> Opener {
    let module = module_path!().split_once("::").unwrap().1;
    let mut command = Command::new(executable);
    command
        .args(["--ignored", "--exact", "--nocapture"])
        .arg(format!("{module}::child_process"))
        .env(CHILD_DIRECTORY, path)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    let mut process = command.spawn().expect("the test can run itself");
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let said = stdout
        .by_ref()
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(CHILD_SAYS).map(str::to_owned))
        .expect("the child says how opening went");
    let stdin = process.stdin.take();
    Opener { process, stdin, _stdout: stdout, said }
}

pub(super) fn spawn_same_user(path: &Path) -> Opener {
    spawn_opener(path, &std::env::current_exe().unwrap(), None)
}

impl Drop for Opener {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.process.wait();
    }
}
