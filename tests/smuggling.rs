//! Request smuggling, with nginx in front of the daemon and without: one request of a client must never
//! become two, and no body may be taken for a request.
//!
//! The streams are the corpus (`tests/corpus/http/`), a list of streams known to confuse proxies and servers
//! about the end of a body, and mutations of both. Each is sent on its own connection. With nginx, its access
//! log is compared with the daemon's counters: the daemon must answer exactly the requests that nginx
//! forwarded. Without nginx, the oracle (`tests/http_oracle/`) gives the maximum number of requests. Each
//! body contains a request that would delete or overwrite a canary, one per stream: the canary must survive,
//! unless nginx or the oracle saw that request as one of the client's.
//!
//! All of this is done with two daemons: one that serves Hayloft's own targets only, and a node of a
//! cluster, with targets of SeaweedFS clients (`tests/corpus/fid/`), which may have chunked bodies and
//! forms. For that one nginx passes bodies on as they come.
//!
//! `HAYLOFT_SMUGGLING_STREAMS` sets the number of mutated streams (default 3000; several hundred per second),
//! `HAYLOFT_SMUGGLING_SEED` the seed. A failure prints the stream; the same seed gives the same streams.

mod daemon_harness;
mod http_cases;
mod http_oracle;
mod nginx_harness;
mod smuggling_streams;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use daemon_harness::cluster::start_in_cluster;
use daemon_harness::{COOKIE, Daemon, Options, RawConnection, data_dir, path};
use hayloft::http::head::{Dialects, HeadLimits};
use http_cases::{Line, corpus};
use http_oracle::{chunked, oracle_as};
use nginx_harness::{LoggedRequest, Nginx, Setup};
use smuggling_streams::{Random, Streams, attack, folder, unambiguous_streams};

/// Number of streams per round: each has a canary, and all canaries of a round are stored in one batch.
const ROUND: usize = 1000;
/// Key of the first canary. Only attacks name such keys.
const CANARY_KEY_MIN: u64 = 7_000_000;
/// Data of every canary.
const CANARY_DATA: &[u8] = b"alive";

/// Sends a stream on its own connection and returns all received bytes.
fn exchange(to: SocketAddr, stream: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The peer may close before all bytes are sent.
    let _ = socket.write_all(stream);
    let _ = socket.shutdown(Shutdown::Write);
    let mut got = Vec::new();
    if let Err(error) = socket.read_to_end(&mut got) {
        let kind = error.kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{}", stream.escape_ascii());
    }
    got
}

/// Stores the canaries `0..count`.
fn store_canaries(client: &mut RawConnection, count: usize) {
    let mut tar = tar::Builder::new(Vec::new());
    for n in 0..count {
        let mut header = tar::Header::new_gnu();
        header.set_size(CANARY_DATA.len() as u64);
        let name = format!("{}/0/{COOKIE}", CANARY_KEY_MIN + n as u64);
        tar.append_data(&mut header, name, CANARY_DATA).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let batch = client.request("POST", "/1/batch", &[], Some(&tar)).unwrap();
    assert_eq!(batch.status, 201, "{}", batch.text());
}

/// Keys of the canaries among `0..count` that were changed or deleted.
fn changed_canaries(client: &mut RawConnection, count: usize) -> Vec<u64> {
    let canaries = (0..count).map(|n| CANARY_KEY_MIN + n as u64);
    canaries.filter(|&key| client.get(&path(key)).unwrap().body != CANARY_DATA).collect()
}

/// The key of the photo that a request writes or deletes, if it does.
fn written_key(method: &str, target: &str) -> Option<u64> {
    let (key, _) = target.split_once("/1/")?.1.split_once('/')?;
    ["PUT", "DELETE"].contains(&method).then(|| key.parse().ok())?
}

/// The folder of the corpus for these grammars.
/// A daemon whose volumes have enough space for a long run.
fn daemon(dir: &tempfile::TempDir, dialects: Dialects) -> Daemon {
    let options = Options { volume_size: "1GiB", ..Options::default() };
    match dialects {
        Dialects::Own => Daemon::start(dir.path(), &options),
        Dialects::WithFids => start_in_cluster(dir.path(), options),
    }
}

/// Numbers of requests accepted and of responses sent by the daemon.
fn counters(daemon: &Daemon) -> [f64; 2] {
    daemon.metrics([("hayloft_requests_total", ""), ("hayloft_responses_total", "")])
}

/// Compares the daemon's counters with nginx's access log.
struct Comparison<'a> {
    daemon: &'a Daemon,
    nginx: &'a Nginx,
    /// Offset in nginx's log up to which it was read (bytes).
    read: u64,
    /// Number of requests that nginx logged.
    seen: usize,
    /// Number of requests that nginx forwarded.
    forwarded: f64,
    /// Number of forwarded requests that the daemon answered.
    answered: f64,
    /// Number of requests that were sent to the daemon directly.
    own: f64,
    /// Whether nginx gives up requests of which the daemon has a part: those whose bodies it finds
    /// malformed or cut off behind their begin. The daemon may have answered them.
    gives_up: bool,
}

