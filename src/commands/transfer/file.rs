//! Files that are stored: their bytes, time of modification and media type.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use infer::MatcherType;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::commands::client::Source;

/// Size and time of a file, by which a change is detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Length (bytes).
    pub size: u64,
    /// Time of modification (nanoseconds since 1970); earlier times count as 0.
    pub modified_ns: u64,
}

impl Stamp {
    /// Returns size and time of a file.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let modified_ns = u64::try_from(ns.max(0)).unwrap_or(u64::MAX);
        Self { size: metadata.len(), modified_ns }
    }
}

/// Number of bytes of a file that are read to detect its type.
const HEAD_BYTES: usize = 4096;

/// Returns the media type that a file's extension suggests.
#[must_use]
pub fn content_type(path: &Path) -> Option<&'static str> {
    mime_guess::from_path(path).first_raw()
}

/// Returns the media type that the first bytes show, if they are those of an image, video or audio. Types
/// that a browser would execute are never returned.
#[must_use]
pub fn sniffed_type(head: &[u8]) -> Option<&'static str> {
    let found = infer::get(head)?;
    let is_media = [MatcherType::Image, MatcherType::Video, MatcherType::Audio];
    is_media.contains(&found.matcher_type()).then(|| found.mime_type())
}

/// A regular file that is to be stored.
pub struct SourceFile {
    file: File,
    stamp: Stamp,
    digest: Cell<Option<u64>>,
    /// The XXH3-64 that the bytes must have to be sent, if one is required.
    expected: Cell<Option<u64>>,
}

impl SourceFile {
    /// Opens a regular file.
    ///
    /// # Errors
    /// The error of the file system; `InvalidInput` if it is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Without O_NONBLOCK, opening a named pipe waits for its other end.
        let flags = nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Ok(Self::new(file, Stamp::of(&metadata)))
    }

    fn new(file: File, stamp: Stamp) -> Self {
        Self { file, stamp, digest: Cell::new(None), expected: Cell::new(None) }
    }

    /// Wraps an unnamed temporary file that holds the bytes to be stored.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn spooled(file: File) -> io::Result<Self> {
        let stamp = Stamp::of(&file.metadata()?);
        Ok(Self::new(file, stamp))
    }

    /// Reads the first 4 KiB, by which the type is detected.
    ///
    /// # Errors
    /// The error of reading them.
    pub fn head(&self) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        let mut at = 0;
        let mut piece = [0; 512];
        while at < HEAD_BYTES {
            let got = self.file.read_at(&mut piece, at as u64)?;
            if got == 0 {
                break;
            }
            head.extend_from_slice(&piece[..got]);
            at += got;
        }
        Ok(head)
    }

    /// Returns size and time as they were when the file was opened.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Requires that the XXH3-64 is `etag`: reading the file to its end fails otherwise, so that it is not
    /// stored.
    pub fn expect(&self, etag: u64) {
        self.expected.set(Some(etag));
    }

    /// Returns the XXH3-64 of the bytes, if they were read to their end.
    #[must_use]
    pub fn digest(&self) -> Option<u64> {
        self.digest.get()
    }

    /// Reads the whole file and returns its XXH3-64.
    ///
    /// # Errors
    /// The error of reading it.
    pub fn hash(&self) -> io::Result<u64> {
        let mut hasher = Hashing(Xxh3Default::new());
        io::copy(&mut Source::open(self)?, &mut hasher)?;
        Ok(hasher.0.digest())
    }
}

/// Bytes to be stored.
pub enum Input {
    /// A file.
    File(SourceFile),
    /// Bytes in memory.
    Bytes(Vec<u8>),
}

impl Input {
    /// Returns the XXH3-64; for a file, only if it was read to its end.
    #[must_use]
    pub fn digest(&self) -> Option<u64> {
        match self {
            Self::File(file) => file.digest(),
            Self::Bytes(bytes) => Some(xxh3_64(bytes)),
        }
    }
}

impl Source for Input {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::File(file) => Source::open(file),
            Self::Bytes(bytes) => Ok(Box::new(&bytes[..])),
        }
    }
}

struct Hashing(Xxh3Default);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for SourceFile {
    fn len(&self) -> u64 {
        self.stamp.size
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        self.digest.set(None);
        let mut reader = Reader { source: self, at: 0, hash: Box::default() };
        if self.stamp.size == 0 {
            // No read follows that would call this.
            reader.end()?;
        }
        Ok(Box::new(reader))
    }
}

