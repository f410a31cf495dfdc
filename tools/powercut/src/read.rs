//! Reads all objects of a history.

use std::io::Result;

use crate::daemon::Daemon;
use crate::history::{History, Observed};
use crate::http::Client;

/// Reads an object.
pub fn observed(client: &mut Client, path: &str) -> Result<Observed> {
    let reply = client.request("GET", path, None)?;
    Ok(match reply.status {
        200 => Observed::Bytes(reply.body),
        404 => Observed::Absent,
        status => Observed::Failed(format!("{status} {}", reply.text())),
    })
}

/// Reads the objects of each group.
pub fn read_all(daemon: &Daemon, history: &History) -> Result<Vec<Vec<Observed>>> {
    let mut client = Client::connect(daemon.data)?;
    let groups = history.groups.iter();
    groups
        .map(|group| group.paths.iter().map(|path| observed(&mut client, path)).collect())
        .collect()
}
