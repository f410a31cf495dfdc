//! Tests of the errors when the command cannot run. With a test here, the command is built together with all
//! other tests; building it alone would compile its libraries again with other features.

use std::process::{Command, Output};

fn powercut(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_powercut")).args(args).output().unwrap()
}

#[test]
fn missing_options_are_named() {
    let output = powercut(&["--dir", "nowhere"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--daemon <PROGRAM>"), "{text}");
}

#[test]
fn a_missing_program_is_an_error() {
    let dir = std::env::temp_dir().join(format!("powercut-usage-{}", std::process::id()));
    let dir = dir.to_str().unwrap();
    let output = powercut(&["--daemon", "/nonexistent/hayloft", "--dir", dir, "--short"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.starts_with("powercut: "), "{text}");
    let _ = std::fs::remove_dir_all(dir);
}
