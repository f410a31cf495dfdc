//! One request of a client never becomes two, and no body is taken for a request: with nginx in front
//! of the daemon and without.
//!
//! The streams are the corpus (`tests/corpus/http/`), a list of tricks known to confuse proxies and
//! servers about where a body ends, and mutations of both. Each is sent on a connection of its own.
//! With nginx, its access log is held against the daemon's counters: the daemon must answer exactly
//! the requests that nginx passed on. Without, the oracle (`tests/http_oracle/`) says how many there
//! may be. In the bodies stand requests that would delete or overwrite a canary, one for each stream:
//! it must survive, unless nginx, or the oracle, saw that very request as one of the client's.
//!
//! `HAYLOFT_SMUGGLING_STREAMS=100000 cargo test --test smuggling` tries so many mutations (3000 otherwise),
//! several hundred a second; with `HAYLOFT_SMUGGLING_SEED` others than usual. A failure prints the
//! stream; the same seed makes the same ones.

mod daemon_harness;
mod http_cases;
mod http_oracle;
mod nginx_harness;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use daemon_harness::{COOKIE, Client, Daemon, Options, data_dir, path};
use hayloft::http::head::HeadLimits;
use hayloft::runtime::split_mix;
use http_cases::{Line, corpus};
use http_oracle::oracle;
use nginx_harness::{Logged, Nginx, Setup};

/// So many streams have their canaries at the same time: as many as a batch may hold.
const ROUND: usize = 1000;
/// The key of the first canary; no stream names one otherwise.
const CANARIES: u64 = 7_000_000;
const SONG: &[u8] = b"alive";

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(split_mix(&mut self.0) % bound as u64).unwrap()
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// What would be harm if anybody took it for a request.
fn harm(canary: u64, random: &mut Random) -> String {
    let path = path(canary);
    match random.below(3) {
        0 => format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ndead"),
        1 => format!("DELETE {path} HTTP/1.1\r\nHost: x\r\n\r\n"),
        _ => format!("\r\nDELETE {path} HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n"),
    }
}

