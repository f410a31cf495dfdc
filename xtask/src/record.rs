//! What a command measured, with when, where and of what: `bench/results/`.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use crate::process::Failed;
use crate::project::root;

/// What makes an error of the file system one of a command.
pub fn cannot<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Failed + 'a {
    move |error| Failed(format!("cannot {what} {}: {error}", path.display()))
}

fn output_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(root()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().trim().to_owned()
}

/// What was measured.
pub struct Record<'a> {
    /// Name of the file, without `.md`.
    pub name: &'a str,
    /// Its heading.
    pub title: &'a str,
    /// The command that measured it.
    pub command: &'a str,
    /// How it was measured, then the figures.
    pub text: &'a str,
}

impl Record<'_> {
    /// Writes it, in place of the last one of the day.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self) -> Result<(), Failed> {
        let Self { name, title, command, text } = self;
        let (day, kernel) = (output_of("date", &["-u", "+%F"]), output_of("uname", &["-r"]));
        let (cores, commit) =
            (output_of("nproc", &[]), output_of("git", &["rev-parse", "--short", "HEAD"]));
        let short = kernel.split('-').next().unwrap_or_default();
        let dir = root().join(format!("bench/results/{day}-{short}-{cores}-cores"));
        fs::create_dir_all(&dir).map_err(cannot("make", &dir))?;
        let path = dir.join(format!("{name}.md"));
        let head =
            format!("# {title}\n\n`{command}`, {day}, {commit}, {cores} cores, Linux {kernel}.\n");
        fs::write(&path, head + text).map_err(cannot("write", &path))?;
        eprintln!("recorded in {}", path.display());
        Ok(())
    }
}
