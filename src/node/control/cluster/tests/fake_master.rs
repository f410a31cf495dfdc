//! A master that a test controls.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hayloft_proto::master_pb::seaweed_server::{Seaweed, SeaweedServer};
use hayloft_proto::master_pb::{self as pb, Heartbeat, HeartbeatResponse};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::codegen::BoxStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::base::host_port::HostPort;

/// Longest time for a heartbeat that must come.
const LONG: Duration = Duration::from_secs(20);

/// A master that answers each new stream with `answers`, in order, and records the heartbeats.
pub(super) struct FakeMaster {
    /// Its address.
    pub(super) address: HostPort,
    beats: Receiver<Heartbeat>,
    answers: Answers,
    /// Where volumes are, and which were asked for.
    volumes: Volumes,
    /// Dropping it ends the server.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The first answers to each new stream, and the streams that are open.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<(Vec<HeartbeatResponse>, Vec<Answering>)>>);

/// The locations of volumes by id, and the ids of each lookup.
#[derive(Clone, Default)]
struct Volumes(Arc<Mutex<(Locations, Vec<Vec<String>>)>>);

type Locations = BTreeMap<String, Vec<pb::Location>>;

type Answering = mpsc::Sender<Result<HeartbeatResponse, Status>>;

struct Service {
    beats: Sender<Heartbeat>,
    answers: Answers,
    volumes: Volumes,
}

#[tonic::async_trait]
impl Seaweed for Service {
    async fn send_heartbeat(
        &self,
        request: Request<Streaming<Heartbeat>>,
    ) -> Result<Response<BoxStream<HeartbeatResponse>>, Status> {
        let (answering, stream) = mpsc::channel(16);
        let first = {
            let mut answers = self.answers.0.lock().unwrap();
            answers.1.push(answering.clone());
            answers.0.clone()
        };
        for answer in first {
            answering.send(Ok(answer)).await.unwrap();
        }
        let (mut incoming, beats) = (request.into_inner(), self.beats.clone());
        tokio::spawn(async move {
            while let Ok(Some(beat)) = incoming.message().await {
                if beats.send(beat).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn lookup_volume(
        &self,
        request: Request<pb::LookupVolumeRequest>,
    ) -> Result<Response<pb::LookupVolumeResponse>, Status> {
        let ids = request.into_inner().volume_or_file_ids;
        let mut volumes = self.volumes.0.lock().unwrap();
        volumes.1.push(ids.clone());
        let volume_id_locations = ids.into_iter().map(|id| {
            let locations = volumes.0.get(&id).cloned();
            let error = if locations.is_none() { "volume id not found" } else { "" };
            pb::lookup_volume_response::VolumeIdLocation {
                volume_or_file_id: id,
                locations: locations.unwrap_or_default(),
                error: error.to_owned(),
                auth: String::new(),
            }
        });
        let volume_id_locations = volume_id_locations.collect();
        Ok(Response::new(pb::LookupVolumeResponse { volume_id_locations }))
    }

    async fn ping(
        &self,
        _: Request<pb::PingRequest>,
    ) -> Result<Response<pb::PingResponse>, Status> {
        Ok(Response::new(pb::PingResponse { start_time_ns: 77, ..pb::PingResponse::default() }))
    }
}

/// The answer of a leader that takes volumes for full at `limit` bytes.
pub(super) fn limit(limit: u64) -> HeartbeatResponse {
    HeartbeatResponse { volume_size_limit: limit, ..HeartbeatResponse::default() }
}

/// The answer of a master that names a leader.
pub(super) fn leader(leader: &HostPort) -> HeartbeatResponse {
    HeartbeatResponse { leader: leader.to_string(), ..HeartbeatResponse::default() }
}

impl FakeMaster {
    /// Starts a master on a free port.
    pub(super) fn start(answers: Vec<HeartbeatResponse>) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
    }

    /// Starts a master on this socket.
    pub(super) fn start_on(listener: TcpListener, first: Vec<HeartbeatResponse>) -> Self {
        let SocketAddr::V4(bound) = listener.local_addr().unwrap() else { panic!("IPv4") };
        // The HTTP port is a name only.
        let address = format!("127.0.0.1:{port}.{port}", port = bound.port()).parse().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (beats_in, beats) = channel();
        let answers = Answers::default();
        answers.0.lock().unwrap().0 = first;
        let volumes = Volumes::default();
        let service =
            Service { beats: beats_in, answers: answers.clone(), volumes: volumes.clone() };
        let (stop, mut stopped) = watch::channel(());
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let server = Server::builder().add_service(SeaweedServer::new(service));
                let server = server.serve_with_incoming(TcpListenerStream::new(listener));
                tokio::select! {
                    ended = server => ended.unwrap(),
                    _ = stopped.changed() => {}
                }
            });
        });
        Self { address, beats, answers, volumes, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the next heartbeat.
    pub(super) fn beat(&self) -> Heartbeat {
        self.beats.recv_timeout(LONG).expect("a heartbeat comes")
    }

    /// Returns the next heartbeat for which `is_wanted` holds.
    pub(super) fn beat_that(&self, is_wanted: impl Fn(&Heartbeat) -> bool) -> Heartbeat {
        loop {
            let beat = self.beat();
            if is_wanted(&beat) {
                return beat;
            }
        }
    }

    /// Returns a heartbeat that comes within this time.
    pub(super) fn beat_within(&self, time: Duration) -> Option<Heartbeat> {
        self.beats.recv_timeout(time).ok()
    }

    /// Sets the first answers to streams from now on.
    pub(super) fn answer_with(&self, first: Vec<HeartbeatResponse>) {
        self.answers.0.lock().unwrap().0 = first;
    }

    /// Sends an answer on the last stream.
    pub(super) fn send(&self, answer: HeartbeatResponse) {
        let answering = self.answers.0.lock().unwrap().1.last().cloned().expect("a stream");
        answering.blocking_send(Ok(answer)).unwrap();
    }

    /// Sets where a volume is: addresses, and whether the copy there is read-only.
    pub(super) fn locate(&self, id: u32, nodes: &[(&str, bool)]) {
        let location = |(url, read_only): &(&str, bool)| pb::Location {
            url: (*url).to_owned(),
            read_only: *read_only,
            ..pb::Location::default()
        };
        let locations = nodes.iter().map(location).collect();
        self.volumes.0.lock().unwrap().0.insert(id.to_string(), locations);
    }

    /// Returns the ids of each lookup since the last call.
    pub(super) fn lookups(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.volumes.0.lock().unwrap().1)
    }

    /// Ends all streams.
    pub(super) fn cut(&self) {
        self.answers.0.lock().unwrap().1.clear();
    }
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().expect("it runs").join().unwrap();
    }
}