impl<'a> Comparison<'a> {
    fn new(daemon: &'a Daemon, nginx: &'a Nginx, dialects: Dialects) -> Self {
        assert_eq!(daemon.metric("hayloft_responses_total", ""), 0.0);
        let (forwarded, answered, own) = (0.0, 0.0, 0.0);
        let gives_up = dialects == Dialects::WithFids;
        Self { daemon, nginx, read: 0, seen: 0, forwarded, answered, own, gives_up }
    }

    /// Reads and counts new lines of nginx's log.
    fn read_log(&mut self) -> Vec<LoggedRequest> {
        let logged = self.nginx.logged_since(&mut self.read);
        self.seen += logged.len();
        for request in &logged {
            assert!(request.upstreams.len() <= 1, "forwarded twice: {request:?}");
            self.forwarded += request.upstreams.len() as f64;
            self.answered += f64::from(u8::from(request.upstream_status != "-"));
        }
        logged
    }

    /// Waits until the daemon's counters match the log: no more requests than forwarded, and all answers.
    ///
    /// # Errors
    /// The counts, if they do not match within `timeout`.
    fn wait_until_equal(
        &mut self,
        logged: &mut Vec<LoggedRequest>,
        timeout: Duration,
    ) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        loop {
            logged.append(&mut self.read_log());
            let [requests, answers] = counters(self.daemon).map(|count| count - self.own);
            let most = if self.gives_up { self.forwarded } else { self.answered };
            if requests <= self.forwarded && (self.answered..=most).contains(&answers) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "nginx passed {} requests on, of which {} were answered; the daemon accepted \
                     {requests} and answered {answers}",
                    self.forwarded, self.answered
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Edits of nginx's configuration: it must not abort requests when the client shuts down its sending side.
const HALF_CLOSE: [(&str, &str); 1] =
    [("proxy_connect_timeout 2s;", "proxy_connect_timeout 2s; proxy_ignore_client_abort on;")];

#[test]
fn comparison_detects_a_single_extra_request() {
    let dir = data_dir();
    let daemon = daemon(&dir, Dialects::Own);
    let nginx = Nginx::start(dir.path(), &daemon, &Setup::default());
    let mut comparison = Comparison::new(&daemon, &nginx, Dialects::Own);
    let timeout = Duration::from_millis(300);
    for stream in
        [format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)), "GET /x y\r\n".to_owned()]
    {
        nginx.connect().get(&path(1)).unwrap();
        comparison.wait_until_equal(&mut Vec::new(), Duration::from_secs(5)).unwrap();
        exchange(daemon.data, stream.as_bytes());
        comparison.wait_until_equal(&mut Vec::new(), timeout).unwrap_err();
        comparison.own += 1.0;
    }
}

#[test]
fn changed_canary_is_detected() {
    let dir = data_dir();
    let daemon = daemon(&dir, Dialects::Own);
    let mut client = daemon.connect();
    for seed in 0..10 {
        store_canaries(&mut client, 5);
        let attack = attack(CANARY_KEY_MIN + 3, &mut Random(seed));
        for body in unambiguous_streams(&attack, Dialects::Own) {
            exchange(daemon.data, &body);
        }
        assert!(changed_canaries(&mut client, 5).is_empty(), "an attack in a body took effect");
        exchange(daemon.data, attack.as_bytes());
        assert_eq!(changed_canaries(&mut client, 5), [CANARY_KEY_MIN + 3]);
    }
}

#[test]
fn nginx_and_the_daemon_see_the_same_requests() {
    nginx_and_the_daemon_agree(Dialects::Own, &HALF_CLOSE);
}

