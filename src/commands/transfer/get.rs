//! Downloads a photo from a store.

use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use thiserror::Error;
use xxhash_rust::xxh3::Xxh3Default;

use crate::commands::client::{Body, Client, ClientError, Reply};
use crate::http::head::Method;

/// Size of a read (bytes).
const PIECE: usize = 64 << 10;

/// Error of downloading a photo.
#[derive(Debug, Error)]
pub enum GetError {
    /// The daemon refused, or the connection failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The body is incomplete, or does not match its announced length and checksum.
    #[error("{0}; what was received is not the whole photo: get it again")]
    Damaged(String),
    /// The output file exists.
    #[error("{} exists; choose another name, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// The output cannot be written.
    #[error("cannot write {}: {error}; free space, or choose another place with -o", path.display())]
    Write {
        /// Path of the output.
        path: PathBuf,
        /// The kernel's error.
        error: io::Error,
    },
}

/// A photo of which the head of the answer was received.
pub struct Photo {
    reply: Reply,
    len: u64,
    etag: u64,
}

impl Photo {
    /// Requests the photo with the URL path `path`.
    ///
    /// # Errors
    /// [`GetError::Client`].
    pub fn request(client: &Client, path: &str) -> Result<Self, GetError> {
        Self::of(client.request(Method::Get, path, &[], Body::None)?.expect(&[200])?)
    }

    /// Returns the photo in an answer of status 200.
    ///
    /// # Errors
    /// [`GetError::Client`] if the answer has no length or no checksum.
    pub fn of(reply: Reply) -> Result<Self, GetError> {
        let (Some(len), Some(etag)) = (reply.content_length(), reply.etag()) else {
            return Err(reply.garbled(&"it has no length, or no checksum as ETag").into());
        };
        Ok(Self { reply, len, etag })
    }

    /// Returns the XXH3-64 that the answer announces.
    #[must_use]
    pub fn etag(&self) -> u64 {
        self.etag
    }

    /// Returns whether its content type is text or JSON.
    #[must_use]
    pub fn is_text(&self) -> bool {
        let kind = self.reply.header("Content-Type").unwrap_or_default();
        kind.starts_with("text/") || kind.starts_with("application/json")
    }

    /// Copies the body to `out`, and compares its length and checksum with the announced ones. After an
    /// error, the bytes written are not the photo. `to` names the output in errors.
    ///
    /// # Errors
    /// [`GetError::Damaged`], [`GetError::Write`].
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
            return Err(GetError::Damaged(format!("{got} of {} bytes were received", self.len)));
        }
        if hash.digest() != self.etag {
            return Err(GetError::Damaged("its checksum is not the one announced".to_owned()));
        }
        Ok(())
    }

    /// Writes the photo to a file, with its time of modification. The file appears completely or not at all;
    /// an existing file is replaced only if `force` is set.
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
