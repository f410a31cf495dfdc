//! Tests of the command against faulty, slow or full servers, which a real daemon does not provide.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Timeout of a command: one that runs longer hangs.
const HANGS: Duration = Duration::from_secs(30);

/// Starts a server with a thread per connection; `answer` receives the number of the request.
fn serve(answer: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, number) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, number) = (Arc::clone(&answer), Arc::clone(&number));
            std::thread::spawn(move || talk(stream, &*answer, &number));
        }
    });
    address
}

fn talk(mut stream: TcpStream, answer: &dyn Fn(u64) -> Vec<u8>, number: &AtomicU64) {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut piece) {
        head.extend_from_slice(&piece[..len]);
        while let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            head.drain(..end + 4);
            let bytes = answer(number.fetch_add(1, Ordering::Relaxed));
            if stream.write_all(&bytes).is_err()
                || bytes.windows(5).any(|window| window == b"close")
            {
                return;
            }
        }
    }
}

/// Starts a server for one connection at a time that answers all but the last of `first` requests. Then the
/// port is closed for `gap`, or for good.
fn serve_with_a_gap(answer: fn() -> Vec<u8>, first: u64, gap: Option<Duration>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let number = AtomicU64::new(0);
        let some = |number| match number + 1 < first {
            true => answer(),
            // The answer ends after its head; `talk` closes the connection.
            false => b"HTTP/1.1 200 OK\r\nX: close".to_vec(),
        };
        while number.load(Ordering::Relaxed) < first {
            talk(listener.accept().unwrap().0, &some, &number);
        }
        drop(listener);
        let Some(gap) = gap else { return };
        std::thread::sleep(gap);
        for stream in TcpListener::bind(address).unwrap().incoming().flatten() {
            std::thread::spawn(move || talk(stream, &|_| answer(), &AtomicU64::new(0)));
        }
    });
    address
}

fn not_found() -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()
}

fn rejected() -> Vec<u8> {
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 5\r\n\r\nbusy\n"
        .to_vec()
}

fn created() -> Vec<u8> {
    b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".to_vec()
}

/// Stops a command with SIGSTOP for some time, once the server has received a number of requests.
struct Stall<'a> {
    /// Requests that the server has received.
    asked: &'a AtomicU64,
    /// Number of requests after which the command is stopped.
    after: u64,
    /// Duration of the stop.
    pause: Duration,
}

impl Stall<'_> {
    fn apply(&self, child: &Child) {
        let start = Instant::now();
        while self.asked.load(Ordering::Relaxed) < self.after {
            assert!(start.elapsed() < HANGS, "{} requests were not sent", self.after);
            std::thread::sleep(Duration::from_millis(1));
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("process ids fit i32"));
        kill(pid, Signal::SIGSTOP).unwrap();
        std::thread::sleep(self.pause);
        kill(pid, Signal::SIGCONT).unwrap();
    }
}

/// Runs a command, which must end in time; returns its output and JSON.
fn command(address: SocketAddr, name: &str, args: &[&str]) -> (Output, Value) {
    stalled(address, name, args, None)
}

/// Like [`command`], with an interruption.
fn stalled(
    address: SocketAddr,
    name: &str,
    args: &[&str],
    stall: Option<&Stall<'_>>,
) -> (Output, Value) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.json");
    let url = format!("http://{address}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft-loadgen"));
    command.args([name, "--url", &url, "--json", path.to_str().unwrap()]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, start) = (command.spawn().unwrap(), Instant::now());
    if let Some(stall) = stall {
        stall.apply(&child);
    }
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > HANGS {
            child.kill().unwrap();
            panic!("{name} {args:?} did not end in time");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let json =
        std::fs::read(&path).map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap());
    (output, json)
}

fn loadgen(address: SocketAddr, args: &[&str]) -> (Output, Value) {
    command(address, "run", &[&["--objects", "10"], args].concat())
}

#[test]
fn wrong_content_is_detected() {
    let mut zeros = b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n".to_vec();
    zeros.resize(zeros.len() + 8192, 0);
    let address = serve(move |_| zeros.clone());
    for (verify, is_wrong) in [("full", true), ("head", true), ("none", false)] {
        let (output, json) = loadgen(address, &["--seconds", "0.2", "--verify", verify]);
        assert_eq!(output.status.code(), Some(i32::from(is_wrong)), "{verify}");
        assert_eq!(json["wrong"].as_u64().unwrap() > 0, is_wrong, "{verify}");
        let get = &json["operations"]["get"];
        assert!(get["count"].as_u64().unwrap() > 0, "{json}");
        let (ok, good) = (&get["ok"], json["served_per_second"].as_f64().unwrap());
        assert_eq!(
            (ok == 0, good == 0.0),
            (is_wrong, is_wrong),
            "wrong answers do not count as served: {json}"
        );
    }
}

