//! Requests to the admin API of the running daemon, and how the commands that send them end.

use std::process::ExitCode;

use super::output::{announce, fail, note};
use crate::commands::client::{Body, Client, ClientError, Reply};
use crate::http::head::Method;

/// Sends a request and returns its answer, if it is none of a refusal.
///
/// # Errors
/// [`ClientError`]: no answer, a refusal, or an answer that is not from an admin API.
pub(super) fn ask(
    client: &Client,
    method: Method,
    path: &str,
    body: &[u8],
) -> Result<Reply, ClientError> {
    let body = if body.is_empty() { Body::None } else { Body::Bytes(body) };
    answered(client.request(method, path, &[], body)?)
}

/// Returns an answer, if it is none of a refusal.
///
/// # Errors
/// See [`ask`].
pub(super) fn answered(reply: Reply) -> Result<Reply, ClientError> {
    // The admin API gives the reason of each refusal as JSON.
    let is_json = reply.header("Content-Type").is_some_and(|kind| kind == "application/json");
    if reply.status >= 400 && !is_json {
        return Err(reply.garbled(&"it is not from an admin API: name one with --admin"));
    }
    reply.expect(&[200, 201, 202, 204])
}

/// Sends a GET, as [`ask`] does.
///
/// # Errors
/// See [`ask`].
pub(super) fn get(client: &Client, path: &str) -> Result<Reply, ClientError> {
    ask(client, Method::Get, path, &[])
}

/// Prints a line about what was done. Exit code 1 if standard output cannot be written.
pub(super) fn done(line: &str) -> ExitCode {
    if announce(line) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the exit code of a command: 1 after a refusal of the daemon, 2 if it could not be reached.
pub(super) fn exit_code(result: Result<ExitCode, ClientError>) -> ExitCode {
    result.unwrap_or_else(|error| match error {
        ClientError::Refused { reason, .. } => {
            note(reason);
            ExitCode::FAILURE
        }
        error => fail(&error),
    })
}
