//! A daemon of one command's own, in its process: what the command has to do with data directories it
//! does through it, and no other daemon need run.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::signals::Signals;
use super::{Daemon, FirstVolume, StartError};
use crate::config::{Config, Listen, ShardPorts};
use crate::logging::Log;
use crate::metrics::VolumeState;

/// How often a port that was free may be taken by somebody else before it is listened on.
const ATTEMPTS: usize = 5;
/// How often to look whether the volumes are recovered.
const LOOK: Duration = Duration::from_millis(20);

/// A daemon in this process, on ports of the loopback interface that nobody else has.
pub struct Private {
    daemon: Daemon,
    data: SocketAddr,
    admin: SocketAddr,
}

impl Private {
    /// Starts it as `config` says, but for the addresses, and waits until every volume is recovered.
    ///
    /// # Errors
    /// [`StartError`]; a data directory that a running daemon has is one.
    pub fn start(config: &Config, log: &Log, first: FirstVolume) -> Result<Self, StartError> {
        Self::start_unless(config, log, first, &AtomicBool::new(false))
    }

    /// The same, but once `stop` is set it does not wait for volumes any more.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start_unless(
        config: &Config,
        log: &Log,
        first: FirstVolume,
        stop: &AtomicBool,
    ) -> Result<Self, StartError> {
        let mut left = ATTEMPTS;
        loop {
            let (data, admin) = free_addresses()
                .map_err(|error| StartError::Step("find a free port of 127.0.0.1", error))?;
            let listen = vec![Listen::Tcp(data)];
            let config = Config { listen, admin, shard_ports: ShardPorts::Off, ..config.clone() };
            left -= 1;
            match Daemon::start(&config, log, first) {
                Err(StartError::Listen { .. }) if left > 0 => {}
                other => return Ok(Self { daemon: other?, data, admin }.recovered(stop)),
            }
        }
    }

    fn recovered(self, stop: &AtomicBool) -> Self {
        let recovering = || {
            let volumes = self.daemon.metrics.volumes();
            volumes.iter().any(|volume| volume.state.get() == VolumeState::Recovering)
        };
        let goes_on = || !stop.load(Ordering::Relaxed) && self.daemon.threads.ended().is_none();
        while recovering() && goes_on() {
            std::thread::sleep(LOOK);
        }
        self
    }

    /// Where the data API is.
    #[must_use]
    pub fn data_address(&self) -> SocketAddr {
        self.data
    }

    /// Where the admin API is.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Does `work` on a thread of its own, while this one carries out what the admin API is asked to change:
    /// a daemon's main thread does that, and this is the one of this daemon.
    pub fn run<T: Send>(&mut self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(work);
            while !thread.is_finished() {
                self.daemon.manager.work(LOOK);
            }
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Stops it in order, so that the next start is quick.
    ///
    /// # Errors
    /// It could not stop in order; what was acknowledged is durable all the same.
    pub fn stop(self) -> Result<(), StartError> {
        let ended = self.daemon.threads.ended();
        if self.daemon.lacks_a_shard() {
            return Err(StartError::ThreadEnded(ended.unwrap_or_default()));
        }
        let mut signals = Signals::none()
            .map_err(|error| StartError::Step("stop the private daemon in order", error))?;
        self.daemon.drain();
        self.daemon.finish(&mut signals);
        ended.map_or(Ok(()), |thread| Err(StartError::ThreadEnded(thread)))
    }
}

/// Two that are free now, for data and admin.
fn free_addresses() -> std::io::Result<(SocketAddr, SocketAddr)> {
    let bind = || TcpListener::bind(("127.0.0.1", 0));
    let (first, second) = (bind()?, bind()?);
    Ok((first.local_addr()?, second.local_addr()?))
}
