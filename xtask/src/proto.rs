//! The Rust code of the cluster protocol, which is generated from `proto/proto/`. The result is checked in,
//! so that a build needs no compiler of such files. The generator takes a minute to build: it is behind a
//! feature, with which `cargo xtask proto` runs this program again. A list of checksums tells whether the
//! result is that of the files.

use std::fs;

use xxhash_rust::xxh3::xxh3_64;

use crate::process::Failed;
use crate::project::root;
use crate::record::cannot;

/// Files of the protocol, below `proto/proto`.
const FILES: [&str; 2] = ["master.proto", "volume_server.proto"];
/// Packages of the protocol: one generated file each, below `proto/src`.
const PACKAGES: [&str; 2] = ["master_pb", "volume_server_pb"];
/// List of the checksums, below `proto`.
const SUMS: &str = "generated.txt";

/// Generates the code, and the list of checksums.
///
/// # Errors
/// When a file of the protocol is wrong, or a result cannot be written.
pub fn proto() -> Result<(), Failed> {
    generate()?;
    let path = root().join("proto").join(SUMS);
    fs::write(&path, sums()?).map_err(cannot("write", &path))
}

#[cfg(feature = "proto")]
fn generate() -> Result<(), Failed> {
    let (sources, out) = (root().join("proto/proto"), root().join("proto/src"));
    let files = FILES.map(|file| sources.join(file));
    let described = protox::compile(files, [&sources]);
    let described = described.map_err(|error| Failed(format!("cannot compile: {error}")))?;
    let builder = tonic_prost_build::configure().out_dir(&out).emit_rerun_if_changed(false);
    // A service of a node has the calls that it offers; the others are answered with UNIMPLEMENTED.
    let builder = builder.generate_default_stubs(true);
    let written = builder.compile_fds(described);
    written.map_err(|error| Failed(format!("cannot generate code in {}: {error}", out.display())))
}

#[cfg(not(feature = "proto"))]
fn generate() -> Result<(), Failed> {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--package", "xtask", "--features", "proto", "--", "proto"]);
    let status = cargo.current_dir(root()).status();
    let status = status.map_err(|error| Failed(format!("cargo cannot be started: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failed("nothing was generated".to_owned())) }
}

/// The checksums of the files of the protocol and of the generated ones, a line each.
fn sums() -> Result<String, Failed> {
    let sources = FILES.iter().map(|file| format!("proto/{file}"));
    let generated = PACKAGES.iter().map(|package| format!("src/{package}.rs"));
    let mut sums = String::new();
    for file in sources.chain(generated) {
        let path = root().join("proto").join(&file);
        let bytes = fs::read(&path).map_err(cannot("read", &path))?;
        sums += &format!("{:016x} {file}\n", xxh3_64(&bytes));
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_code_is_up_to_date() {
        let sums = sums().unwrap_or_else(|Failed(why)| panic!("{why}"));
        let kept = fs::read_to_string(root().join("proto").join(SUMS)).unwrap_or_default();
        assert_eq!(kept, sums, "proto/src is out of date; run cargo xtask proto");
    }
}
