//! One connection to a master: heartbeats there, and its answers.

use std::sync::Arc;
use std::time::Duration;

use hayloft_proto::master_pb::seaweed_client::SeaweedClient;
use hayloft_proto::master_pb::{Heartbeat, HeartbeatResponse};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::announced::{self, Announced};
use super::announcements::{Announcements, Due};
use super::beat;
use super::node::ClusterNode;
use super::state::ClusterState;
use crate::base::host_port::HostPort;
use crate::base::sys;
use crate::node::metrics::Metrics;

/// Longest time to connect, and to the first answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A connection on which nothing arrives for this long is probed.
const PROBE_AFTER: Duration = Duration::from_secs(5);
/// Time within which a probe must be answered, else the master counts as gone.
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// Interval between two looks at the volumes.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Number of heartbeats that may wait for a master that takes none.
const WAITING_MAX: usize = 4;
/// Largest answer of a master (bytes).
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Why a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another master is the leader.
    Moved(HostPort),
    /// The connection failed, for this reason.
    Failed(String),
    /// The master knows one of the data directories as that of another node.
    Duplicate(Vec<String>),
}

/// The parts of the node that a connection uses.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    /// What the node says about itself.
    pub(super) node: Arc<ClusterNode>,
    /// The connection, as others see it.
    pub(super) state: Arc<ClusterState>,
    /// The volumes.
    pub(super) metrics: Arc<Metrics>,
}

/// A connection to a master.
struct Session<'a> {
    reporter: &'a Reporter,
    master: &'a HostPort,
    beats: mpsc::Sender<Heartbeat>,
    told: Announcements,
    /// Whether the master has confirmed that it is the leader.
    is_confirmed: bool,
}

impl Reporter {
    /// Sends heartbeats to a master until the connection ends. `on_confirmed` is called when the master has
    /// registered the node.
    pub(super) async fn report_to(&self, master: &HostPort, on_confirmed: impl FnMut()) -> Ended {
        match self.try_report_to(master, on_confirmed).await {
            Ok(ended) => ended,
            Err(problem) => Ended::Failed(problem),
        }
    }

    async fn try_report_to(
        &self,
        master: &HostPort,
        on_confirmed: impl FnMut(),
    ) -> Result<Ended, String> {
        let mut client = SeaweedClient::new(connect(master).await?);
        client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
        let (beats, waiting) = mpsc::channel(WAITING_MAX);
        let told = Announcements::default();
        let mut session = Session { reporter: self, master, beats, told, is_confirmed: false };
        session.tell().await?;
        let opened = client.send_heartbeat(ReceiverStream::new(waiting));
        let opened = timeout(ANSWER_WITHIN, opened).await.map_err(|_| no_answer())?;
        let answers = opened.map_err(|status| told_by(&status))?.into_inner();
        session.run(answers, on_confirmed).await
    }
}

impl Session<'_> {
    async fn run(
        &mut self,
        mut answers: Streaming<HeartbeatResponse>,
        mut on_confirmed: impl FnMut(),
    ) -> Result<Ended, String> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                answer = answers.message() => {
                    let answer = answer.map_err(|status| told_by(&status))?;
                    let answer = answer.ok_or_else(|| "it ended the connection".to_owned())?;
                    if let Some(ended) = self.take(answer) {
                        return Ok(ended);
                    }
                    if !self.is_confirmed {
                        self.is_confirmed = true;
                        let now = sys::wall_ns() / 1_000_000_000;
                        self.reporter.state.connected(&self.master.to_string(), now);
                        self.reporter.metrics.cluster.connected.set(1);
                        on_confirmed();
                    }
                }
                () = self.reporter.state.change() => {}
                _ = looks.tick() => {}
            }
            if !self.is_confirmed && Instant::now() >= deadline {
                return Err(no_answer());
            }
            self.tell().await?;
        }
    }

    /// Takes an answer of the master. Returns why the connection ends, if it does.
    fn take(&mut self, answer: HeartbeatResponse) -> Option<Ended> {
        if !answer.duplicated_uuids.is_empty() {
            return Some(Ended::Duplicate(answer.duplicated_uuids));
        }
        if self.reporter.state.set_volume_size_limit(answer.volume_size_limit) {
            // How many volumes fit was not known before.
            self.told.want_full();
        }
        if answer.resend_full_volume_list {
            self.told.want_full();
        }
        if answer.leader.is_empty() {
            return None;
        }
        match answer.leader.parse::<HostPort>() {
            Ok(leader) if leader.is_same_server(self.master) => None,
            Ok(leader) => Some(Ended::Moved(leader)),
            Err(error) => Some(Ended::Failed(format!("it names a leader: {error}"))),
        }
    }

    /// Sends what the master is to be told now.
    async fn tell(&mut self) -> Result<(), String> {
        let Reporter { node, state, metrics } = self.reporter;
        let beat = if state.is_leaving() {
            let is_told = self.told.due(&[], Instant::now()) == Due::Nothing;
            (!is_told).then(|| beat::farewell(node))
        } else {
            let (volumes, may_have_more) = announced::all(metrics);
            let known: Vec<Announced> = volumes.iter().map(|(volume, _)| volume.clone()).collect();
            match self.told.due(&known, Instant::now()) {
                Due::Nothing => None,
                Due::Changes { new, gone } => Some(beat::changes(node, &new, &gone)),
                Due::Full => {
                    let limit = state.volume_size_limit();
                    Some(beat::full(node, &metrics.board, &volumes, limit, may_have_more))
                }
            }
        };
        if let Some(beat) = beat {
            let sent = timeout(ANSWER_WITHIN, self.beats.send(beat)).await;
            let sent = sent.map_err(|_| "it takes no more heartbeats".to_owned())?;
            sent.map_err(|_| "the connection has ended".to_owned())?;
            metrics.cluster.heartbeats.inc();
        }
        if state.is_leaving() {
            state.set_left();
        }
        Ok(())
    }
}

/// Connects to a master.
pub(super) async fn connect(master: &HostPort) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{}", master.grpc()));
    let endpoint = endpoint.map_err(|error| with_causes(&error))?;
    let endpoint = endpoint
        .connect_timeout(ANSWER_WITHIN)
        .http2_keep_alive_interval(PROBE_AFTER)
        .keep_alive_timeout(PROBE_WITHIN)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    endpoint.connect().await.map_err(|error| with_causes(&error))
}

fn no_answer() -> String {
    format!("it did not answer within {} s", ANSWER_WITHIN.as_secs())
}

/// What a master has answered instead of an answer.
fn told_by(status: &tonic::Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    }
}

/// An error with what caused it: the outermost one alone says nothing.
fn with_causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
