//! Programs that are run, and what failed.

use std::process::{Command, Stdio};

/// Something that must work did not.
#[derive(Debug)]
pub struct Failed(pub String);

/// Shows a command that is about to run, and returns how it is written in a shell.
pub fn announce(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let line = words.join(" ");
    eprintln!("\n$ {line}");
    line
}

/// Runs a command that must succeed, showing it first.
///
/// # Errors
/// When it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<(), Failed> {
    let line = announce(command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed(format!("`{line}` failed: {status}"))),
        Err(error) => Err(Failed(format!("`{line}` cannot be started: {error}"))),
    }
}

/// The standard output of a command that must succeed, showing the command first.
///
/// # Errors
/// When it cannot be started or fails; its output is part of the message.
pub fn printed_by(command: &mut Command) -> Result<String, Failed> {
    let line = announce(command);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| Failed(format!("`{line}` cannot be started: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(Failed(format!("{text}\n`{line}` failed: {}", output.status)))
}
