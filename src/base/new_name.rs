//! Checks whether a file or directory could be created, or opened for writing, without doing either.

use std::fs;
use std::io;
use std::path::Path;

use nix::libc::{EACCES, EISDIR, ENOENT, ENOTDIR, EPERM};
use nix::sys::statfs::{
    DEBUGFS_MAGIC, PROC_SUPER_MAGIC, SECURITYFS_MAGIC, SYSFS_MAGIC, TRACEFS_MAGIC, statfs,
};
use nix::unistd::{AccessFlags, eaccess};

/// Returns the parent directory of a path: `.` for a bare name; `None` for `/` and paths that end in `..`.
#[must_use]
pub fn parent_of(path: &Path) -> Option<&Path> {
    path.file_name()?;
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        parent => parent,
    }
}

/// Checks that a new name can be created in a directory.
///
/// # Errors
/// The error with which creating it would fail: the directory is absent or no directory, its file system is
/// mounted read-only or has no new names (proc, sysfs), or this user lacks the permission.
pub fn check(directory: &Path) -> io::Result<()> {
    if !fs::metadata(directory)?.is_dir() {
        return Err(io::Error::from_raw_os_error(ENOTDIR));
    }
    match statfs(directory)?.filesystem_type() {
        PROC_SUPER_MAGIC => return Err(io::Error::from_raw_os_error(ENOENT)),
        SYSFS_MAGIC | DEBUGFS_MAGIC | SECURITYFS_MAGIC | TRACEFS_MAGIC => {
            return Err(io::Error::from_raw_os_error(EPERM));
        }
        _ => {}
    }
    Ok(eaccess(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

/// Checks that a file can be opened for reading and writing, and created if it is absent.
///
/// # Errors
/// The error with which opening it would fail.
pub fn check_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::Error::from_raw_os_error(EISDIR)),
        Ok(_) => Ok(eaccess(path, AccessFlags::R_OK | AccessFlags::W_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = parent_of(path).ok_or(error)?;
            // A dangling symbolic link: opening would create its target.
            match fs::read_link(path) {
                Ok(target) => check_file(&parent.join(target)),
                Err(_) => check(parent),
            }
        }
        Err(error) => Err(error),
    }
}

/// Whether the error is EACCES: another user, such as that of the daemon, may have the missing permission.
#[must_use]
pub fn is_of_this_user(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EACCES)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn errno(result: io::Result<()>) -> Option<i32> {
        result.map_or_else(|error| error.raw_os_error(), |()| Some(0))
    }

    #[test]
    fn check_predicts_the_errno_of_creation() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        fs::write(base.join("file"), "").unwrap();
        fs::create_dir(base.join("sub")).unwrap();
        symlink("sub/target", base.join("link")).unwrap();
        symlink("absent/target", base.join("broken")).unwrap();
        symlink("circle", base.join("circle")).unwrap();
        for name in
            ["file", "new", "sub", "sub/new", "file/x", "absent/new", "link", "broken", "circle"]
        {
            let path = base.join(name);
            let said = errno(check_file(&path));
            let opened =
                fs::File::options().read(true).write(true).create(true).truncate(false).open(&path);
            assert_eq!(said, errno(opened.map(drop)), "{name}");
        }
        for (directory, name) in
            [(base, "a"), (&base.join("absent"), "a"), (&base.join("file"), "a")]
        {
            let said = errno(check(directory));
            assert_eq!(
                said,
                errno(fs::create_dir(directory.join(name))),
                "{}",
                directory.display()
            );
        }
        for directory in ["/proc", "/sys"] {
            let said = errno(check(Path::new(directory)));
            let made = errno(fs::create_dir(Path::new(directory).join("hayloft")));
            // Without permission, EACCES takes precedence over other errors.
            assert!(said == made || made == Some(EACCES), "{directory}: {said:?}, {made:?}");
        }
    }
}
