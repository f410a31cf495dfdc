//! The checks of `hayloft config check`: whether a start would succeed.

use super::access::AccessTrace;
use super::error::StartError;
use super::{admin_token, first_volume, listeners, machine, stores};
use crate::node::config::Config;

/// Checks whether a start with `config` would succeed on this machine, without creating, locking or
/// listening on anything. Returns warnings: findings that would not prevent the start.
///
/// # Errors
/// The [`StartError`] with which the start would fail. A port in use is not an error here: it may belong to
/// the daemon that is to be restarted.
pub fn look(config: &Config) -> Result<Vec<String>, StartError> {
    let mut warnings = config.warnings();
    warnings.extend(config.public_listen_warning(&config.listen));
    // In the order of a start, so that of several errors the same one is reported.
    warnings.extend(machine::check_config(config)?);
    let stores = stores::look(config)?;
    warnings.extend(stores.warnings.iter().cloned());
    warnings.extend(listeners::look(config, &stores)?);
    admin_token::read(config)?;
    warnings.extend(AccessTrace::look(&config.access_trace, &stores)?);
    if stores.lack_a_volume && !config.cluster.is_on() {
        first_volume::check_room(config)?;
    }
    Ok(warnings)
}
