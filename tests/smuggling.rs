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

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use daemon_harness::cluster::start_in_cluster;
use daemon_harness::{COOKIE, Daemon, Options, RawConnection, data_dir, path};
use hayloft::http::head::{Dialects, HeadLimits};
use hayloft::runtime::split_mix;
use http_cases::{Line, corpus};
use http_oracle::{chunked, oracle_as};
use nginx_harness::{LoggedRequest, Nginx, Setup};

/// Number of streams per round: each has a canary, and all canaries of a round are stored in one batch.
const ROUND: usize = 1000;
/// Key of the first canary. Only attacks name such keys.
const CANARY_KEY_MIN: u64 = 7_000_000;
/// Data of every canary.
const CANARY_DATA: &[u8] = b"alive";

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

/// A request that would change the canary `canary` if it were taken for one.
fn attack(canary: u64, random: &mut Random) -> String {
    let path = path(canary);
    match random.below(3) {
        0 => format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ndead"),
        1 => format!("DELETE {path} HTTP/1.1\r\nHost: x\r\n\r\n"),
        _ => format!("\r\nDELETE {path} HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n"),
    }
}

/// The target of the streams.
fn photo(dialects: Dialects) -> String {
    match dialects {
        Dialects::Own => path(1),
        Dialects::WithFids => "/2,01637037d6".to_owned(),
    }
}

/// Unambiguous forms with the attack in them.
fn forms(attack: &str) -> Vec<String> {
    let part = "Content-Disposition: form-data; name=file; filename=p.jpg\r\n\r\n";
    let content_type = "Host: a\r\nContent-Type: multipart/form-data; boundary=B\r\n";
    let mut all = Vec::new();
    for body in [
        format!("--B\r\n{part}{attack}\r\n--B--\r\n"),
        format!("--B\r\n\r\n{attack}\r\n--B\r\n{part}x\r\n--B\r\n\r\n{attack}\r\n--B--"),
        format!("--B\r\n{part}x\r\n--B--\r\n{attack}"),
    ] {
        let (len, half) = (body.len(), body.len() / 2);
        let line = format!("POST {} HTTP/1.1\r\n{content_type}", photo(Dialects::WithFids));
        all.push(format!("{line}Content-Length: {len}\r\n\r\n{body}"));
        let (first, second) = body.split_at(half);
        let chunks = format!("{half:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", len - half);
        all.push(format!("{line}Transfer-Encoding: chunked\r\n\r\n{chunks}"));
    }
    all
}

