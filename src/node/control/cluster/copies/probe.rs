//! Asks another node whether it answers.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::event::Event;
use super::peer_state::PeerAnswer;
use super::replication::PeerName;
use crate::base::sys;

/// Interval between two probes of a node.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Time within which it must answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Header field of the answer with the random number of the start of a node.
const START: &str = "x-hayloft-start";

/// Probes a node until nobody takes the answers any more.
pub(super) async fn probe(name: PeerName, address: SocketAddr, events: mpsc::Sender<Event>) {
    let mut connection = Connection { address, sender: None };
    let mut ticks = interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked_ns = sys::monotonic_ns();
        let answer = match timeout(ANSWER_WITHIN, connection.ask(&name)).await {
            Ok(Ok(start)) => Some(PeerAnswer { start, asked_ns }),
            Ok(Err(problem)) => {
                tracing::debug!("cluster: {name} does not answer: {problem}");
                None
            }
            Err(_elapsed) => None,
        };
        if answer.is_none() {
            connection.sender = None;
        }
        if events.send(Event::Probed(name.clone(), answer)).await.is_err() {
            return;
        }
    }
}

/// A connection to a node, which is kept from one probe to the next.
struct Connection {
    address: SocketAddr,
    sender: Option<SendRequest<String>>,
}

impl Connection {
    /// Returns what the node tells of its start.
    async fn ask(&mut self, name: &str) -> Result<Option<u64>, String> {
        if let Some(sender) = &mut self.sender {
            match ask_on(sender, name).await {
                // It was closed meanwhile, for instance because the node was started anew.
                Err(_) => self.sender = None,
                answered => return answered,
            }
        }
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // It ends with its sender, or when the node closes it.
        tokio::spawn(connection);
        let answer = ask_on(&mut sender, name).await;
        self.sender = Some(sender);
        answer
    }
}

async fn ask_on(sender: &mut SendRequest<String>, name: &str) -> Result<Option<u64>, String> {
    sender.ready().await.map_err(|error| error.to_string())?;
    let request = Request::get("/healthz").header(HOST, name).body(String::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(answer.status().to_string());
    }
    let start = answer.headers().get(START).and_then(|value| value.to_str().ok());
    Ok(start.and_then(|digits| u64::from_str_radix(digits, 16).ok()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use tokio::runtime::Builder;

    use super::*;

    /// Takes requests on a connection, and answers each with the next of these answers.
    fn serve(stream: &mut TcpStream, answers: &[&str]) -> Vec<String> {
        let mut requests = Vec::new();
        for answer in answers {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                request.push(byte[0]);
            }
            requests.push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        requests
    }

    fn answers_of(address: SocketAddr, number: usize) -> Vec<Option<PeerAnswer>> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (events_in, mut events) = mpsc::channel(1);
            let task = tokio::spawn(probe("node:80".into(), address, events_in));
            let mut answers = Vec::new();
            for _ in 0..number {
                let Some(Event::Probed(_, answer)) = events.recv().await else { panic!() };
                answers.push(answer);
            }
            task.abort();
            answers
        })
    }

    fn start(answer: &Option<PeerAnswer>) -> Option<Option<u64>> {
        answer.map(|answer| answer.start)
    }

    const HAYLOFT: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Hayloft-Start: 00000000000000ff\r\n\r\n";
    const STOCK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const STOPS: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn connection_is_kept_and_made_anew_when_the_node_has_closed_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests_in, requests) = channel();
        std::thread::spawn(move || {
            for answers in [&[HAYLOFT, STOCK][..], &[STOCK]] {
                let (mut stream, _) = listener.accept().unwrap();
                requests_in.send(serve(&mut stream, answers)).unwrap();
            }
        });
        let answers = answers_of(address, 3);
        let starts: Vec<_> = answers.iter().map(start).collect();
        assert_eq!(starts, [Some(Some(255)), Some(None), Some(None)]);
        let first = requests.recv().unwrap();
        assert!(first[0].starts_with("GET /healthz HTTP/1.1\r\nhost: node:80\r\n"), "{first:?}");
        assert_eq!(requests.recv().unwrap().len(), 1);
    }

    #[test]
    fn silence_refusals_and_other_statuses_are_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let began = Instant::now();
        assert_eq!(answers_of(address, 1), [None], "it accepts, and says nothing");
        assert!(began.elapsed() >= ANSWER_WITHIN);
        std::thread::spawn(move || {
            let _silent = listener.accept().unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            serve(&mut stream, &[STOPS]);
        });
        assert_eq!(answers_of(address, 1), [None], "it stops");
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(answers_of(closed, 1), [None]);
    }
}
