//! Arguments that name photos.

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