struct Reader<'a> {
    source: &'a SourceFile,
    at: u64,
    hash: Box<Xxh3Default>,
}

impl Reader<'_> {
    /// Checks stamp and digest before the last bytes are returned: without them nothing is stored.
    fn end(&mut self) -> io::Result<()> {
        if Stamp::of(&self.source.file.metadata()?) != self.source.stamp {
            return Err(io::Error::other("the file was changed while it was read"));
        }
        let digest = self.hash.digest();
        if self.source.expected.get().is_some_and(|expected| expected != digest) {
            return Err(io::Error::other(
                "its bytes are not those that were stored, although its size and time are the same; if they \
                 are correct, touch the file",
            ));
        }
        self.source.digest.set(Some(digest));
        Ok(())
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.source.stamp.size - self.at;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        if most == 0 {
            return Ok(0);
        }
        let got = self.source.file.read_at(&mut out[..most], self.at)?;
        if got == 0 {
            return Err(io::Error::other("the file was truncated while it was read"));
        }
        self.hash.update(&out[..got]);
        self.at += got as u64;
        if self.at == self.source.stamp.size {
            self.end()?;
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &SourceFile) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Source::open(source)?.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn file_can_be_read_repeatedly_and_is_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for bytes in [&b""[..], &b"some bytes"[..], &[7; 300_000]] {
            std::fs::write(&path, bytes).unwrap();
            let source = SourceFile::open(&path).unwrap();
            assert_eq!(source.digest(), None);
            for _ in 0..2 {
                assert_eq!(read(&source).unwrap(), bytes);
                assert_eq!(source.digest(), Some(xxh3_64(bytes)));
            }
            assert_eq!(source.hash().unwrap(), xxh3_64(bytes));
        }
    }

    #[test]
    fn reading_a_file_modified_after_open_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for change in ["", "longer than before", "shorter"] {
            std::fs::write(&path, "first words").unwrap();
            let source = SourceFile::open(&path).unwrap();
            std::fs::write(&path, change).unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(std::time::SystemTime::UNIX_EPOCH)
                .unwrap();
            assert!(read(&source).is_err(), "{change}");
            assert_eq!(source.digest(), None);
        }
    }

    #[test]
    fn reading_a_file_with_an_unexpected_checksum_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for bytes in [&b""[..], &b"some bytes"[..], &[7; 300_000]] {
            std::fs::write(&path, bytes).unwrap();
            let source = SourceFile::open(&path).unwrap();
            source.expect(xxh3_64(bytes) ^ 1);
            assert!(read(&source).is_err());
            assert_eq!(source.digest(), None);
            source.expect(xxh3_64(bytes));
            assert_eq!(read(&source).unwrap(), bytes);
        }
    }

    #[test]
    fn files_other_than_regular_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(SourceFile::open(&pipe).is_err());
        assert!(SourceFile::open(dir.path()).is_err());
    }

    #[test]
    fn sniffing_recognises_image_formats_only() {
        let photo = include_bytes!("../../../docs/photo.jpg");
        for (bytes, wanted) in [
            (&photo[..], Some("image/jpeg")),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Some("image/png")),
            (b"GIF89a\x01\0\x01\0", Some("image/gif")),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", Some("image/avif")),
            (b"", None),
            (b"\xff\xd8", None),
            (b"some text", None),
            (b"<!DOCTYPE html><script>alert(1)</script>", None),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", None),
            (b"<?xml version=\"1.0\"?>", None),
            (b"#!/bin/sh\n", None),
            (b"%PDF-1.7", None),
        ] {
            assert_eq!(
                sniffed_type(bytes),
                wanted,
                "{}",
                bytes[..bytes.len().min(20)].escape_ascii()
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, photo).unwrap();
        let head = SourceFile::open(&path).unwrap().head().unwrap();
        assert_eq!(sniffed_type(&head), Some("image/jpeg"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(SourceFile::open(&path).unwrap().head().unwrap(), b"");
    }

    #[test]
    fn content_type_follows_the_extension() {
        let of = |name: &str| content_type(Path::new(name));
        assert_eq!((of("a.jpg"), of("A.JPEG")), (Some("image/jpeg"), Some("image/jpeg")));
        assert_eq!((of("a.png"), of("a.tar.gz")), (Some("image/png"), Some("application/gzip")));
        assert_eq!((of("a"), of("a.unheardof"), of(".jpg")), (None, None, None));
    }
}
