//! Hashes of the sources and tests, which decide what results of earlier runs still hold.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;

use super::tree::known_files;
use super::without_tests::without_tests;
use crate::process::Failed;
use crate::project::root;
use crate::test_binaries::name_of;

/// Hashes of the sources and tests.
pub struct SourceHashes {
    /// All sources without their tests: determines the mistakes and the coverage of a test.
    product: u64,
    /// All sources with their tests.
    lib: u64,
    /// Modules shared by the tests in `tests/`.
    shared: u64,
    /// Each file of tests in `tests/`, by the name of its binary.
    binaries: BTreeMap<String, u64>,
    /// The binaries whose tests are run; all if empty.
    tests: Vec<String>,
}

impl SourceHashes {
    /// Hash of all sources without their tests.
    pub(super) fn product(&self) -> u64 {
        self.product
    }

    /// Reads the sources. `tests` are the binaries whose tests are run.
    ///
    /// # Errors
    /// If a file cannot be read or is not valid Rust.
    pub fn of_sources(tests: &[String]) -> Result<Self, Failed> {
        let (mut product, mut lib, mut shared) =
            (DefaultHasher::new(), DefaultHasher::new(), DefaultHasher::new());
        let mut binaries = BTreeMap::new();
        // The code that determines the mistakes and their numbers.
        for source in [
            include_str!("site.rs"),
            include_str!("sites.rs"),
            include_str!("without_tests.rs"),
            include_str!("../syntax.rs"),
        ] {
            without_tests(source).unwrap_or_default().hash(&mut product);
        }
        for file in known_files()? {
            let Ok(bytes) = fs::read(root().join(&file)) else { continue };
            let is_rust = file.extension().is_some_and(|it| it == "rs");
            if file.starts_with("src") && is_rust {
                (&file, &bytes).hash(&mut lib);
                if !is_of_tests(&file) {
                    let text = without_tests(&String::from_utf8_lossy(&bytes))
                        .map_err(|error| Failed(format!("{}: {error}", file.display())))?;
                    let lines = text.lines().filter(|line| !line.trim().is_empty());
                    (&file, lines.collect::<Vec<_>>()).hash(&mut product);
                }
            } else if file.starts_with("tests") {
                match name_of(&file) {
                    Some(name) => {
                        let mut sum = DefaultHasher::new();
                        bytes.hash(&mut sum);
                        binaries.insert(name.to_owned(), sum.finish());
                    }
                    None => (&file, &bytes).hash(&mut shared),
                }
            } else if file == Path::new("Cargo.lock") || file == Path::new("Cargo.toml") {
                bytes.hash(&mut product);
            }
        }
        let product = product.finish();
        product.hash(&mut lib);
        Ok(Self {
            product,
            lib: lib.finish(),
            shared: shared.finish(),
            binaries,
            tests: tests.to_vec(),
        })
    }

    /// Hash of everything that determines the coverage of the tests of a binary.
    pub(super) fn of_binary(&self, binary: &str) -> u64 {
        if binary == "lib" {
            return self.lib;
        }
        let mut sum = DefaultHasher::new();
        (self.product, self.shared, self.binaries.get(binary)).hash(&mut sum);
        sum.finish()
    }

    /// Hash of all sources and tests.
    pub(super) fn of_all(&self) -> u64 {
        let mut sum = DefaultHasher::new();
        (self.lib, self.shared, &self.binaries, &self.tests).hash(&mut sum);
        sum.finish()
    }
}

fn is_of_tests(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| stem == "tests")
        || file.components().any(|part| part.as_os_str() == "tests")
}
