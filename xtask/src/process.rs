//! Runs child processes, and the error type of the commands.

use std::process::{Command, Stdio};

/// Failure of a command: the message.
#[derive(Debug)]
pub struct Failed(pub String);

/// Prints a command that is about to run; returns its shell form.
pub fn announce(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let line = words.join(" ");
    eprintln!("\n$ {line}");
    line
}

/// Prints and runs a command, which must succeed.
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

/// Prints and runs a command, which must succeed; returns its standard output.
///
/// # Errors
/// When it cannot be started or fails; the message includes its output.
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
