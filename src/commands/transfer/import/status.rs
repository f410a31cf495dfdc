//! What the admin API says of the daemon.

use serde::Deserialize;

use crate::commands::client::{Body, Client};
use crate::http::head::Method;

/// The fields of the admin API's `/status` that an import needs.
#[derive(Deserialize)]
pub struct DaemonStatus {
    /// Instance of the daemon: another one after a restart.
    pub instance: Option<String>,
    /// Limits of the daemon.
    pub limits: Option<StatusLimits>,
}

/// Limits in the status.
#[derive(Deserialize)]
pub struct StatusLimits {
    /// Size of the largest photo that it takes (bytes).
    pub largest_body: u64,
}

impl DaemonStatus {
    /// Asks the admin API; `None` if it does not answer.
    pub fn ask(admin: &Client) -> Option<Self> {
        let reply = admin.request(Method::Get, "/status", &[], Body::None).ok()?;
        reply.expect(&[200]).ok()?.json().ok()
    }
}
