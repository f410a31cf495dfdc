//! The life of a daemon, from the start to the end of its threads.

use super::drain::stop;
use super::ended::Ended;
use super::error::StartError;
use super::first_volume::FirstVolume;
use super::signals::Signals;
use super::start::start;
use crate::base::logging::Log;
use crate::node::config::Config;

/// Runs the daemon until a signal arrives, a thread ends or no volume can be used any more ([`Ended`]).
///
/// # Errors
/// [`StartError`] if the daemon could not be started; no request is served in that case.
pub fn serve(config: &Config, log: &Log) -> Result<Ended, StartError> {
    let mut signals =
        Signals::handle().map_err(|error| StartError::Step("handle signals", error))?;
    let mut daemon = start(config, log, FirstVolume::Create)?;
    let reason = daemon.watch(&mut signals);
    Ok(stop(daemon, reason, &mut signals))
}