/// Unambiguous streams with the attack as body: most of their mutations are requests, too.
fn unambiguous_streams(attack: &str, dialects: Dialects) -> Vec<Vec<u8>> {
    let (photo, len) = (photo(dialects), attack.len());
    let length = format!("Host: a\r\nContent-Length: {len}\r\n");
    let next = format!("GET {photo} HTTP/1.1\r\nHost: a\r\n\r\n");
    let put = format!("PUT {photo} HTTP/1.1\r\n{length}\r\n{attack}");
    let conditional = format!("PUT {photo} HTTP/1.1\r\n{length}If-Match: *\r\n\r\n{attack}");
    let typed = format!("PUT {photo} HTTP/1.1\r\n{length}Content-Type: image/jpeg\r\n\r\n{attack}");
    let post = format!("POST /1 HTTP/1.1\r\n{length}\r\n{attack}");
    let old = format!("PUT {photo} HTTP/1.0\r\nConnection: keep-alive\r\n{length}\r\n{attack}");
    let head = format!("PUT {photo} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunked = format!("{head}{len:x}\r\n{attack}\r\n0\r\n\r\n");
    let chunks = format!("{head}5\r\nabcde\r\n{len:x}\r\n{attack}\r\n1\r\nx\r\n0\r\n\r\n");
    let mut all = vec![put, conditional, typed, post, old, chunked, chunks];
    if dialects == Dialects::WithFids {
        all.extend(forms(attack));
    }
    let followed: Vec<_> = all.iter().map(|first| format!("{first}{next}")).collect();
    let twice: Vec<_> = all.iter().map(|first| format!("{first}{first}{next}")).collect();
    [all, followed, twice].concat().into_iter().map(String::into_bytes).collect()
}

/// Streams that parsers may understand in different ways, with the attack in the body.
fn ambiguous_streams(attack: &str, dialects: Dialects) -> Vec<Vec<u8>> {
    let (photo, len) = (photo(dialects), attack.len());
    let mut streams: Vec<String> = Vec::new();
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
        streams.push(put(&fields, attack));
        streams.push(put(&fields, &format!("{attack}{next}")));
    }
    // Codings, with and without a length.
    let chunk = format!("{len:x}\r\n{attack}\r\n0\r\n\r\n");
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
        streams.push(put(&format!("{coding}\r\n"), &chunk));
        for length in [0, 5, len, chunk.len(), chunk.len() + next.len()] {
            let fields = [format!("Content-Length: {length}"), coding.to_owned()];
            streams.push(put(
                &format!("{}\r\n{}\r\n", fields[0], fields[1]),
                &format!("{chunk}{next}"),
            ));
            streams.push(put(
                &format!("{}\r\n{}\r\n", fields[1], fields[0]),
                &format!("0\r\n\r\n{attack}"),
            ));
        }
    }
    // Chunks.
    for body in [
        format!("{len:x};x=y\r\n{attack}\r\n0\r\n\r\n"),
        format!("{len:x};x=\"\r\n\"\r\n{attack}\r\n0\r\n\r\n"),
        format!("{len:x}\n{attack}\n0\n\n"),
        format!("{len:x};\n{attack}\r\n0\r\n\r\n"),
        format!("{len:x}\r{attack}\r\n0\r\n\r\n"),
        format!("{len:x} \r\n{attack}\r\n0\r\n\r\n"),
        format!("0x{len:x}\r\n{attack}\r\n0\r\n\r\n"),
        format!("+{len:x}\r\n{attack}\r\n0\r\n\r\n"),
        format!("-1\r\n{attack}\r\n0\r\n\r\n"),
        format!("1000000000000000{len:x}\r\n{attack}\r\n0\r\n\r\n"),
        format!("00000000000000000000{len:x}\r\n{attack}\r\n0\r\n\r\n"),
        format!("{len:x}\r\n{attack}0\r\n\r\n"),
        format!("{len:x}\r\n{attack}xx0\r\n\r\n"),
        format!("{:x}\r\n{attack}\r\n0\r\n\r\n", len + 5),
        format!("2\r\nab\r\n0\r\n\r\n{attack}"),
        format!("0\r\nX: y\r\n\r\n{attack}"),
        format!("0\r\nContent-Length: {len}\r\n\r\n{attack}"),
        format!("0\r\n{attack}"),
        format!("0\r\n\r\n\r\n{attack}"),
        format!("0\n\r\n{attack}"),
    ] {
        streams.push(put("Transfer-Encoding: chunked\r\n", &body));
        streams.push(put("Transfer-Encoding: chunked\r\n", &format!("{body}{next}")));
    }
    // Bodies of methods without one, bodies of other targets, and more than one request.
    for method in ["GET", "HEAD", "DELETE", "POST", "PATCH", "OPTIONS", "CONNECT", "TRACE", "put"] {
        for fields in [&format!("Content-Length: {len}\r\n"), "Transfer-Encoding: chunked\r\n", ""]
        {
            for version in ["HTTP/1.1", "HTTP/1.0"] {
                let body = if fields.starts_with('T') { &chunk } else { attack };
                let head = format!("{method} {photo} {version}\r\nHost: a\r\n{fields}\r\n");
                streams.push(format!("{head}{body}{next}"));
            }
        }
    }
    for target in [
        "/",
        "/1",
        "/1/batch",
        "/1/delete",
        "/9/delete",
        "/9",
        "*",
        "http://a/1",
        "/1%20HTTP/1.1%0d%0aX:y",
        "//1",
        "/1?/../",
    ] {
        let fields = format!("Host: a\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n");
        streams.push(format!("POST {target} HTTP/1.1\r\n{fields}\r\n{attack}{next}"));
        streams.push(format!("PUT {target} HTTP/1.1\r\n{fields}\r\n{attack}"));
    }
    // Hosts in targets, and requests after one that asks for another protocol.
    for url in
        ["http://a", "HTTP://A:80", "http://b", "http://a@b", "http://a:1", "https://a", "http:"]
    {
        let put = attack.replacen("Host: x", "Host: a", 1).replacen(" /", &format!(" {url}/"), 1);
        streams.push(format!("GET {url}{photo} HTTP/1.1\r\nHost: a\r\n\r\n{next}"));
        let fields = format!("Host: a\r\nContent-Length: {}\r\n", put.len());
        streams.push(format!("PUT {url}{photo} HTTP/1.1\r\n{fields}\r\n{put}{next}"));
    }
    for (upgrade, begin) in
        [("h2c", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ("websocket", "\u{1}\u{5}")]
    {
        let fields = format!("Host: a\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n");
        streams.push(format!("GET {photo} HTTP/1.1\r\n{fields}\r\n{begin}{attack}"));
        let fields = format!("{fields}Content-Length: {}\r\n", begin.len() + len);
        streams.push(format!("PUT {photo} HTTP/1.1\r\n{fields}\r\n{begin}{attack}{next}"));
    }
    let encoded = attack.replace(' ', "%20").replace('\r', "%0d").replace('\n', "%0a");
    streams.push(format!("GET {photo}?{encoded} HTTP/1.1\r\nHost: a\r\n\r\n"));
    streams.push(format!("GET /{encoded} HTTP/1.1\r\nHost: a\r\n\r\n"));
    streams.push(format!("GET {photo}\r\n{attack}"));
    streams.push(format!("GET {photo} HTTP/1.1\r\nHost: a\r\nX: {attack}"));
    streams.push(format!("GET {photo} HTTP/1.1\r\nHost: {}\r\n\r\n", attack.replace("\r\n", "\r")));
    streams.push(format!(
        "GET {photo} HTTP/1.1\r\nHost: a\r\nIf-Match: \"{}\"\r\n\r\n",
        &attack[2..20]
    ));
    streams.push(chunked(attack));
    streams.push(chunked(attack) + &next);
    streams.push(put(&format!("Content-Length: {len}\r\n"), attack) + &next + &next);
    // Longer than nginx buffers in memory, and than the daemon receives at once.
    let long = attack.repeat(300_000 / len);
    streams.push(put(&format!("Content-Length: {}\r\n", long.len()), &long) + &next);
    streams.push(put(&format!("Content-Length: {}\r\n", long.len() - len), &long));
    streams.push(chunked(&long) + &next);
    streams.into_iter().map(String::into_bytes).collect()
}

