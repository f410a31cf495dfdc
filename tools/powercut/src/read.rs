//! Reads all objects of a history.

use std::io::Result;

use hayloft::commands::client::{Body, Client};
use hayloft::http::head::Method;

use crate::daemon::Daemon;
use crate::history::{History, Observed};
use crate::http::{ask, client};

/// Reads an object.
pub fn observed(client: &Client, path: &str) -> Result<Observed> {
    let reply = ask(client, Method::Get, path, Body::None)?;
    Ok(match reply.status {
        200 => Observed::Bytes(reply.body),
        404 => Observed::Absent,
        status => Observed::Failed(format!("{status} {}", reply.text().trim())),
    })
}

/// Reads the objects of each group.
pub fn read_all(daemon: &Daemon, history: &History) -> Result<Vec<Vec<Observed>>> {
    let client = client(daemon.data);
    let groups = history.groups.iter();
    groups.map(|group| group.paths.iter().map(|path| observed(&client, path)).collect()).collect()
}