/// Edits with which nginx also passes bodies on as they come, chunked ones in chunks of its own.
const UNBUFFERED: [(&str, &str); 2] =
    [HALF_CLOSE[0], ("proxy_request_buffering on;", "proxy_request_buffering off;")];

#[test]
fn nginx_and_a_node_of_a_cluster_see_the_same_requests() {
    nginx_and_the_daemon_agree(Dialects::WithFids, &UNBUFFERED);
}

fn nginx_and_the_daemon_agree(dialects: Dialects, edits: &[(&str, &str)]) {
    let dir = data_dir();
    let daemon = daemon(&dir, dialects);
    let setup = Setup { edits, ..Setup::default() };
    let nginx = Nginx::start(dir.path(), &daemon, &setup);
    let mut comparison = Comparison::new(&daemon, &nginx, dialects);
    let mut streams = Streams::new(dialects);
    let mut direct = daemon.connect();
    for first in (0..streams.count).step_by(ROUND) {
        let count = ROUND.min(streams.count - first);
        store_canaries(&mut direct, count);
        comparison.own += 1.0;
        let mut round = HashMap::new();
        let mut logged = Vec::new();
        for n in 0..count {
            let stream = streams.make(first + n, CANARY_KEY_MIN + n as u64);
            // Only some go to the public server, which forwards reads only and refuses most streams.
            let server = if (first + n) % 4 == 3 { nginx.address } else { nginx.writes };
            exchange(server, &stream);
            if let Err(what) = comparison.wait_until_equal(&mut logged, Duration::from_secs(5)) {
                panic!("stream {}: {what}\n{}", first + n, stream.escape_ascii());
            }
            round.insert(CANARY_KEY_MIN + n as u64, stream);
        }
        for key in changed_canaries(&mut direct, count) {
            let seen =
                logged.iter().filter(|request| !request.upstreams.is_empty()).any(|request| {
                    let mut words = request.request.split([' ', '\t']);
                    let (method, rest) = (words.next().unwrap(), words.collect::<String>());
                    written_key(method, &rest) == Some(key)
                });
            assert!(
                seen,
                "a canary was changed, but nginx saw no such request:\n{}",
                round[&key].escape_ascii()
            );
        }
        comparison.own += count as f64;
    }
    let (seen, forwarded, answered) = (comparison.seen, comparison.forwarded, comparison.answered);
    // `cargo xtask smuggling` parses this line and the failures.
    println!(
        "nginx saw {seen} requests, passed {forwarded} of them on, the daemon answered {answered} of those"
    );
    // If nginx refused nearly everything, the comparison would show little.
    assert!(forwarded > streams.count as f64 * 0.3, "{forwarded}");
    let least = if comparison.gives_up { forwarded * 0.98 } else { forwarded };
    assert!(
        answered >= least,
        "of {forwarded} forwarded requests only {answered} were answered:\n{}",
        nginx.errors()
    );
    let log = daemon.log_text();
    assert!(daemon.stop().success() && !log.contains("panicked"), "{log}");
}

/// The oracle's result for a stream: methods and targets of its requests, and the status of the refusal that
/// ends it, if any.
fn expected_requests(stream: &[u8], dialects: Dialects) -> (Vec<(String, String)>, Option<u16>) {
    let (mut requests, mut start) = (Vec::new(), 0);
    while start < stream.len() {
        match oracle_as(&stream[start..], &HeadLimits::DEFAULT, dialects) {
            Ok(None) => break,
            Err(status) => return (requests, Some(status)),
            Ok(Some(seen)) => {
                requests.push((seen.method, String::from_utf8(seen.target).unwrap()));
                start += seen.len;
                let body = match seen.is_chunked.then(|| chunked::decode(&stream[start..])) {
                    Some(Ok(Some((_, len)))) => len,
                    Some(Ok(None)) => break,
                    Some(Err(())) => return (requests, Some(400)),
                    None => usize::try_from(seen.content_length.unwrap_or(0)).unwrap_or(usize::MAX),
                };
                start = start.saturating_add(body);
                if !seen.keep_alive {
                    break;
                }
            }
        }
    }
    (requests, None)
}

#[test]
fn daemon_alone_sees_no_more_requests_than_the_oracle() {
    daemon_and_oracle_agree(Dialects::Own);
}

#[test]
fn node_of_a_cluster_sees_no_more_requests_than_the_oracle() {
    daemon_and_oracle_agree(Dialects::WithFids);
}

