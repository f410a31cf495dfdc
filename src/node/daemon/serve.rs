//! The life of a daemon, from the start to the end of its threads.

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
    // With a shard missing a drain would wait for ever. It is not needed: acknowledged writes are durable.
    if daemon.lacks_a_shard() {
        reason.log();
        return Ok(reason.ended());
    }
    daemon.drain();
    reason.log();
    let ended_well = daemon.finish(&mut signals);
    Ok(if ended_well { reason.ended() } else { Ended::ThreadLost })
}