#[test]
fn reconnects_to_a_closed_port_are_paced() {
    let address = serve_with_a_gap(not_found, 6, None);
    let args = ["--seconds", "2", "--missing", "1"];
    let (output, json) =
        loadgen(address, &[&args[..], &["--connections", "1", "--slo-us", "1000000"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let [errors, reconnects] = [&json["errors"], &json["generator"]["reconnects"]];
    assert!((5..=30).contains(&errors.as_u64().unwrap()), "{json}");
    assert!((5..=30).contains(&reconnects.as_u64().unwrap()), "{json}");
    let second = &json["timeline"][1];
    assert_eq!((&second["requests"], &second["p50_us"]), (&Value::from(0), &Value::Null), "{json}");
    let within = json["within_slo"].as_f64().unwrap();
    assert!((within - 5.0 / (5.0 + errors.as_f64().unwrap())).abs() < 1e-9, "{json}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("p50      - us"));
}

#[test]
fn a_fill_resumes_after_a_server_restart() {
    let address = serve_with_a_gap(created, 6, Some(Duration::from_millis(700)));
    let args = ["--objects", "20", "--connections", "1", "--sizes", "100"];
    let (output, json) = command(address, "fill", &args);
    assert!(output.status.success(), "{json}");
    assert_eq!((&json["operations"]["put"]["ok"], &json["errors"]), (&20.into(), &0.into()));
    let address = serve_with_a_gap(created, 6, None);
    let (output, json) = command(address, "fill", &[&args[..], &["--patience", "0.5"]].concat());
    assert_eq!((output.status.code(), &json["errors"]), (Some(1), &15.into()), "{json}");
}

#[test]
fn load_that_cannot_begin_changes_no_result_files() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
    std::fs::write(&old, "old content").unwrap();
    for path in [&old, &new] {
        let (output, _) = loadgen(unused, &["--seconds", "0.2", "--hlog", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
    }
    assert_eq!(std::fs::read(&old).unwrap(), b"old content");
    assert!(!new.exists());
}

#[test]
fn full_disk_under_a_result_file_is_an_error() {
    let address = serve(|_| not_found());
    let args = ["--seconds", "0.2", "--missing", "1", "--hlog", "/dev/full"];
    let (output, _) = loadgen(address, &args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot write /dev/full"), "{text}");
}

#[test]
fn body_of_wrong_length_is_wrong_and_truncated_one_an_error() {
    let short = serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_vec());
    let (output, json) = loadgen(short, &["--seconds", "0.2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(json["wrong"].as_u64().unwrap() > 0, "{json}");
    let cut = serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\nclose".to_vec());
    let (output, json) = loadgen(cut, &["--seconds", "0.2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(json["errors"].as_u64().unwrap() > 0, "{json}");
    assert!(json["notes"][0].as_str().unwrap().contains("before the end"), "{json}");
}

#[test]
fn rejections_are_counted_separately_and_are_not_errors() {
    let address = serve(|number| match number % 4 {
        0 => rejected(),
        _ => not_found(),
    });
    let (output, json) =
        loadgen(address, &["--seconds", "0.3", "--missing", "1", "--connections", "2"]);
    assert!(output.status.success(), "{json}");
    let [rejected, missing] = ["rejected", "missing"].map(|name| &json["operations"][name]);
    let (some, more) = (rejected["count"].as_u64().unwrap(), missing["count"].as_u64().unwrap());
    assert!(some > 0 && (2 * some..=4 * some).contains(&more), "{some} and {more}");
    assert!(rejected["latency_us"]["p50"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_connection_closed_by_the_server_is_reopened() {
    let closing = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let address = serve(|_| closing.to_vec());
    let (output, json) =
        loadgen(address, &["--seconds", "0.3", "--missing", "1", "--connections", "2"]);
    assert!(output.status.success(), "{json}");
    assert!(json["generator"]["reconnects"].as_u64().unwrap() > 2, "{json}");
}

#[test]
fn server_stall_counts_for_every_request_due_during_it() {
    let address = serve(|number| {
        if number == 100 {
            std::thread::sleep(Duration::from_millis(500));
        }
        not_found()
    });
    let args = ["--rate", "200", "--arrivals", "constant", "--connections", "1", "--missing", "1"];
    let (output, json) = loadgen(address, &[&args[..], &["--seconds", "2"]].concat());
    assert!(output.status.success(), "{json}");
    let schedule = &json["schedule"];
    assert_eq!(schedule["intended"], 400);
    // A hundred were due during the stall: a closed loop would have sent one, and seen one slow answer.
    let latency = &json["operations"]["missing"]["latency_us"];
    assert!(latency["p90"].as_f64().unwrap() > 200_000.0, "{json}");
    assert!(schedule["queue_max"].as_u64().unwrap() >= 50, "{schedule}");
    let waited = schedule["waited_us"]["max"].as_f64().unwrap();
    assert!(waited > 400_000.0, "{schedule}");
}

#[test]
fn command_ends_although_the_server_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (output, json) =
        loadgen(address, &["--seconds", "0.2", "--patience", "0.3", "--connections", "3"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json["errors"], 3);
    drop(listener);
    let (output, _) = loadgen(address, &["--seconds", "0.2"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("cannot connect to") && text.lines().count() == 1, "{text}");
}

#[test]
fn a_full_server_leaves_no_object_reserved_for_a_write() {
    let args = ["--objects", "64", "--sizes", "100", "--overwrite", "--mix", "put=1"];
    let full = serve(|_| b"HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n".to_vec());
    let (output, json) = command(full, "run", &[&args[..], &["--seconds", "0.5"]].concat());
    assert_eq!(output.status.code(), Some(1), "507 is an unexpected answer");
    assert!(json["operations"]["put"]["count"].as_u64().unwrap() > 64, "{json}");
    assert_eq!(json["operations"]["get"]["count"], 0, "no object stays reserved after 507: {json}");
}

#[test]
fn unsent_writes_release_their_objects_for_the_next_rate() {
    let slow = serve(|_| {
        std::thread::sleep(Duration::from_millis(20));
        created()
    });
    let args =
        ["--objects", "64", "--sizes", "100", "--overwrite", "--mix", "put=1", "--seconds", "0.5"];
    let rates = ["--rates", "1000,10", "--connections", "1", "--patience", "0.1"];
    let (_, json) = command(slow, "run", &[&args[..], &rates].concat());
    let [first, second] = [0, 1].map(|at| &json["sweep"][at]);
    assert!(first["schedule"]["unsent"].as_u64().unwrap() > 64, "{first}");
    assert!(second["operations"]["put"]["ok"].as_u64().unwrap() > 0, "{second}");
}

#[test]
fn a_fill_retries_refused_requests() {
    let address = serve(|number| if number < 5 { rejected() } else { created() });
    let args = ["--objects", "20", "--connections", "4", "--sizes", "100"];
    let (output, json) = command(address, "fill", &args);
    assert!(output.status.success(), "{json}");
    let put = &json["operations"]["put"];
    assert_eq!((&put["ok"], &put["rejected"]), (&Value::from(20), &Value::from(5)), "{json}");
}

#[test]
fn a_fill_fails_after_permanent_refusals() {
    let address = serve(|_| rejected());
    let args = ["--sizes", "100", "--connections", "2", "--patience", "1.5"];
    let (output, json) = command(address, "fill", &[&["--objects", "3"], &args[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{json}");
    assert_eq!(json["errors"], 3, "{json}");
    assert_eq!(json["operations"]["put"]["rejected"], 6, "each was tried twice: {json}");
    let note = json["notes"][0].as_str().unwrap();
    assert!(note.contains("refused") && note.contains("--patience"), "{note}");
    let trace = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&trace, "0,get,500,a\n").unwrap();
    let file = ["--file", trace.path().to_str().unwrap(), "--format", "csv", "--prefill"];
    let (output, _) = command(address, "replay", &[&file[..], &["--patience", "0.1"]].concat());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot store every object of the trace: put of object 0"), "{text}");
}

#[test]
fn unsent_requests_count_as_latency_outside_the_objective() {
    let slow = serve(|_| {
        std::thread::sleep(Duration::from_millis(20));
        not_found()
    });
    let [page, hgrm] = [0, 1].map(|_| tempfile::NamedTempFile::new().unwrap());
    let args = ["--rate", "400", "--arrivals", "constant", "--connections", "1", "--missing", "1"];
    let more = ["--seconds", "1", "--patience", "0.3", "--slo-us", "100000"];
    let files = ["--html", page.path().to_str().unwrap(), "--hgrm", hgrm.path().to_str().unwrap()];
    let (output, json) = loadgen(slow, &[&args[..], &more, &files].concat());
    assert!(output.status.success(), "all answers were correct: {json}");
    let unsent = json["schedule"]["unsent"].as_u64().unwrap();
    assert!(unsent > 300 && json["truncated"] == true, "{json}");
    // About five were answered in 100 ms, of 400 that were due.
    assert!(json["within_slo"].as_f64().unwrap() < 0.04, "{json}");
    let read = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file).unwrap();
    assert!(read(&hgrm).contains("Total count    =          400"), "{}", read(&hgrm));
    for text in [String::from_utf8(output.stdout).unwrap(), read(&page)] {
        assert!(text.contains(&format!("TRUNCATED: {unsent} of 400")), "{text}");
    }
}

/// Simulates a busy machine: the generator does not run from the middle of its schedule until after its end.
#[test]
fn all_scheduled_requests_are_sent_despite_a_generator_stall() {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let address = serve(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        not_found()
    });
    let args = ["--objects", "10", "--rate", "400", "--arrivals", "constant", "--missing", "1"];
    let more = ["--seconds", "1", "--connections", "4", "--threads", "2", "--patience", "30"];
    let stall = Stall { asked: &asked, after: 100, pause: Duration::from_millis(1200) };
    let (output, json) = stalled(address, "run", &[&args[..], &more].concat(), Some(&stall));
    assert!(output.status.success(), "{json}");
    let schedule = &json["schedule"];
    assert_eq!(schedule["intended"], 400, "{schedule}");
    assert_eq!(schedule["sent"], 400, "{schedule}");
    assert_eq!(schedule["kept"], false, "half of the requests were late: {schedule}");
    assert_eq!(asked.load(Ordering::Relaxed), 400);
}

#[test]
fn a_replay_ends_with_its_last_answer() {
    let slow = serve(|_| {
        std::thread::sleep(Duration::from_millis(5));
        b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let trace = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = (0..100).map(|n| format!("{n},put,100,{n}")).collect();
    std::fs::write(&trace, lines.join("\n")).unwrap();
    let file = ["--file", trace.path().to_str().unwrap(), "--format", "csv", "--speed", "1e6"];
    let (output, json) = command(slow, "replay", &[&file[..], &["--connections", "1"]].concat());
    assert!(output.status.success(), "{json}");
    let seconds = json["seconds"].as_f64().unwrap();
    assert!((0.5..5.0).contains(&seconds), "{json}");
    assert!(json["requests_per_second"].as_f64().unwrap() <= 200.0, "{json}");
}

#[test]
fn unwritable_results_are_reported_and_the_table_still_printed() {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let address = serve(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        not_found()
    });
    for option in ["--hgrm", "--html"] {
        let args = ["--seconds", "0.2", "--missing", "1", option, "/nowhere/result"];
        let (output, _) = loadgen(address, &args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("cannot create /nowhere/result"), "{text}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let full = ["--seconds", "0.2", "--missing", "1", "--hgrm", "/dev/full"];
    let (output, json) = loadgen(address, &full);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("requests/s"));
    assert!(json["requests"].as_u64().unwrap() > 0, "the other files are written: {json}");
}

#[test]
fn usage_errors_give_advice() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    for (args, advice) in [
        (&["--target", "nginx", "--mix", "put=1"][..], "leave it out of --mix"),
        (&["--target", "files"], "--target nginx"),
        (&["--missing", "2"], "0 to 1"),
        (&["--pipeline", "4", "--mix", "get=1,put=1"], "--pipeline 1"),
        (&["--pipeline", "4", "--rate", "5"], "leave --pipeline out"),
        (&["--overwrite", "--mix", "put=1", "--sizes", "10"], "at least 24 bytes"),
        (&["--by-shard", "http://127.0.0.1:1", "--volumes", "1-11"], "more --objects"),
        (&["--target", "seaweedfs", "--by-shard", "http://127.0.0.1:1"], "only Hayloft has shards"),
        (&["--rate", "0"], "0.001"),
        (&["--sizes", "8K"], "8KiB"),
        (&["--url", "https://127.0.0.1:1"], "no TLS"),
    ] {
        let (output, _) = loadgen(address, args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(advice), "{args:?}: {text}");
    }
}
