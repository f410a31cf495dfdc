//! One photo out of a store.

use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use thiserror::Error;
use xxhash_rust::xxh3::Xxh3Default;

use crate::client::{Body, Client, ClientError, Reply};
use crate::http::head::Method;

/// Read at a time (bytes).
const PIECE: usize = 64 << 10;

/// Why a photo was not got.
#[derive(Debug, Error)]
pub enum GetError {
    /// The daemon, or the way there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer broke off, or is not what it says.
    #[error("{0}; what came of it is not whole: get it again")]
    Damaged(String),
    /// There is something.
    #[error("{} exists; choose another name, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}: {error}; free space, or choose another place with -o", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The kernel's error.
        error: io::Error,
    },
}

/// A photo that has begun to come.
pub struct Photo {
    reply: Reply,
    len: u64,
    etag: u64,
}

impl Photo {
    /// Asks for it.
    ///
    /// # Errors
    /// [`GetError::Client`].
    pub fn request(client: &Client, path: &str) -> Result<Self, GetError> {
        Self::of(client.request(Method::Get, path, &[], Body::None)?.expect(&[200])?)
    }

    /// The photo in an answer of status 200.
    ///
    /// # Errors
    /// [`GetError::Client`]: the answer has no length or no checksum.
    pub fn of(reply: Reply) -> Result<Self, GetError> {
        let (Some(len), Some(etag)) = (reply.content_length(), reply.etag()) else {
            return Err(reply.garbled(&"it has no length, or no checksum as ETag").into());
        };
        Ok(Self { reply, len, etag })
    }

    /// The XXH3-64 that was announced.
    #[must_use]
    pub fn etag(&self) -> u64 {
        self.etag
    }

    /// Whether it says of itself that it is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        let kind = self.reply.header("Content-Type").unwrap_or_default();
        kind.starts_with("text/") || kind.starts_with("application/json")
    }

    /// Copies it, and compares its length and checksum with what was announced: after an error, what was
    /// written is not the photo.
    ///
    /// # Errors
    /// [`GetError::Damaged`], [`GetError::Write`] of `to`.
    pub fn copy(self, out: &mut dyn Write, to: &Path) -> Result<(), GetError> {
        let cannot = |error| GetError::Write { path: to.to_owned(), error };
        let mut hash = Xxh3Default::new();
        let (mut piece, mut got) = (vec![0; PIECE], 0);
        let mut reader = self.reply.into_reader();
        loop {
            let len = match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) => {
                    return Err(GetError::Damaged(format!("the answer broke off: {error}")));
                }
            };
            hash.update(&piece[..len]);
            got += len as u64;
            out.write_all(&piece[..len]).map_err(cannot)?;
        }
        out.flush().map_err(cannot)?;
        if got != self.len {
            return Err(GetError::Damaged(format!("{got} of {} bytes came", self.len)));
        }
        if hash.digest() != self.etag {
            return Err(GetError::Damaged("its checksum is not the one announced".to_owned()));
        }
        Ok(())
    }

    /// Stores it as a file, with its time of modification. The file is there whole or not at all; what
    /// exists is replaced only if `force`.
    ///
    /// # Errors
    /// [`GetError`].
    pub fn save(self, path: &Path, force: bool) -> Result<(), GetError> {
        let cannot = |error| GetError::Write { path: path.to_owned(), error };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let mut file = tempfile::Builder::new()
            .prefix(".hayloft-get-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(dir.unwrap_or(Path::new(".")))
            .map_err(cannot)?;
        let modified = self.reply.last_modified();
        self.copy(file.as_file_mut(), path)?;
        if let Some(seconds) = modified {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            file.as_file().set_modified(time).map_err(cannot)?;
        }
        file.as_file().sync_all().map_err(cannot)?;
        let result = if force { file.persist(path) } else { file.persist_noclobber(path) };
        match result {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(GetError::Exists(path.to_owned()))
            }
            Err(error) => Err(cannot(error.error)),
        }
    }
}
