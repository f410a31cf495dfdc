//! The state of a copy of a volume, as far as a pull needs it.

use serde::Deserialize;

use super::volume_copy::VolumeCopy;
use crate::commands::client::{Body, ClientError};
use crate::http::head::Method;

/// What is needed to know of a volume.
#[derive(Debug, Deserialize)]
pub struct CopyStatus {
    /// Size of its file (bytes).
    pub size: u64,
    /// Number of its live needles.
    pub needles: u64,
    /// Its state, such as `writable`.
    pub state: String,
    /// Why it could not be created.
    pub error: Option<String>,
    /// Whose copy it is.
    pub replica: Option<CopyReplica>,
}

/// Whose copy a volume is.
#[derive(Debug, Deserialize)]
pub struct CopyReplica {
    /// Number of the source; `None` as long as nothing was copied.
    pub source: Option<String>,
    /// Position of the source up to which everything is here.
    pub position: String,
    /// False if photos may be here that the source has no more.
    pub complete: bool,
}

impl VolumeCopy {
    /// Returns the state of the volume; `None` if there is no such volume.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn status(&self) -> Result<Option<CopyStatus>, ClientError> {
        let reply = self.request(Method::Get, "", Body::None)?;
        match reply.status {
            404 => Ok(None),
            _ => reply.expect(&[200])?.json().map(Some),
        }
    }
}
