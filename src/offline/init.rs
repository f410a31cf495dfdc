//! New data directories, for a store that gets another disk.

use std::path::Path;

use crate::datadir::{DataDir, DataDirError};

/// What [`init`] found or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialised {
    /// It is a data directory from now on.
    Made,
    /// It was one before, with so many volume files; nothing was changed.
    Before(usize),
}

/// Makes a directory a data directory, durably. It must be empty, or absent with a parent that is there.
///
/// The daemon does so by itself only where no directory has ever been used: beside one that has, an empty
/// one is a disk that is not mounted.
///
/// # Errors
/// [`DataDirError`]. Nothing is changed then in a directory that is in use or belongs to something else.
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
    fn an_empty_or_new_directory_is_made_one_and_any_other_left() {
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
