//! A daemon whose clock is before 1970 or after the year 9999, where no HTTP date exists: it starts, serves
//! and reports its status, and works normally once the clock is set.

mod daemon_harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use daemon_harness::{Daemon, Options, RawConnection, bytes, data_dir, path};
use hayloft::http::date;

/// First second of the year 10000.
const YEAR_10000: i64 = 253_402_300_800;
const EARLIEST: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

/// The clock of one process, set through `tests/clock/shift.c`.
struct Clock {
    shim: PathBuf,
    file: PathBuf,
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

impl Clock {
    fn new(dir: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clock/shift.c");
        let clock = Self { shim: dir.join("shift.so"), file: dir.join("shift") };
        let mut compiler = Command::new("cc");
        let compiled = compiler.args(["-shared", "-fPIC", "-o"]).arg(&clock.shim).arg(source);
        let compiled = compiled.output().expect("a C compiler, as for linking");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        clock
    }

    /// Sets the time (seconds since 1970).
    fn set(&self, seconds: i64) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, (seconds - now()).to_string()).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }

    fn options(&self) -> Options {
        let variable = |name: &str, path: &Path| format!("{name}={}", path.to_str().unwrap());
        let launcher = vec![
            "env".to_owned(),
            variable("LD_PRELOAD", &self.shim),
            variable("CLOCK_FILE", &self.file),
        ];
        Options { launcher, ..Options::default() }
    }
}

/// Asserts that both APIs reply, with the same `Date`; returns it.
fn reply_date(daemon: &Daemon, key: u64) -> String {
    let stored = daemon.client().put(&path(key), &bytes(key, 1000)).unwrap();
    let data_date = stored.header("date").unwrap().to_owned();
    assert!((200..300).contains(&stored.status), "{stored:?}");
    assert_eq!(daemon.client().get(&path(key)).unwrap().body, bytes(key, 1000));
    for place in ["/healthz", "/readyz", "/metrics", "/status", "/volumes", "/absent"] {
        let reply = daemon.admin(place);
        let wanted = if place == "/absent" { 404 } else { 200 };
        assert_eq!((reply.status, place), (wanted, place), "{}", reply.text());
        let dates = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("date"));
        assert_eq!(dates.count(), 1, "{reply:?}");
        assert_near(reply.header("date").unwrap(), &data_date);
    }
    // A reply made by hyper itself.
    let mut client = RawConnection::open(daemon.admin).unwrap();
    client.send(b"no request\r\n\r\n").unwrap();
    assert_eq!(client.reply(false).unwrap().status, 400);
    data_date
}

fn seconds(text: &str) -> i64 {
    date::parse(text.as_bytes(), 0).unwrap().try_into().unwrap()
}

/// Asserts that two dates are of about the same time; allows for slow requests on a busy machine.
fn assert_near(one: &str, other: &str) {
    assert!((seconds(one) - seconds(other)).abs() < 300, "{one} and {other}");
}

#[test]
fn apis_reply_while_the_clock_is_outside_http_dates() {
    for start in [-1_000_000, YEAR_10000 + 1000] {
        let dir = data_dir();
        let clock = Clock::new(dir.path());
        clock.set(start);
        let daemon = Daemon::start(dir.path(), &clock.options());
        let first = reply_date(&daemon, 1);
        assert_eq!(first == EARLIEST, start < 0, "{first}");
        for time in [YEAR_10000 - 5, YEAR_10000 + 100_000, -5, now()] {
            clock.set(time);
            reply_date(&daemon, 2);
        }
        let set = reply_date(&daemon, 3);
        assert!((seconds(&set) - now()).abs() < 300, "{set}");
        let log = daemon.log_text();
        assert!(!log.contains("panicked"), "{log}");
        assert!(daemon.stop().success());
    }
}
