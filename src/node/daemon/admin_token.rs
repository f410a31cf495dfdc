//! The admin token in its file.

use std::io;

use super::error::StartError;
use crate::node::config::Config;
use crate::node::control::admin::AdminToken;

/// Reads the admin token, if there is to be one.
///
/// # Errors
/// [`StartError::Step`] if the file cannot be read or holds no token.
pub(super) fn read(config: &Config) -> Result<Option<AdminToken>, StartError> {
    let path = &config.admin_token_file;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let failed = |error| StartError::Step("read admin_token_file", error);
    let text = std::fs::read(path).map_err(failed)?;
    let token = AdminToken::of_file(&text).ok_or_else(|| {
        let problem = format!(
            "{} does not hold a token of 16 to 1024 visible ASCII characters",
            path.display()
        );
        failed(io::Error::new(io::ErrorKind::InvalidData, problem))
    })?;
    Ok(Some(token))
}