/// Texts that mutations insert anywhere.
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
/// Lines that mutations insert.
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
    // Most mutations are in the first head.
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

/// Replaces the first digit from `at` on, mostly one of a length.
fn digit(stream: &mut [u8], at: usize, random: &mut Random) {
    if let Some(found) = stream[at..].iter().position(u8::is_ascii_digit) {
        stream[at + found] = b"0123456789"[random.below(10)];
    }
}

/// Replaces the next line end from `at` on.
fn line_end(stream: &mut Vec<u8>, at: usize, random: &mut Random) {
    if let Some(end) = stream[at..].windows(2).position(|pair| pair == b"\r\n") {
        let end = at + end;
        let other =
            random.one(&["\n", "\r", "", "\r\r\n", "\n\r\n", "\r\n\r\n", "\r\n\t", "\0\r\n"]);
        stream.splice(end..end + 2, other.bytes());
    }
}

/// Moves the line after `at` to another position.
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

/// All streams of a run: the corpus, the ambiguous streams and mutations.
struct Streams {
    dialects: Dialects,
    corpus: Vec<Vec<u8>>,
    /// Number of ambiguous streams.
    ambiguous_count: usize,
    /// Total number of streams.
    count: usize,
    random: Random,
}

impl Streams {
    fn new(dialects: Dialects) -> Self {
        let seed = number("HAYLOFT_SMUGGLING_SEED", 1);
        let mutations = usize::try_from(number("HAYLOFT_SMUGGLING_STREAMS", 3000)).unwrap();
        let cases = corpus(folder(dialects)).into_iter().map(|case| case.stream);
        let corpus: Vec<_> = cases.collect();
        let ambiguous_count = ambiguous_streams(&attack(0, &mut Random(seed)), dialects).len();
        let count = corpus.len() + ambiguous_count + mutations;
        println!("{count} streams, {mutations} of them mutated with seed {seed}");
        Self { dialects, corpus, ambiguous_count, count, random: Random(seed) }
    }

    /// Makes stream `n`, whose attack is on `canary`.
    fn make(&mut self, n: usize, canary: u64) -> Vec<u8> {
        let (random, dialects) = (&mut self.random, self.dialects);
        let attack = attack(canary, random);
        if n < self.corpus.len() {
            return self.corpus[n].clone();
        }
        if n < self.corpus.len() + self.ambiguous_count {
            return ambiguous_streams(&attack, dialects).swap_remove(n - self.corpus.len());
        }
        let mut stream = match random.below(8) {
            0 => self.corpus[random.below(self.corpus.len())].clone(),
            1 | 2 => {
                let at = random.below(self.ambiguous_count);
                ambiguous_streams(&attack, dialects).swap_remove(at)
            }
            _ => {
                let mut streams = unambiguous_streams(&attack, dialects);
                streams.swap_remove(random.below(streams.len()))
            }
        };
        mutate(&mut stream, random);
        stream
    }
}

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
fn folder(dialects: Dialects) -> &'static str {
    match dialects {
        Dialects::Own => "http",
        Dialects::WithFids => "fid",
    }
}

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
