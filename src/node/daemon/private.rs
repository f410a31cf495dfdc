//! A private daemon inside the process of a command, which uses its APIs to work on data directories while no
//! other daemon runs.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::StartError;
use super::first_volume::FirstVolume;
use super::running::Running;
use super::signals::Signals;
use super::start::start;
use crate::base::logging::Log;
use crate::base::size::ByteSize;
use crate::node::board::VolumeState;
use crate::node::config::{
    AutoCreateConfig, ClusterConfig, CompactionPolicy, Config, Listen, OrWord, ShardPorts,
};

/// Number of attempts to start: another process may take a free port before the daemon listens on it.
const ATTEMPTS: usize = 5;
/// Interval between two checks whether the volumes are recovered.
const LOOK: Duration = Duration::from_millis(20);

/// A daemon in this process, on free ports of the loopback interface.
pub struct Private {
    daemon: Running,
    data: SocketAddr,
    admin: SocketAddr,
}

impl Private {
    /// Starts a daemon with `config`, except for the addresses, and waits until no volume recovers any more.
    ///
    /// # Errors
    /// [`StartError`], for instance if a running daemon has locked a data directory.
    pub fn start(config: &Config, log: &Log, first: FirstVolume) -> Result<Self, StartError> {
        Self::start_unless(config, log, first, &AtomicBool::new(false))
    }

    /// As [`Self::start`], but ends the wait for the volumes once `stop` is set.
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
            let shard_ports = ShardPorts::Off;
            let mut config = Config { listen, admin, shard_ports, ..config.clone() };
            // It does what its command is for, and nothing else.
            config.compaction.policy = CompactionPolicy::Off;
            config.auto_create = AutoCreateConfig::default();
            config.cluster = ClusterConfig::default();
            // A store that was full before it was lost must fit again.
            config.compaction.reserve = OrWord::of(ByteSize(0));
            left -= 1;
            match start(&config, log, first) {
                Err(StartError::Listen { .. }) if left > 0 => {}
                other => return Ok(Self { daemon: other?, data, admin }.recovered(stop)),
            }
        }
    }

    /// Waits until no volume recovers any more, `stop` is set, or a thread of the daemon has ended.
    pub(super) fn recovered(self, stop: &AtomicBool) -> Self {
        let recovering = || {
            let volumes = self.daemon.board.volumes();
            volumes.iter().any(|volume| volume.state.get() == VolumeState::Recovering)
        };
        let goes_on = || !stop.load(Ordering::Relaxed) && self.daemon.threads.ended().is_none();
        while recovering() && goes_on() {
            std::thread::sleep(LOOK);
        }
        self
    }

    /// Address of the data API.
    #[must_use]
    pub fn data_address(&self) -> SocketAddr {
        self.data
    }

    /// Address of the admin API.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The daemon.
    #[cfg(test)]
    pub(super) fn daemon(&mut self) -> &mut Running {
        &mut self.daemon
    }

    /// Runs `work` on a new thread, while the calling thread executes the changes requested by the admin API,
    /// as the main thread of a daemon does.
    ///
    /// # Panics
    /// If `work` panics.
    pub fn run<T: Send>(&mut self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(work);
            while !thread.is_finished() {
                self.daemon.manager.work(LOOK);
            }
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Drains and stops the daemon, so that the next start is quick.
    ///
    /// # Errors
    /// The daemon could not stop in order. Acknowledged writes are durable in any case.
    pub fn stop(self) -> Result<(), StartError> {
        let ended = self.daemon.threads.ended();
        if self.daemon.lost_shard().is_some() {
            return Err(StartError::ThreadEnded(ended.unwrap_or_default()));
        }
        let mut signals = Signals::none()
            .map_err(|error| StartError::Step("stop the private daemon in order", error))?;
        self.daemon.drain();
        let lost = self.daemon.finish(&mut signals);
        ended.or(lost).map_or(Ok(()), |thread| Err(StartError::ThreadEnded(thread)))
    }
}

/// Returns two addresses with ports that are free now, for data and admin API.
fn free_addresses() -> std::io::Result<(SocketAddr, SocketAddr)> {
    let bind = || TcpListener::bind(("127.0.0.1", 0));
    let (first, second) = (bind()?, bind()?);
    Ok((first.local_addr()?, second.local_addr()?))
}
