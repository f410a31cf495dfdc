//! Output of an export: standard output, or a file that gets its name when it is complete.

#![expect(
    clippy::disallowed_methods,
    reason = "an export is written to standard output on request"
)]

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::OfflineError;
use crate::base::sys;

/// Size of the write buffer (bytes).
const PIECE: usize = 1 << 20;

/// An output that is being written. A file has a temporary name until [`Output::finish`], and is removed if
/// the output is dropped before that.
pub struct Output {
    writer: BufWriter<File>,
    file: Option<Unfinished>,
}

struct Unfinished {
    path: PathBuf,
    temporary: PathBuf,
    force: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // A failure cannot be handled here; after `finish` the temporary name does not exist any more.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Output {
    /// Returns standard output, unless that is a terminal.
    ///
    /// # Errors
    /// [`OfflineError::Terminal`]; [`OfflineError::Write`] if it is closed.
    pub fn stdout() -> Result<Self, OfflineError> {
        sys::open_at_start(1).map_err(|error| failed("standard output", error))?;
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(OfflineError::Terminal);
        }
        // `io::Stdout` is line-buffered: it would scan the tar for line ends.
        let stdout = stdout.as_fd().try_clone_to_owned();
        let stdout = stdout.map_err(|error| failed("standard output", error))?;
        Ok(Self { writer: BufWriter::with_capacity(PIECE, stdout.into()), file: None })
    }

    /// Creates a file that only its owner can read: a tar contains cookies. An existing file is replaced only
    /// with `force`, and only when the new one is complete.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn file(path: &Path, force: bool) -> Result<Self, OfflineError> {
        may_be_named(path, force)?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".tmp-{}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut options = File::options();
        let created = options.write(true).create_new(true).mode(0o600).open(&temporary);
        let file = created.map_err(|error| failed(temporary.display(), error))?;
        let unfinished = Unfinished { path: path.to_owned(), temporary, force };
        let writer = BufWriter::with_capacity(PIECE, file);
        Ok(Self { writer, file: Some(unfinished) })
    }

    /// Returns the name of the output in messages.
    #[must_use]
    pub fn name(&self) -> String {
        let file = self.file.as_ref().map(|file| file.path.display().to_string());
        file.unwrap_or_else(|| "standard output".to_owned())
    }

    /// Writes buffered bytes. A file is synced, gets its name, and its directory is synced.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn finish(mut self) -> Result<(), OfflineError> {
        let name = self.name();
        let failed = |error| failed(&name, error);
        self.writer.flush().map_err(failed)?;
        let Some(file) = &self.file else { return Ok(()) };
        self.writer.get_ref().sync_all().map_err(failed)?;
        may_be_named(&file.path, file.force)?;
        fs::rename(&file.temporary, &file.path).map_err(failed)?;
        let parent = match file.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn failed(what: impl ToString, error: io::Error) -> OfflineError {
    OfflineError::Write { what: what.to_string(), error }
}

fn may_be_named(path: &Path, force: bool) -> Result<(), OfflineError> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => Err(OfflineError::NotAFile { path: path.to_owned() }),
        Ok(_) if !force => Err(OfflineError::Exists { path: path.to_owned() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn output_file_appears_complete_and_replaces_only_with_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let mut output = Output::file(&path, false).unwrap();
        output.write_all(b"half").unwrap();
        assert!(!path.exists() && names(dir.path()).len() == 1);
        drop(output);
        assert!(names(dir.path()).is_empty(), "an unfinished file is removed");

        let mut output = Output::file(&path, false).unwrap();
        output.write_all(b"first").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let error = Output::file(&path, false).err().unwrap().to_string();
        assert!(error.ends_with("name another file, or replace it with --force"), "{error}");
        let mut output = Output::file(&path, true).unwrap();
        output.write_all(b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first", "until the new one is whole");
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(dir.path()), ["a.tar"]);
    }

    #[test]
    fn file_created_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        let output = Output::file(&path, false).unwrap();
        fs::write(&path, "another's").unwrap();
        assert!(matches!(output.finish(), Err(OfflineError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        assert_eq!(names(dir.path()), ["a.tar"]);
    }

    #[test]
    fn device_is_never_replaced() {
        for force in [false, true] {
            let error = Output::file(Path::new("/dev/null"), force).err().unwrap();
            assert!(matches!(error, OfflineError::NotAFile { .. }), "{error}");
        }
    }
}
