//! Records of measurements in `bench/results/`, with date, machine and commit.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::process::Failed;
use crate::project::root;

/// Returns a function that converts an error of a file operation to the error of a command.
pub fn cannot<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Failed + 'a {
    move |error| Failed(format!("cannot {what} {}: {error}", path.display()))
}

fn output_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(root()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().trim().to_owned()
}

/// Short hash of the commit of the sources.
#[must_use]
pub fn commit() -> String {
    output_of("git", &["rev-parse", "--short", "HEAD"])
}

/// Directory for the results of this day and machine.
#[must_use]
pub fn results_dir() -> PathBuf {
    let (day, kernel) = (output_of("date", &["-u", "+%F"]), output_of("uname", &["-r"]));
    let short = kernel.split('-').next().unwrap_or_default();
    root().join(format!("bench/results/{day}-{short}-{}-cores", output_of("nproc", &[])))
}

/// A measurement to record.
pub struct Record<'a> {
    /// Name of the file, without `.md`.
    pub name: &'a str,
    /// Heading of the file.
    pub title: &'a str,
    /// Command line of the measurement.
    pub command: &'a str,
    /// Description and figures, in Markdown.
    pub text: &'a str,
}

impl Record<'_> {
    /// Writes the file, replacing one of the same day.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self) -> Result<(), Failed> {
        self.keep_in(&results_dir())
    }

    /// Writes the file into `dir`, replacing one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_in(&self, dir: &Path) -> Result<(), Failed> {
        let Self { name, title, command, text } = self;
        let (day, kernel) = (output_of("date", &["-u", "+%F"]), output_of("uname", &["-r"]));
        let (cores, commit) = (output_of("nproc", &[]), commit());
        fs::create_dir_all(dir).map_err(cannot("create", dir))?;
        let path = dir.join(format!("{name}.md"));
        let head =
            format!("# {title}\n\n`{command}`, {day}, {commit}, {cores} cores, Linux {kernel}.\n");
        fs::write(&path, head + text).map_err(cannot("write", &path))?;
        eprintln!("recorded in {}", path.display());
        Ok(())
    }
}
