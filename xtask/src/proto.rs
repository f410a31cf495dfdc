//! Generates the Rust code of the cluster protocol from `proto/proto/`. The result is checked in, so that a
//! build needs no compiler of such files, and a test says when it is out of date.

use std::path::{Path, PathBuf};

use crate::process::Failed;
use crate::project::root;

/// Files of the protocol, below `proto/proto`.
const FILES: [&str; 2] = ["master.proto", "volume_server.proto"];
/// Packages of the protocol: one generated file each.
const PACKAGES: [&str; 2] = ["master_pb", "volume_server_pb"];

/// Generates the code into `proto/src`.
///
/// # Errors
/// When a file of the protocol is wrong, or a result cannot be written.
pub fn proto() -> Result<(), Failed> {
    generate(&generated())
}

/// Directory of the generated files.
fn generated() -> PathBuf {
    root().join("proto/src")
}

/// Generates the code into `dir`.
fn generate(dir: &Path) -> Result<(), Failed> {
    let sources = root().join("proto/proto");
    let files = FILES.map(|file| sources.join(file));
    let described = protox::compile(files, [&sources]);
    let described = described.map_err(|error| Failed(format!("cannot compile: {error}")))?;
    let builder = tonic_prost_build::configure().out_dir(dir).emit_rerun_if_changed(false);
    // A service of a node has the calls that it offers; the others are answered with UNIMPLEMENTED.
    let builder = builder.generate_default_stubs(true);
    let written = builder.compile_fds(described);
    written.map_err(|error| Failed(format!("cannot generate code in {}: {error}", dir.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_code_is_up_to_date() {
        let dir = std::env::temp_dir().join(format!("hayloft-proto-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        generate(&dir).unwrap_or_else(|Failed(why)| panic!("{why}"));
        let read = |dir: &Path, package: &str| {
            std::fs::read_to_string(dir.join(format!("{package}.rs"))).unwrap_or_default()
        };
        for package in PACKAGES {
            let (new, kept) = (read(&dir, package), read(&generated(), package));
            assert!(!new.is_empty(), "{package} is generated");
            assert!(new == kept, "proto/src/{package}.rs is out of date; run cargo xtask proto");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
