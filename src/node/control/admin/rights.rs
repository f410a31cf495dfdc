//! Who may read cookies and bodies, and digests of them.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

use super::connection::Connection;
use super::error::ApiError;
use super::token::AdminToken;
use super::web_page::refuse_web_pages;

/// Checks that a client may read cookies and bodies: it presents the admin token, or is on this machine, and
/// is no web page.
///
/// # Errors
/// [`ApiError::NotLocal`], [`ApiError::FromWebPage`], [`ApiError::WrongToken`].
pub(super) fn expect_rights(
    connection: &Connection,
    headers: &HeaderMap,
    token: Option<&AdminToken>,
) -> Result<(), ApiError> {
    refuse_web_pages(headers)?;
    // Browsers send it with every request, also where `Origin` is missing.
    if headers.contains_key("sec-fetch-site") {
        return Err(ApiError::FromWebPage);
    }
    if headers.contains_key(header::AUTHORIZATION) {
        let is_right = token.is_some_and(|token| token.is_presented_by(headers));
        return if is_right { Ok(()) } else { Err(ApiError::WrongToken) };
    }
    if is_local(connection.peer()) { Ok(()) } else { Err(ApiError::NotLocal) }
}

/// Whether an address is one of this machine that no other can have.
fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_local_and_no_others() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_local(address.parse().unwrap()), expected, "{address}");
        }
    }
}