fn daemon_and_oracle_agree(dialects: Dialects) {
    let dir = data_dir();
    let daemon = daemon(&dir, dialects);
    let mut streams = Streams::new(dialects);
    let mut client = daemon.connect();
    let (mut accepted, mut own) = (0, 0);
    for first in (0..streams.count).step_by(ROUND) {
        let count = ROUND.min(streams.count - first);
        store_canaries(&mut client, count);
        own += 1;
        let mut round = HashMap::new();
        let mut written_keys = Vec::new();
        let mut before = counters(&daemon);
        for n in 0..count {
            let stream = streams.make(first + n, CANARY_KEY_MIN + n as u64);
            let got = exchange(daemon.data, &stream);
            let show = || {
                format!("stream {}:\n{}\n{}", first + n, stream.escape_ascii(), got.escape_ascii())
            };
            let (requests, refused) = expected_requests(&stream, dialects);
            let after = counters(&daemon);
            let (accepted_count, answers) = (after[0] - before[0], after[1] - before[1]);
            before = after;
            assert!(accepted_count <= requests.len() as f64, "{accepted_count} {}", show());
            let most = requests.len() + usize::from(refused.is_some());
            assert!(answers <= most as f64, "{answers} {}", show());
            if let (true, Some(status)) = (requests.is_empty(), refused) {
                assert!(got.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{}", show());
            }
            if let ([_, ..], true) = (&requests[..], accepted_count > 0.0) {
                accepted += 1;
            }
            written_keys
                .extend(requests.iter().filter_map(|(method, target)| written_key(method, target)));
            round.insert(CANARY_KEY_MIN + n as u64, stream);
        }
        for key in changed_canaries(&mut client, count) {
            assert!(
                written_keys.contains(&key),
                "a canary was changed by no request that the oracle saw:\n{}",
                round[&key].escape_ascii()
            );
        }
        own += count;
    }
    println!("{accepted} of {} streams begin with a request; {own} other requests", streams.count);
    assert!(accepted > streams.count / 5, "{accepted}");
    let log = daemon.log_text();
    assert!(daemon.stop().success() && !log.contains("panicked"), "{log}");
}

/// `tests/http_corpus.rs` checks the parser against the corpus; this checks the daemon.
#[test]
fn daemon_answers_the_corpus_with_the_expected_statuses() {
    answers_are_expected(Dialects::Own);
}

#[test]
fn node_of_a_cluster_answers_the_corpus_with_the_expected_statuses() {
    answers_are_expected(Dialects::WithFids);
}

/// The statuses of all replies in what a daemon sent. The last one may be to a HEAD.
fn statuses(mut got: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !got.is_empty() {
        let end = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = str::from_utf8(&got[..end]).unwrap();
        let status: u16 = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        statuses.push(status);
        let len = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: "));
        let len: usize = len.map_or(0, |len| len.parse().unwrap());
        let has_body = status >= 200 && ![204, 304].contains(&status);
        got = &got[end..];
        got = &got[if has_body { len.min(got.len()) } else { 0 }..];
    }
    statuses
}

fn answers_are_expected(dialects: Dialects) {
    let dir = data_dir();
    let daemon = daemon(&dir, dialects);
    for case in corpus(folder(dialects)) {
        let before = daemon.metric("hayloft_requests_total", "");
        let got = exchange(daemon.data, &case.stream);
        let accepted_count = daemon.metric("hayloft_requests_total", "") - before;
        let is_request = |line: &&Line| match line {
            Line::Text(text) => text[0].is_ascii_uppercase(),
            Line::Refused(..) => false,
        };
        let most = case.verdict.iter().filter(is_request).count();
        // There may be fewer if a reply closes the connection, but not none.
        let range = f64::from(u8::from(most > 0))..=most as f64;
        assert!(
            range.contains(&accepted_count),
            "{}: {accepted_count} of {most} requests",
            case.name
        );
        if let Some(answers) = &case.answers {
            assert_eq!(&statuses(&got), answers, "{}: {}", case.name, got.escape_ascii());
        }
        if let Line::Refused(status, reason) = &case.verdict[0] {
            let text = String::from_utf8(got).unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {text}", case.name);
            assert!(
                text.contains(reason.as_str()) || text.ends_with("\r\n\r\n"),
                "{}: {text}",
                case.name
            );
        }
    }
}
