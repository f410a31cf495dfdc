//! Arguments that name photos.

use std::io::{self, BufRead, IsTerminal};

use super::output::note;
use crate::base::sys;
use crate::commands::client::{AddressError, ServerAddress};
use crate::commands::transfer::name::PhotoName;

/// Returns the server and the name of the photo with this URL, or with this path at `server`.
///
/// # Errors
/// A sentence about `url`, with what to write instead.
pub(super) fn photo_url(
    url: &str,
    server: &ServerAddress,
) -> Result<(ServerAddress, PhotoName), String> {
    let names_no_photo = || {
        format!(
            "{url:?} names no photo; write /VOLUME/KEY/ALT/COOKIE, with a cookie of 16 hexadecimal \
             digits, or the same behind http://HOST:PORT"
        )
    };
    let (server, path) = if url.starts_with('/') {
        (server.clone(), url)
    } else {
        match ServerAddress::split(url) {
            Ok(split) => split,
            Err(AddressError::Malformed(_)) => return Err(names_no_photo()),
            Err(error) => return Err(error.to_string()),
        }
    };
    Ok((server, PhotoName::parse(path).ok_or_else(names_no_photo)?))
}

/// Calls `add` for each of the photos with these URLs, or with these paths at `server`. Those that standard
/// input lists, one a line, take the place of `-`.
///
/// # Errors
/// A sentence about the first URL that names no photo, or about standard input; `what` would have been done.
pub(super) fn photo_urls(
    urls: &[String],
    server: &ServerAddress,
    what: &str,
    mut add: impl FnMut(ServerAddress, PhotoName),
) -> Result<(), String> {
    let unread =
        |error: io::Error| format!("cannot read standard input: {error}; nothing was {what}");
    let mut add = |url: &str| {
        let (server, photo) = photo_url(url, server)?;
        add(server, photo);
        Ok::<_, String>(())
    };
    for url in urls {
        if url != "-" {
            add(url)?;
            continue;
        }
        for (number, line) in (1..).zip(input().map_err(unread)?) {
            let line = line.map_err(unread)?;
            if line.trim().is_empty() {
                continue;
            }
            add(&line).map_err(|error| format!("line {number} of standard input: {error}"))?;
        }
    }
    Ok(())
}

/// Returns the lines of standard input.
fn input() -> io::Result<impl Iterator<Item = io::Result<String>>> {
    sys::open_at_start(0)?;
    let stdin = io::stdin();
    if stdin.is_terminal() {
        note("reading URLs from the terminal, one a line; end them with Ctrl-D");
    }
    Ok(stdin.lock().lines())
}
