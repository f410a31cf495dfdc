//! New data directories, for a disk that is added to a store.

use std::path::Path;

use crate::node::datadir::{DataDir, DataDirError};

/// Result of [`init`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialised {
    /// The directory was made a data directory.
    Made,
    /// It already was one, with this number of volume files; nothing was changed.
    Before(usize),
}

/// Makes a directory a data directory, durably. It must be empty, or absent with an existing parent.
///
/// The daemon does this by itself only if none of its directories has been used before: beside one that has,
/// an empty directory counts as a disk that is not mounted.
///
/// # Errors
/// [`DataDirError`]. A directory that is in use or has other content is not changed.
pub fn init(path: &Path) -> Result<Initialised, DataDirError> {
    match DataDir::open_read_only(path) {
        Ok(dir) => Ok(Initialised::Before(dir.volumes()?.len())),
        Err(error) if error.is_absent() => {
            DataDir::open(path, true)?;
            Ok(Initialised::Made)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_accepts_new_or_empty_directories_only() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("data");
        assert_eq!(init(&path).unwrap(), Initialised::Made);
        let marker = std::fs::read(path.join("hayloft.toml")).unwrap();
        assert_eq!(init(&path).unwrap(), Initialised::Before(0));
        assert_eq!(std::fs::read(path.join("hayloft.toml")).unwrap(), marker);
        let error = init(base.path()).unwrap_err().to_string();
        assert!(error.contains("is not a data directory"), "{error}");
        let error = init(&base.path().join("a/b")).unwrap_err().to_string();
        assert!(error.contains("create that directory first"), "{error}");
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(init(&path).unwrap(), Initialised::Made);
    }
}
