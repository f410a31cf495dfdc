//! Writes the objects as files in directories, for nginx.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::content::{Content, PIECE};
use crate::error::Error;
use crate::object::{Object, Objects};
use crate::target::file_path;

/// Result of a fill.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Written {
    /// Number of files.
    pub files: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// Elapsed time, including the sync.
    pub seconds: f64,
}

/// Writes objects `first..end` below `dir` with `threads` threads, and syncs the file systems.
///
/// # Errors
/// When a file cannot be written.
pub fn fill(
    dir: &Path,
    objects: &Objects,
    content: &Arc<Content>,
    first: u64,
    end: u64,
    threads: usize,
) -> Result<Written, Error> {
    let began = Instant::now();
    let (next, bytes) = (AtomicU64::new(first), AtomicU64::new(0));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= end {
                return Ok(());
            }
            let object = objects.get(index);
            write(dir, content, &object)?;
            bytes.fetch_add(object.size, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a fill thread panicked"))
    })?;
    nix::unistd::sync();
    let bytes = bytes.into_inner();
    Ok(Written { files: end - first, bytes, seconds: began.elapsed().as_secs_f64() })
}

fn write(dir: &Path, content: &Content, object: &Object) -> Result<(), Error> {
    let source = content.source(object, 0);
    let mut data = vec![0; usize::try_from(object.size).expect("usize has 64 bits")];
    for (n, piece) in data.chunks_mut(PIECE).enumerate() {
        content.write(&source, (n * PIECE) as u64, piece);
    }
    let path = dir.join(file_path(object));
    match std::fs::write(&path, &data) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        written => return written.map_err(Error::file("write", &path)),
    }
    // The directory does not exist yet.
    let parent = path.parent().expect("the path has two directories");
    std::fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    std::fs::write(&path, &data).map_err(Error::file("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Keys;
    use crate::sizes::Sizes;

    #[test]
    fn every_object_becomes_a_file_with_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = Sizes::Fixed(100_000);
        let objects = Objects { seed: 4, keys: Keys::Random, alts: 2, volumes: vec![1], sizes };
        let content = Arc::new(Content::new());
        let written = fill(dir.path(), &objects, &content, 10, 30, 2).unwrap();
        assert_eq!((written.files, written.bytes), (20, 2_000_000));
        for index in 10..30 {
            let object = objects.get(index);
            let bytes = std::fs::read(dir.path().join(file_path(&object))).unwrap();
            assert_eq!(bytes.len(), 100_000);
            assert!(content.matches(&content.source(&object, 0), 0, &bytes));
        }
        assert!(!dir.path().join(file_path(&objects.get(30))).exists());
    }

    #[test]
    fn a_directory_that_cannot_be_created_is_an_error() {
        let dir = tempfile::NamedTempFile::new().unwrap();
        let sizes = Sizes::Fixed(1);
        let objects = Objects { seed: 4, keys: Keys::Random, alts: 1, volumes: vec![1], sizes };
        let error = fill(dir.path(), &objects, &Arc::new(Content::new()), 0, 1, 1).unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}
