//! Opens what is imported, and finds out what it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::archive::{self, Tar};
use super::error::ImportError;
use super::pipe::Pipe;
use super::plan::Plan;
use super::progress::Progress;
use super::report::Report;
use super::tree;

/// Length of the longest magic number of a compressed file (bytes).
const MAGIC_MAX: u64 = 4;

/// Imports a directory, a tar, or a tar from standard input (`-`).
///
/// # Errors
/// [`ImportError`] before anything is stored. Later failures are in the report.
pub fn import(path: &Path, plan: &Plan, progress: &Progress) -> Result<Report, ImportError> {
    let cannot = |error| ImportError::Path { path: path.to_owned(), error };
    if progress.stop.load(Ordering::Relaxed) {
        return Ok(Report::interrupted());
    }
    let mut file = if path.as_os_str() == "-" {
        File::from(io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?)
    } else {
        if std::fs::metadata(path).map_err(cannot)?.is_dir() {
            if !plan.volume_map.is_empty() {
                return Err(ImportError::MappedDirectory);
            }
            return tree::import(path, plan, progress);
        }
        File::open(path).map_err(cannot)?
    };
    if file.metadata().map_err(cannot)?.is_file() {
        let start = file.stream_position().map_err(cannot)?;
        let mut magic = Vec::new();
        (&mut file).take(MAGIC_MAX).read_to_end(&mut magic).map_err(cannot)?;
        refuse_compressed(path, &magic)?;
        file.seek(io::SeekFrom::Start(start)).map_err(cannot)?;
        return archive::import(Tar::File(&mut file), plan, progress);
    }
    let mut stream = BufReader::new(Pipe::new(file, &progress.stop));
    match stream.fill_buf() {
        Ok(begin) => refuse_compressed(path, begin)?,
        Err(_) if progress.stop.load(Ordering::Relaxed) => return Ok(Report::interrupted()),
        Err(error) => return Err(cannot(error)),
    }
    archive::import(Tar::Stream(&mut stream), plan, progress)
}

fn refuse_compressed(path: &Path, begin: &[u8]) -> Result<(), ImportError> {
    let compressed: [&[u8]; 4] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zX"];
    if compressed.iter().any(|magic| begin.starts_with(magic)) {
        return Err(ImportError::Compressed(path.to_owned()));
    }
    Ok(())
}
