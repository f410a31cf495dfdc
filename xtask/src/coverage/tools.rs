//! The programs that measure: cargo-llvm-cov, and the llvm-tools of the toolchain.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{Failed, printed_by, run};
use crate::project::{cargo, target};
use crate::record::cannot;

/// Variables of an environment.
pub type Variables = Vec<(String, String)>;

/// Name of the profiles: processes add to one of four for each binary, so that their number does not grow
/// with that of the processes.
const PROFILES: &str = "hayloft-%4m.profraw";

/// Target directory, separate from that of builds with other flags.
fn built() -> PathBuf {
    target().join("coverage")
}

fn llvm_cov(args: &[&str]) -> Command {
    let mut command = cargo(&["llvm-cov"]);
    command.args(args).env("CARGO_TARGET_DIR", built()).env("CARGO_LLVM_COV_SETUP", "no");
    command.env("LLVM_PROFILE_FILE_NAME", PROFILES);
    command
}

/// Checks that the programs are there.
///
/// # Errors
/// If one is missing; says how to install it.
pub fn require() -> Result<(), Failed> {
    let works = |command: &mut Command| command.output().is_ok_and(|done| done.status.success());
    if !works(&mut llvm_cov(&["--version"])) {
        let why = "coverage needs cargo-llvm-cov, which is missing; \
                   `cargo install cargo-llvm-cov --locked` installs it";
        return Err(Failed(why.to_owned()));
    }
    let named = ["LLVM_COV", "LLVM_PROFDATA"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let tools = match named {
        [Some(cov), Some(profdata)] => [cov, profdata],
        _ => {
            let lib = printed_by(Command::new("rustc").args(["--print", "target-libdir"]))?;
            let bin = PathBuf::from(lib.trim()).with_file_name("bin");
            [bin.join("llvm-cov"), bin.join("llvm-profdata")]
        }
    };
    match tools.iter().find(|tool| !tool.is_file()) {
        None => Ok(()),
        Some(missing) => Err(Failed(format!(
            "coverage needs the llvm-tools of this toolchain: {} is missing; \
             `rustup component add llvm-tools` installs it. Without rustup, name programs of the same \
             version of LLVM in LLVM_COV and LLVM_PROFDATA",
            missing.display()
        ))),
    }
}

/// The environment in which cargo builds with counters, and in which programs write their profiles.
///
/// # Errors
/// If cargo-llvm-cov fails.
pub fn environment() -> Result<Variables, Failed> {
    let dir = built();
    fs::create_dir_all(&dir).map_err(cannot("create", &dir))?;
    // Some tests run the daemon as another user.
    let everyone = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(&dir, everyone).map_err(cannot("change the mode of", &dir))?;
    let printed = printed_by(&mut llvm_cov(&["show-env", "--branch", "--no-cfg-coverage"]))?;
    let mut variables = parse(&printed);
    variables.push(("CARGO_TARGET_DIR".to_owned(), dir.display().to_string()));
    // Nobody debugs it.
    variables.push(("CARGO_PROFILE_DEV_DEBUG".to_owned(), "0".to_owned()));
    // The counts of single conditions are not stable in rustc yet.
    variables.push(("RUSTC_BOOTSTRAP".to_owned(), "1".to_owned()));
    Ok(variables)
}

/// Parses lines `NAME=VALUE`, where the value may be in single quotes, as for a shell.
fn parse(printed: &str) -> Variables {
    let variables = printed.lines().filter_map(|line| line.split_once('='));
    let unquoted = |value: &str| match value.strip_prefix('\'').and_then(|it| it.strip_suffix('\''))
    {
        Some(inside) => inside.replace(r"'\''", "'"),
        None => value.to_owned(),
    };
    variables.map(|(name, value)| (name.to_owned(), unquoted(value))).collect()
}

/// Removes the profiles of earlier runs.
///
/// # Errors
/// If one cannot be removed.
pub fn remove_profiles() -> Result<(), Failed> {
    let dir = built();
    for entry in fs::read_dir(&dir).map_err(cannot("read", &dir))? {
        let path = entry.map_err(cannot("read", &dir))?.path();
        if path.extension().is_some_and(|it| it == "profraw" || it == "profdata") {
            fs::remove_file(&path).map_err(cannot("remove", &path))?;
        }
    }
    Ok(())
}

/// Exports all counts as JSON.
///
/// # Errors
/// If cargo-llvm-cov fails.
pub fn export(variables: &Variables) -> Result<String, Failed> {
    let file = built().join("coverage.json");
    let mut report = llvm_cov(&["report", "--json", "--output-path"]);
    run(report.arg(&file).envs(variables.iter().map(|(name, value)| (name, value))))?;
    fs::read_to_string(&file).map_err(cannot("read", &file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_parsed_with_and_without_quotes() {
        let printed = "A=b\nC='d e'\nF='g'\\''h'\nnoise\n";
        let expected = [("A", "b"), ("C", "d e"), ("F", "g'h")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(printed), expected);
    }
}