/// Streams that nobody should misunderstand, around the same body: most of their mutations still are
/// requests.
fn honest(harm: &str) -> Vec<Vec<u8>> {
    let (photo, len) = (path(1), harm.len());
    let length = format!("Host: a\r\nContent-Length: {len}\r\n");
    let next = format!("GET {photo} HTTP/1.1\r\nHost: a\r\n\r\n");
    let put = format!("PUT {photo} HTTP/1.1\r\n{length}\r\n{harm}");
    let conditional = format!("PUT {photo} HTTP/1.1\r\n{length}If-Match: *\r\n\r\n{harm}");
    let typed = format!("PUT {photo} HTTP/1.1\r\n{length}Content-Type: image/jpeg\r\n\r\n{harm}");
    let post = format!("POST /1 HTTP/1.1\r\n{length}\r\n{harm}");
    let old = format!("PUT {photo} HTTP/1.0\r\nConnection: keep-alive\r\n{length}\r\n{harm}");
    let head = format!("PUT {photo} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunked = format!("{head}{len:x}\r\n{harm}\r\n0\r\n\r\n");
    let chunks = format!("{head}5\r\nabcde\r\n{len:x}\r\n{harm}\r\n1\r\nx\r\n0\r\n\r\n");
    let all = [put, conditional, typed, post, old, chunked, chunks];
    let followed = all.each_ref().map(|first| format!("{first}{next}"));
    let twice = all.each_ref().map(|first| format!("{first}{first}{next}"));
    [all, followed, twice].concat().into_iter().map(String::into_bytes).collect()
}

/// Streams that are meant to be understood in two ways, around a body that does harm.
fn tricks(harm: &str) -> Vec<Vec<u8>> {
    let (photo, len) = (path(1), harm.len());
    let mut tricks: Vec<String> = Vec::new();
    let put =
        |fields: &str, body: &str| format!("PUT {photo} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let chunked = |body: &str| {
        let body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        put("Transfer-Encoding: chunked\r\n", &body)
    };
    let next = format!("GET {photo} HTTP/1.1\r\nHost: a\r\n\r\n");
    // Lengths.
    for fields in [
        format!("Content-Length: {len}\r\n"),
        format!("Content-Length: {len}\r\nContent-Length: {len}\r\n"),
        format!("Content-Length: 0\r\nContent-Length: {len}\r\n"),
        format!("Content-Length: {len}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: {len}\r\nX: y\r\ncontent-length: 1\r\n"),
        format!("Content-Length: {len}, {len}\r\n"),
        format!("Content-Length: +{len}\r\n"),
        format!("Content-Length: 0{len}\r\n"),
        format!("Content-Length: 0x{len:x}\r\n"),
        format!("Content-Length: {len} \t\r\n"),
        format!("Content-Length: {len}\0\r\n"),
        format!("Content-Length:\x0b{len}\r\n"),
        format!("Content-Length : {len}\r\n"),
        format!("Content-Length\t: {len}\r\n"),
        format!(" Content-Length: {len}\r\n"),
        format!("X: y\r\n Content-Length: {len}\r\n"),
        format!("Content-Length:\r\n {len}\r\n"),
        format!("Content-Length: 0\r\n {len}\r\n"),
        format!("Content-Length: {len}\r\nContent_Length: 0\r\n"),
        format!("Content-Length: {len}\nX: y\r\n"),
        format!("X: y\nContent-Length: {len}\r\n"),
        format!("X: y\rContent-Length: {len}\r\n"),
        format!("Content-Length: {len}\r\nConnection: Content-Length\r\n"),
        format!("Content-Length: {len}\r\nConnection: close, Content-Length\r\n"),
        format!("Content-Length: {len}\r\nExpect: 100-continue\r\n"),
        format!("Content-Length: {len}\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"),
        format!("Content-Length: {len}\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n"),
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n".to_owned(),
        "Content-Length: 0\r\n".to_owned(),
        "Content-Length: 1\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 18446744073709551616\r\n".to_owned(),
        String::new(),
    ] {
        tricks.push(put(&fields, harm));
        tricks.push(put(&fields, &format!("{harm}{next}")));
    }
    // Codings, with and without a length.
    let chunk = format!("{len:x}\r\n{harm}\r\n0\r\n\r\n");
    for coding in [
        "Transfer-Encoding: chunked",
        "transfer-encoding: CHUNKED",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: chunked\0",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "TE: chunked",
        "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
    ] {
        tricks.push(put(&format!("{coding}\r\n"), &chunk));
        for length in [0, 5, len, chunk.len(), chunk.len() + next.len()] {
            let fields = [format!("Content-Length: {length}"), coding.to_owned()];
            tricks.push(put(
                &format!("{}\r\n{}\r\n", fields[0], fields[1]),
                &format!("{chunk}{next}"),
            ));
            tricks.push(put(
                &format!("{}\r\n{}\r\n", fields[1], fields[0]),
                &format!("0\r\n\r\n{harm}"),
            ));
        }
    }
    // Chunks.
    for body in [
        format!("{len:x};x=y\r\n{harm}\r\n0\r\n\r\n"),
        format!("{len:x};x=\"\r\n\"\r\n{harm}\r\n0\r\n\r\n"),
        format!("{len:x}\n{harm}\n0\n\n"),
        format!("{len:x};\n{harm}\r\n0\r\n\r\n"),
        format!("{len:x}\r{harm}\r\n0\r\n\r\n"),
        format!("{len:x} \r\n{harm}\r\n0\r\n\r\n"),
        format!("0x{len:x}\r\n{harm}\r\n0\r\n\r\n"),
        format!("+{len:x}\r\n{harm}\r\n0\r\n\r\n"),
        format!("-1\r\n{harm}\r\n0\r\n\r\n"),
        format!("1000000000000000{len:x}\r\n{harm}\r\n0\r\n\r\n"),
        format!("00000000000000000000{len:x}\r\n{harm}\r\n0\r\n\r\n"),
        format!("{len:x}\r\n{harm}0\r\n\r\n"),
        format!("{len:x}\r\n{harm}xx0\r\n\r\n"),
        format!("{:x}\r\n{harm}\r\n0\r\n\r\n", len + 5),
        format!("2\r\nab\r\n0\r\n\r\n{harm}"),
        format!("0\r\nX: y\r\n\r\n{harm}"),
        format!("0\r\nContent-Length: {len}\r\n\r\n{harm}"),
        format!("0\r\n{harm}"),
        format!("0\r\n\r\n\r\n{harm}"),
        format!("0\n\r\n{harm}"),
    ] {
        tricks.push(put("Transfer-Encoding: chunked\r\n", &body));
        tricks.push(put("Transfer-Encoding: chunked\r\n", &format!("{body}{next}")));
    }
    // Bodies where there should be none, bodies of other requests, and more than one request.
    for method in ["GET", "HEAD", "DELETE", "POST", "PATCH", "OPTIONS", "CONNECT", "TRACE", "put"] {
        for fields in [&format!("Content-Length: {len}\r\n"), "Transfer-Encoding: chunked\r\n", ""]
        {
            for version in ["HTTP/1.1", "HTTP/1.0"] {
                let body = if fields.starts_with('T') { &chunk } else { harm };
                let head = format!("{method} {photo} {version}\r\nHost: a\r\n{fields}\r\n");
                tricks.push(format!("{head}{body}{next}"));
            }
        }
    }
    for target in
        ["/", "/1", "/1/batch", "/9", "*", "http://a/1", "/1%20HTTP/1.1%0d%0aX:y", "//1", "/1?/../"]
    {
        let fields = format!("Host: a\r\nContent-Length: {len}\r\n");
        tricks.push(format!("POST {target} HTTP/1.1\r\n{fields}\r\n{harm}{next}"));
        tricks.push(format!("PUT {target} HTTP/1.1\r\n{fields}\r\n{harm}"));
    }
    // Hosts in targets, and requests behind one that asks for another protocol.
    for url in
        ["http://a", "HTTP://A:80", "http://b", "http://a@b", "http://a:1", "https://a", "http:"]
    {
        let put = harm.replacen("Host: x", "Host: a", 1).replacen(" /", &format!(" {url}/"), 1);
        tricks.push(format!("GET {url}{photo} HTTP/1.1\r\nHost: a\r\n\r\n{next}"));
        let fields = format!("Host: a\r\nContent-Length: {}\r\n", put.len());
        tricks.push(format!("PUT {url}{photo} HTTP/1.1\r\n{fields}\r\n{put}{next}"));
    }
    for (upgrade, begin) in
        [("h2c", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ("websocket", "\u{1}\u{5}")]
    {
        let fields = format!("Host: a\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n");
        tricks.push(format!("GET {photo} HTTP/1.1\r\n{fields}\r\n{begin}{harm}"));
        let fields = format!("{fields}Content-Length: {}\r\n", begin.len() + len);
        tricks.push(format!("PUT {photo} HTTP/1.1\r\n{fields}\r\n{begin}{harm}{next}"));
    }
    let encoded = harm.replace(' ', "%20").replace('\r', "%0d").replace('\n', "%0a");
    tricks.push(format!("GET {photo}?{encoded} HTTP/1.1\r\nHost: a\r\n\r\n"));
    tricks.push(format!("GET /{encoded} HTTP/1.1\r\nHost: a\r\n\r\n"));
    tricks.push(format!("GET {photo}\r\n{harm}"));
    tricks.push(format!("GET {photo} HTTP/1.1\r\nHost: a\r\nX: {harm}"));
    tricks.push(format!("GET {photo} HTTP/1.1\r\nHost: {}\r\n\r\n", harm.replace("\r\n", "\r")));
    tricks
        .push(format!("GET {photo} HTTP/1.1\r\nHost: a\r\nIf-Match: \"{}\"\r\n\r\n", &harm[2..20]));
    tricks.push(chunked(harm));
    tricks.push(chunked(harm) + &next);
    tricks.push(put(&format!("Content-Length: {len}\r\n"), harm) + &next + &next);
    // Longer than nginx keeps in memory, and than what a read of the daemon's takes.
    let long = harm.repeat(300_000 / len);
    tricks.push(put(&format!("Content-Length: {}\r\n", long.len()), &long) + &next);
    tricks.push(put(&format!("Content-Length: {}\r\n", long.len() - len), &long));
    tricks.push(chunked(&long) + &next);
    tricks.into_iter().map(String::into_bytes).collect()
}

/// What mutations put in anywhere, and as lines of their own.
const BYTES: [&str; 24] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    " ",
    "\t",
    "\0",
    ":",
    ",",
    ";",
    "0",
    "1",
    "5",
    "f",
    "x",
    "-",
    "\x0b",
    "\x7f",
    "\u{e4}",
    "\r\n ",
    " \r\n",
    "0\r\n\r\n",
    "5\r\n",
];
const LINES: [&str; 16] = [
    "Content-Length: 0\r\n",
    "Content-Length: 10\r\n",
    "content-length: 100\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Connection: close\r\n",
    "Connection: Content-Length, Transfer-Encoding\r\n",
    "Expect: 100-continue\r\n",
    "Host: b\r\n",
    "GET / HTTP/1.1\r\nHost: c\r\n\r\n",
    "X: y\r\n",
    " folded\r\n",
    "X : y\r\n",
    "Range: bytes=0-1\r\n",
    "0\r\n",
    "\r\n",
];

fn mutate(stream: &mut Vec<u8>, random: &mut Random) {
    // Heads are where it matters.
    let head = stream.windows(4).position(|w| w == b"\r\n\r\n").map_or(stream.len(), |at| at + 4);
    for _ in 0..=random.below(5) / 3 {
        let reach = if random.below(3) == 0 { stream.len() } else { head.min(stream.len()) };
        let at = random.below(reach + 1);
        match random.below(10) {
            0 => drop(stream.splice(at..at, random.one(&BYTES).bytes())),
            1 => drop(stream.drain(at..(at + 1 + random.below(3)).min(stream.len()))),
            2 => drop(stream.drain(at..(at + random.below(40)).min(stream.len()))),
            3 => {
                let piece = stream[at..(at + random.below(60)).min(stream.len())].to_vec();
                stream.splice(at..at, piece);
            }
            4 if at < stream.len() => stream[at] = random.one(&BYTES).as_bytes()[0],
            5 => line_end(stream, at, random),
            6 => move_line(stream, at, random),
            7 => digit(stream, at, random),
            _ => {
                let line = stream[at..].iter().position(|&byte| byte == b'\n');
                let at = line.map_or(at, |line| at + line + 1);
                stream.splice(at..at, random.one(&LINES).bytes());
            }
        }
    }
}

/// Another digit behind `at`: another length, most of the time.
fn digit(stream: &mut [u8], at: usize, random: &mut Random) {
    if let Some(found) = stream[at..].iter().position(u8::is_ascii_digit) {
        stream[at + found] = b"0123456789"[random.below(10)];
    }
}

/// Another end for the line that `at` is in.
fn line_end(stream: &mut Vec<u8>, at: usize, random: &mut Random) {
    if let Some(end) = stream[at..].windows(2).position(|pair| pair == b"\r\n") {
        let end = at + end;
        let other =
            random.one(&["\n", "\r", "", "\r\r\n", "\n\r\n", "\r\n\r\n", "\r\n\t", "\0\r\n"]);
        stream.splice(end..end + 2, other.bytes());
    }
}

/// The line behind `at` goes elsewhere.
fn move_line(stream: &mut Vec<u8>, at: usize, random: &mut Random) {
    let ends: Vec<usize> =
        (0..stream.len().min(5000)).filter(|&n| stream[n] == b'\n').map(|n| n + 1).collect();
    let Some(from) = ends.iter().position(|&end| end > at).filter(|&n| n + 1 < ends.len()) else {
        return;
    };
    let line: Vec<u8> = stream.drain(ends[from]..ends[from + 1]).collect();
    let to = ends[random.below(ends.len())].min(stream.len());
    stream.splice(to..to, line);
}

/// All streams of a run: as they are, and mutated.
struct Streams {
    corpus: Vec<Vec<u8>>,
    tricks: usize,
    count: usize,
    random: Random,
}

impl Streams {
    fn new() -> Self {
        let seed = number("HAYLOFT_SMUGGLING_SEED", 1);
        let mutations = usize::try_from(number("HAYLOFT_SMUGGLING_STREAMS", 3000)).unwrap();
        let corpus: Vec<_> = corpus().into_iter().map(|case| case.stream).collect();
        let tricks = tricks(&harm(0, &mut Random(seed))).len();
        let count = corpus.len() + tricks + mutations;
        println!("{count} streams, {mutations} of them mutated with seed {seed}");
        Self { corpus, tricks, count, random: Random(seed) }
    }

    /// The one numbered `n`, which may harm this canary.
    fn make(&mut self, n: usize, canary: u64) -> Vec<u8> {
        let random = &mut self.random;
        let harm = harm(canary, random);
        if n < self.corpus.len() {
            return self.corpus[n].clone();
        }
        if n < self.corpus.len() + self.tricks {
            return tricks(&harm).swap_remove(n - self.corpus.len());
        }
        let mut stream = match random.below(8) {
            0 => self.corpus[random.below(self.corpus.len())].clone(),
            1 | 2 => tricks(&harm).swap_remove(random.below(self.tricks)),
            _ => {
                let mut honest = honest(&harm);
                honest.swap_remove(random.below(honest.len()))
            }
        };
        mutate(&mut stream, random);
        stream
    }
}

/// Sends a stream on a connection of its own and returns all that comes back.
fn exchange(to: SocketAddr, stream: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The peer may have had enough before all is sent.
    let _ = socket.write_all(stream);
    let _ = socket.shutdown(Shutdown::Write);
    let mut got = Vec::new();
    if let Err(error) = socket.read_to_end(&mut got) {
        let kind = error.kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{}", stream.escape_ascii());
    }
    got
}

/// Canaries `0..count`, all of them alive.
fn raise(client: &mut Client, count: usize) {
    let mut tar = tar::Builder::new(Vec::new());
    for n in 0..count {
        let mut header = tar::Header::new_gnu();
        header.set_size(SONG.len() as u64);
        let name = format!("{}/0/{COOKIE}", CANARIES + n as u64);
        tar.append_data(&mut header, name, SONG).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let batch = client.request("POST", "/1/batch", &[], Some(&tar)).unwrap();
    assert_eq!(batch.status, 201, "{}", batch.text());
}

/// Which of them are not as they were.
fn harmed(client: &mut Client, count: usize) -> Vec<u64> {
    let canaries = (0..count).map(|n| CANARIES + n as u64);
    canaries.filter(|&key| client.get(&path(key)).unwrap().body != SONG).collect()
}

/// The key that a request is about, if it writes to a photo.
fn victim(method: &str, target: &str) -> Option<u64> {
    let (key, _) = target.split_once("/1/")?.1.split_once('/')?;
    ["PUT", "DELETE"].contains(&method).then(|| key.parse().ok())?
}

/// A daemon without pressure of space or time.
fn daemon(dir: &tempfile::TempDir) -> Daemon {
    Daemon::start(dir.path(), &Options { volume_size: "1GiB", ..Options::default() })
}

/// How many requests it understood, and how many it answered.
fn counters(daemon: &Daemon) -> [f64; 2] {
    daemon.metrics([("hayloft_requests_total", ""), ("hayloft_responses_total", "")])
}

/// The daemon's counters on one side, nginx's log on the other.
struct Scales<'a> {
    daemon: &'a Daemon,
    nginx: &'a Nginx,
    read: u64,
    /// Requests that nginx saw.
    seen: usize,
    /// Requests that nginx passed on, and those of them that were answered.
    passed: f64,
    answered: f64,
    /// Requests that were sent to the daemon without nginx.
    own: f64,
}

impl<'a> Scales<'a> {
    fn new(daemon: &'a Daemon, nginx: &'a Nginx) -> Self {
        assert_eq!(daemon.metric("hayloft_responses_total", ""), 0.0);
        Self { daemon, nginx, read: 0, seen: 0, passed: 0.0, answered: 0.0, own: 0.0 }
    }

    /// Puts what was logged on the scales.
    fn load(&mut self) -> Vec<Logged> {
        let logged = self.nginx.logged_since(&mut self.read);
        self.seen += logged.len();
        for request in &logged {
            assert!(request.upstreams.len() <= 1, "sent twice: {request:?}");
            self.passed += request.upstreams.len() as f64;
            self.answered += f64::from(u8::from(request.upstream_status != "-"));
        }
        logged
    }

    /// Whether the daemon got just what nginx passed on, once both have noted it.
    fn balanced(&mut self, logged: &mut Vec<Logged>, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            logged.append(&mut self.load());
            let [requests, answers] = counters(self.daemon).map(|count| count - self.own);
            if requests <= self.passed && answers == self.answered {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "nginx passed {} requests on, of which {} were answered; the daemon understood \
                     {requests} and answered {answers}",
                    self.passed, self.answered
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A stream may end as soon as it was sent, without nginx giving its requests up for that.
const HALF_CLOSE: [(&str, &str); 1] =
    [("proxy_connect_timeout 2s;", "proxy_connect_timeout 2s; proxy_ignore_client_abort on;")];

#[test]
fn the_scales_notice_one_request_too_many() {
    let dir = data_dir();
    let daemon = daemon(&dir);
    let nginx = Nginx::start(dir.path(), &daemon, &Setup::default());
    let mut scales = Scales::new(&daemon, &nginx);
    let patience = Duration::from_millis(300);
    for stream in
        [format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path(1)), "GET /x y\r\n".to_owned()]
    {
        nginx.client().get(&path(1)).unwrap();
        scales.balanced(&mut Vec::new(), Duration::from_secs(5)).unwrap();
        exchange(daemon.data, stream.as_bytes());
        scales.balanced(&mut Vec::new(), patience).unwrap_err();
        scales.own += 1.0;
    }
}

#[test]
fn a_harmed_canary_is_noticed() {
    let dir = data_dir();
    let daemon = daemon(&dir);
    let mut client = daemon.client();
    for seed in 0..10 {
        raise(&mut client, 5);
        let harm = harm(CANARIES + 3, &mut Random(seed));
        for body in honest(&harm) {
            exchange(daemon.data, &body);
        }
        assert!(harmed(&mut client, 5).is_empty(), "as a body it does nothing");
        exchange(daemon.data, harm.as_bytes());
        assert_eq!(harmed(&mut client, 5), [CANARIES + 3]);
    }
}

#[test]
fn nginx_and_the_daemon_see_the_same_requests() {
    let dir = data_dir();
    let daemon = daemon(&dir);
    let setup = Setup { edits: &HALF_CLOSE, ..Setup::default() };
    let nginx = Nginx::start(dir.path(), &daemon, &setup);
    let mut scales = Scales::new(&daemon, &nginx);
    let mut streams = Streams::new();
    let mut direct = daemon.client();
    for first in (0..streams.count).step_by(ROUND) {
        let count = ROUND.min(streams.count - first);
        raise(&mut direct, count);
        scales.own += 1.0;
        let mut round = HashMap::new();
        let mut logged = Vec::new();
        for n in 0..count {
            let stream = streams.make(first + n, CANARIES + n as u64);
            // The public server passes reads on only, so that most would end there.
            let server = if (first + n) % 4 == 3 { nginx.address } else { nginx.writes };
            exchange(server, &stream);
            if let Err(what) = scales.balanced(&mut logged, Duration::from_secs(5)) {
                panic!("stream {}: {what}\n{}", first + n, stream.escape_ascii());
            }
            round.insert(CANARIES + n as u64, stream);
        }
        for key in harmed(&mut direct, count) {
            let seen =
                logged.iter().filter(|request| !request.upstreams.is_empty()).any(|request| {
                    let mut words = request.request.split([' ', '\t']);
                    let (method, rest) = (words.next().unwrap(), words.collect::<String>());
                    victim(method, &rest) == Some(key)
                });
            assert!(seen, "nginx saw no such request:\n{}", round[&key].escape_ascii());
        }
        scales.own += count as f64;
    }
    let (seen, passed, answered) = (scales.seen, scales.passed, scales.answered);
    println!(
        "nginx saw {seen} requests, passed {passed} of them on, the daemon answered {answered} of those"
    );
    // Had nginx refused nearly everything, this would have shown little.
    assert!(passed > streams.count as f64 * 0.3, "{passed}");
    assert_eq!(passed, answered, "some requests got no answer:\n{}", nginx.errors());
    let log = daemon.log_text();
    assert!(daemon.stop().success() && !log.contains("panicked"), "{log}");
}

/// What the oracle sees in a stream: methods and targets, and the status that ends it.
fn foreseen(stream: &[u8]) -> (Vec<(String, String)>, Option<u16>) {
    let (mut requests, mut start) = (Vec::new(), 0);
    while start < stream.len() {
        match oracle(&stream[start..], &HeadLimits::DEFAULT) {
            Ok(None) => break,
            Err(status) => return (requests, Some(status)),
            Ok(Some(seen)) => {
                requests.push((seen.method, String::from_utf8(seen.target).unwrap()));
                let body = usize::try_from(seen.content_length.unwrap_or(0)).unwrap_or(usize::MAX);
                start = (start + seen.len).saturating_add(body);
                if !seen.keep_alive {
                    break;
                }
            }
        }
    }
    (requests, None)
}

#[test]
fn the_daemon_alone_sees_no_more_than_the_oracle() {
    let dir = data_dir();
    let daemon = daemon(&dir);
    let mut streams = Streams::new();
    let mut client = daemon.client();
    let (mut accepted, mut own) = (0, 0);
    for first in (0..streams.count).step_by(ROUND) {
        let count = ROUND.min(streams.count - first);
        raise(&mut client, count);
        own += 1;
        let mut round = HashMap::new();
        let mut victims = Vec::new();
        let mut before = counters(&daemon);
        for n in 0..count {
            let stream = streams.make(first + n, CANARIES + n as u64);
            let got = exchange(daemon.data, &stream);
            let show = || {
                format!("stream {}:\n{}\n{}", first + n, stream.escape_ascii(), got.escape_ascii())
            };
            let (requests, refused) = foreseen(&stream);
            let after = counters(&daemon);
            let (understood, answers) = (after[0] - before[0], after[1] - before[1]);
            before = after;
            assert!(understood <= requests.len() as f64, "{understood} {}", show());
            let most = requests.len() + usize::from(refused.is_some());
            assert!(answers <= most as f64, "{answers} {}", show());
            if let (true, Some(status)) = (requests.is_empty(), refused) {
                assert!(got.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{}", show());
            }
            if let ([_, ..], true) = (&requests[..], understood > 0.0) {
                accepted += 1;
            }
            victims.extend(requests.iter().filter_map(|(method, target)| victim(method, target)));
            round.insert(CANARIES + n as u64, stream);
        }
        for key in harmed(&mut client, count) {
            assert!(victims.contains(&key), "who harmed it?\n{}", round[&key].escape_ascii());
        }
        own += count;
    }
    println!("{accepted} of {} streams begin with a request; {own} besides", streams.count);
    assert!(accepted > streams.count / 5, "{accepted}");
    let log = daemon.log_text();
    assert!(daemon.stop().success() && !log.contains("panicked"), "{log}");
}

/// The corpus holds the parser to its verdicts; this holds the daemon to them.
#[test]
fn the_daemon_answers_the_corpus_as_it_says() {
    let dir = data_dir();
    let daemon = daemon(&dir);
    for case in corpus() {
        let before = daemon.metric("hayloft_requests_total", "");
        let got = exchange(daemon.data, &case.stream);
        let understood = daemon.metric("hayloft_requests_total", "") - before;
        let is_request = |line: &&Line| match line {
            Line::Text(text) => text[0].is_ascii_uppercase(),
            Line::Refused(..) => false,
        };
        let most = case.verdict.iter().filter(is_request).count();
        // Fewer when an answer ends the connection, but the first one counts.
        let range = f64::from(u8::from(most > 0))..=most as f64;
        assert!(range.contains(&understood), "{}: {understood} of {most} requests", case.name);
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
