//! The connections to the masters, one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::masters::Masters;
use super::node::ClusterNode;
use super::session::{Ended, Reporter};
use super::state::ClusterState;
use crate::base::sys;
use crate::node::control::StopSignal;
use crate::node::metrics::Metrics;

/// Shortest and longest pause after the master has refused the node because another one has a data directory
/// of the same name: usually this node itself, before it was killed, which the master does not know yet.
const DUPLICATE_PAUSE: Duration = Duration::from_secs(2);
const DUPLICATE_PAUSE_MAX: Duration = Duration::from_secs(8);

/// Tells the masters of the cluster about the volumes, on `runtime`, until `stop` is requested. Returns the
/// task.
#[must_use]
pub fn spawn_heartbeats(
    runtime: &Handle,
    stop: StopSignal,
    node: Arc<ClusterNode>,
    state: Arc<ClusterState>,
    metrics: Arc<Metrics>,
) -> JoinHandle<()> {
    let masters = Masters::new(node.masters.clone());
    metrics.cluster.masters.set(node.masters.len() as u64);
    let reporter = Reporter { node, state, metrics };
    runtime.spawn(run(Connections { reporter, masters, duplicates: 0, is_warned: false }, stop))
}

async fn run(mut connections: Connections, mut stop: StopSignal) {
    let report = async {
        loop {
            let pause = connections.one().await;
            connections.pause(pause).await;
        }
    };
    tokio::select! {
        () = stop.requested() => {}
        () = report => {}
    }
}

/// The connections to the masters.
struct Connections {
    reporter: Reporter,
    masters: Masters,
    /// Number of times in a row that the master has refused the node as a duplicate.
    duplicates: u32,
    /// Whether it was logged that the node is registered with no master.
    is_warned: bool,
}

impl Connections {
    /// Makes one connection, and waits for its end. Returns the pause before the next one.
    async fn one(&mut self) -> Duration {
        let Self { reporter, masters, duplicates, is_warned } = self;
        let master = masters.current().clone();
        let mut is_confirmed = false;
        let ended = reporter
            .report_to(&master, || {
                is_confirmed = true;
                (*is_warned, *duplicates) = (false, 0);
                tracing::info!("registered with the master {master} of the cluster");
            })
            .await;
        if is_confirmed {
            masters.succeeded();
        }
        reporter.metrics.cluster.connected.set(0);
        match ended {
            Ended::Moved(leader) => {
                self.reporter.state.disconnected(None, now());
                tracing::info!("the master {master} names {leader} as the leader");
                self.masters.moved(leader)
            }
            Ended::Failed(problem) => {
                self.note(format!("master {master}: {problem}"));
                self.masters.failed()
            }
            Ended::Duplicate(directories) => {
                let directories = directories.join(", ");
                self.note(format!(
                    "master {master}: another node of the cluster has the data directory {directories}; if \
                     this was not this node itself, one of the two is a copy and must not run"
                ));
                let pause = DUPLICATE_PAUSE.saturating_mul(1 << self.duplicates.min(8));
                self.duplicates += 1;
                pause.min(DUPLICATE_PAUSE_MAX)
            }
        }
    }

    /// Records an error. It is logged once, until the node is registered again.
    fn note(&mut self, problem: String) {
        if self.is_warned {
            tracing::debug!("{problem}");
        } else {
            self.is_warned = true;
            tracing::warn!(
                "not registered with the cluster, which assigns nothing here: {problem}"
            );
        }
        self.reporter.state.disconnected(Some(problem), now());
    }

    /// Waits before the next connection. A node that leaves has nobody to tell.
    async fn pause(&self, pause: Duration) {
        let state = &self.reporter.state;
        if state.is_leaving() {
            state.set_left();
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = left(state) => {}
        }
    }
}

/// Records that there is no master to tell as soon as the node leaves. Never ends.
async fn left(state: &ClusterState) {
    loop {
        state.change().await;
        if state.is_leaving() {
            state.set_left();
        }
    }
}

fn now() -> u64 {
    sys::wall_ns() / 1_000_000_000
}
