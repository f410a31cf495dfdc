//! Records of a data directory that are files of JSON: read as a whole, and replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest file that is read (bytes): 10,000 volumes with much to say about each.
const BYTES_MAX: u64 = 64 << 20;

/// Reads a file; `None` if there is none.
///
/// # Errors
/// The kernel's, or that the file does not hold such a value.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => drop(file.take(BYTES_MAX).read_to_string(&mut text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(Some(serde_json::from_str(&text)?))
}

/// Writes a file of a directory, durably. After a crash there is the old one or the new one. `temporary`: its
/// name while it is being written.
///
/// # Errors
/// The kernel's.
pub(super) fn write(
    value: &impl Serialize,
    directory: &Path,
    name: &str,
    temporary: &str,
) -> io::Result<()> {
    let temporary = directory.join(temporary);
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(name))?;
    File::open(directory)?.sync_all()
}
