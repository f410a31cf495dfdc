//! Cost of a volume's index: runs `bench/index` and records the result.

use crate::process::{Failed, run};
use crate::project::cargo;
use crate::record::Record;

/// Default number of needles.
const ENTRIES: &str = "10M";

/// Measures the index with a number of needles (`--entries 10M`), and records the figures.
///
/// # Errors
/// When it cannot be built, run or recorded.
pub fn index_bench(flags: &[&str]) -> Result<(), Failed> {
    let entries = match flags {
        [] => ENTRIES,
        ["--entries", entries] => entries,
        _ => return Err(Failed("the only flag is --entries N, for instance 10M".to_owned())),
    };
    let package = ["--release", "--locked", "--package", "hayloft-index-bench"];
    run(cargo(&["build"]).args(package))?;
    let mut bench = cargo(&["run", "--quiet"]);
    let output = bench.args(package).args(["--", "--entries", entries]).output();
    let output = output.map_err(|error| Failed(format!("cargo cannot be started: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}");
    if !output.status.success() {
        return Err(Failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let command = format!("cargo xtask index-bench --entries {entries}");
    let name = if entries == ENTRIES { "index".to_owned() } else { format!("index-{entries}") };
    Record { name: &name, title: "The index", command: &command, text: &text }.keep()
}
