//! A volume of a running daemon, by its admin API.

use serde::Deserialize;

use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, ClientError, Reply};
use crate::http::head::Method;

/// A volume of a running daemon.
#[derive(Debug)]
pub struct VolumeSide {
    /// Client of the admin API.
    pub client: Client,
    /// Number of the volume.
    pub volume: VolumeId,
    /// The admin token, if one is needed.
    pub token: Option<String>,
}

/// What is needed to know of a volume.
#[derive(Debug, Deserialize)]
pub struct SideStatus {
    /// Size of its file (bytes).
    pub size: u64,
    /// Number of its live needles.
    pub needles: u64,
    /// Its state, such as `writable`.
    pub state: String,
    /// Why it could not be created.
    pub error: Option<String>,
    /// Whose copy it is.
    pub replica: Option<SideReplica>,
}

/// Whose copy a volume is.
#[derive(Debug, Deserialize)]
pub struct SideReplica {
    /// Number of the source; `None` as long as nothing was copied.
    pub source: Option<String>,
    /// Position of the source up to which everything is here.
    pub position: String,
    /// False if photos may be here that the source has no more.
    pub complete: bool,
}

impl VolumeSide {
    /// Sends a request about the volume: `path` follows its number.
    ///
    /// # Errors
    /// [`ClientError`]; no status is an error.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        body: Body<'_>,
    ) -> Result<Reply, ClientError> {
        let path = format!("/volumes/{}{path}", self.volume);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers = bearer.as_deref().map(|bearer| ("Authorization", bearer));
        self.client.request(method, &path, headers.as_slice(), body)
    }

    /// Returns the state of the volume; `None` if there is no such volume.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn status(&self) -> Result<Option<SideStatus>, ClientError> {
        let reply = self.request(Method::Get, "", Body::None)?;
        match reply.status {
            404 => Ok(None),
            _ => reply.expect(&[200])?.json().map(Some),
        }
    }
}
