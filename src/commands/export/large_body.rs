//! A large body that arrives in pieces. It waits in a temporary file: a tar needs all of it, or nothing.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use xxhash_rust::xxh3::Xxh3;

use crate::volume::format::RecordHead;

/// A large body, as far as it has arrived.
pub struct LargeBody {
    /// The record of the object.
    pub head: RecordHead,
    /// Its attributes.
    pub attributes: Vec<u8>,
    file: File,
    hash: Xxh3,
}

impl LargeBody {
    /// Begins a body.
    ///
    /// # Errors
    /// If no temporary file can be made.
    pub fn begin(head: RecordHead, attributes: &[u8]) -> io::Result<Self> {
        let (file, attributes) = (tempfile::tempfile()?, attributes.to_vec());
        Ok(Self { head, attributes, file, hash: Xxh3::new() })
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// The error of the file.
    pub fn push(&mut self, data: &[u8]) -> io::Result<()> {
        self.hash.update(data);
        self.file.write_all(data)
    }

    /// Returns the file at its start; `None` if the body is not the one that was announced.
    ///
    /// # Errors
    /// The error of the file.
    pub fn finish(mut self) -> io::Result<Option<(RecordHead, Vec<u8>, File)>> {
        self.file.seek(SeekFrom::Start(0))?;
        let is_same = self.hash.digest() == self.head.body_checksum;
        Ok(is_same.then_some((self.head, self.attributes, self.file)))
    }
}
