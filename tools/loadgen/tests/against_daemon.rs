//! Tests of the command against a real daemon in this process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hayloft::base::access_trace::{Header, Method, Record, object_hash};
use hayloft::base::logging::Log;
use hayloft::base::size::ByteSize;
use hayloft::node::config::{Config, Limits};
use hayloft::node::daemon::{FirstVolume, Private};
use serde_json::Value;

/// A daemon with one volume, and a directory for output files.
struct Setup {
    daemon: Option<Private>,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let place = std::env::var("HAYLOFT_TEST_DIR");
        let dir =
            tempfile::tempdir_in(place.unwrap_or(env!("CARGO_TARGET_TMPDIR").into())).unwrap();
        let config = Config {
            data: vec![dir.path().join("data")],
            volume_size: ByteSize::mib(64),
            cores: "0".parse().unwrap(),
            limits,
            ..Config::default()
        };
        Self {
            daemon: Some(Private::start(&config, &Log::none(), FirstVolume::Create).unwrap()),
            dir,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command against the daemon.
    fn loadgen(&self, args: &[&str]) -> Output {
        let address = self.daemon.as_ref().unwrap().data_address();
        let (command, rest) = args.split_first().unwrap();
        let url = format!("http://{address}");
        run(&[&[*command, "--url", &url], rest].concat())
    }

    /// Runs a command, which must succeed; returns its JSON.
    fn json(&self, args: &[&str]) -> Value {
        let path = self.path("result.json");
        let output = self.loadgen(&[args, &["--quiet", "--json", path.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{args:?}: {}", read(&path));
        assert!(output.stdout.is_empty(), "--quiet");
        serde_json::from_str(&read(&path)).unwrap()
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop().unwrap();
        }
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hayloft-loadgen")).args(args).output().unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn count(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} in {json}"))
}

#[test]
fn filled_objects_are_found_and_all_operations_counted() {
    let setup = Setup::new();
    let sizes = ["--sizes", "mix:100=50,8KiB=40,70KiB=10", "--alts", "2"];
    let filled =
        setup.json(&[&["fill", "--objects", "300", "--threads", "2"][..], &sizes].concat());
    assert_eq!((count(&filled, "/requests"), count(&filled, "/operations/put/ok")), (300, 300));
    assert_eq!(count(&filled, "/statuses/201"), 300);
    let mix = ["--mix", "get=70,put=15,delete=5,range=10", "--range-len", "64", "--missing", "0.3"];
    let load =
        ["run", "--objects", "300", "--seconds", "1", "--threads", "2", "--popularity", "zipf:0.9"];
    let ran = setup.json(&[&load[..], &mix, &sizes].concat());
    for kind in ["get", "put", "delete", "range", "missing"] {
        assert!(count(&ran, &format!("/operations/{kind}/count")) > 0, "{kind} in {ran}");
    }
    assert_eq!((count(&ran, "/wrong"), count(&ran, "/errors")), (0, 0));
    assert_eq!(count(&ran, "/operations/missing/missing"), count(&ran, "/statuses/404"));
    assert_eq!(count(&ran, "/operations/range/ok"), count(&ran, "/statuses/206"));
    assert!(ran["schedule"].is_null() && ran["generator"]["cpu_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn objects_of_another_seed_are_not_found() {
    let setup = Setup::new();
    setup.json(&["fill", "--objects", "20"]);
    let output = setup.loadgen(&["run", "--objects", "20", "--seed", "2", "--seconds", "0.2"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("get of object") && text.contains("status 404"), "{text}");
}

#[test]
fn quiet_load_names_its_failures() {
    let setup = Setup::new();
    setup.json(&["fill", "--objects", "20"]);
    let run = ["run", "--objects", "20", "--seed", "2", "--seconds", "0.2"];
    for rates in [&[][..], &["--rates", "50,100"]] {
        let output = setup.loadgen(&[&run[..], rates, &["--quiet"]].concat());
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        let text = String::from_utf8(output.stderr).unwrap();
        let lines = text.lines().filter(|line| line.contains("0 wrong answers, "));
        assert_eq!(lines.count(), rates.len().max(1), "{text}");
        assert!(text.contains("get of object") && text.contains("status 404"), "{text}");
    }
}

#[test]
fn large_bodies_batches_and_pipelines_are_verified() {
    let setup = Setup::new();
    setup.json(&["fill", "--objects", "4", "--sizes", "3MiB", "--connections", "2"]);
    let sizes = ["--sizes", "3MiB", "--seconds", "0.3"];
    let mix = ["--mix", "get=1,range=1", "--range-len", "1MiB"];
    setup.json(&[&["run", "--objects", "4", "--connections", "4"][..], &sizes, &mix].concat());
    let batched = ["fill", "--objects", "500", "--seed", "3", "--sizes", "2KiB", "--batch", "64"];
    let filled = setup.json(&batched);
    assert_eq!(count(&filled, "/operations/batch/ok"), 8, "500 objects in batches of 64");
    let deep = ["run", "--objects", "500", "--seed", "3", "--sizes", "2KiB", "--pipeline", "16"];
    let ran = setup.json(&[&deep[..], &["--missing", "0.1", "--seconds", "0.5"]].concat());
    assert!(count(&ran, "/operations/get/ok") > 100);
}

#[test]
fn reads_return_the_last_overwrite() {
    let setup = Setup::new();
    setup.json(&["fill", "--objects", "100", "--sizes", "1KiB"]);
    let load =
        ["run", "--objects", "100", "--sizes", "1KiB", "--seconds", "0.5", "--connections", "8"];
    let ran = setup.json(&[&load[..], &["--mix", "get=1,put=1", "--overwrite"]].concat());
    assert!(count(&ran, "/statuses/204") > 0, "{ran}");
    setup.json(&load);
}

#[test]
fn open_loop_follows_its_rates_and_writes_result_files() {
    let setup = Setup::new();
    setup.json(&["fill", "--objects", "100", "--sizes", "1KiB"]);
    let [hlog, hgrm, html] = ["a.hlog", "a.hgrm", "a.html"].map(|name| setup.path(name));
    let ran = setup.json(
        &[
            &["run", "--objects", "100", "--sizes", "1KiB", "--seconds", "1", "--rates", "100,400"]
                [..],
            &["--arrivals", "constant", "--hlog", hlog.to_str().unwrap()],
            &["--hgrm", hgrm.to_str().unwrap(), "--html", html.to_str().unwrap()],
        ]
        .concat(),
    );
    for (at, rate) in [(0, 100), (1, 400)] {
        let load = &ran["sweep"][at];
        assert_eq!(count(load, "/schedule/intended"), rate);
        assert_eq!(count(load, "/schedule/sent") + count(load, "/schedule/unsent"), rate);
        assert_eq!(count(load, "/operations/get/ok"), count(load, "/schedule/sent"));
    }
    for rate in [100, 400] {
        let text = read(&setup.path(&format!("a-{rate}.hlog")));
        assert!(
            text.starts_with("#[Histogram log format version 1.3]\n") && text.contains("Tag=get,"),
            "{text}"
        );
    }
    assert!(read(&hgrm).contains("1/(1-Percentile)"));
    let page = read(&html);
    for title in ["Latency by percentile", "Throughput over time", "Rate against latency"] {
        assert!(page.contains(title));
    }
    assert!(!page.contains("<script") && !page.contains("http://www") && !page.contains("src="));
}

#[test]
fn daemon_access_trace_is_converted_and_replayed() {
    let setup = Setup::new();
    let trace = setup.path("access.trace");
    let mut bytes = Header { threshold: u64::MAX, started: 0 }.encode().to_vec();
    for n in 0..200_u32 {
        let object = object_hash(1, u64::from(n % 20), 0);
        let (time, size, method) = (u64::from(n) * 1_000_000, 100 + n % 20, Method::Get);
        let record =
            Record { time, object, size, service_us: 9, status: 200, method, flags: 0, volume: 1 };
        bytes.extend_from_slice(&record.encode());
    }
    std::fs::write(&trace, bytes).unwrap();
    let converted = setup.path("trace.bin");
    let output =
        run(&["record", "--from", trace.to_str().unwrap(), "--to", converted.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "200 reads of 20 objects, from 200 requests\n");
    let file = ["--format", "oracle-general", "--file", converted.to_str().unwrap()];
    let replayed = setup.json(&[&["replay", "--prefill", "--as-fast"][..], &file].concat());
    assert_eq!(count(&replayed, "/operations/get/ok"), 200);
    let sampled = setup
        .json(&[&["replay", "--speed", "10", "--sample", "0.5", "--prefill"][..], &file].concat());
    let (sent, asked) = (count(&sampled, "/schedule/sent"), count(&sampled, "/operations/get/ok"));
    assert!(sent == asked && asked % 10 == 0 && (20..=180).contains(&asked), "{sent} {asked}");
}

#[test]
fn a_trace_with_writes_is_replayed() {
    let setup = Setup::new();
    let csv = setup.path("trace.csv");
    std::fs::write(
        &csv,
        "ms,op,size,name\n0,put,500,a\n5,get,500,a\n9,get,70000,b\n9,delete,0,b\n",
    )
    .unwrap();
    let columns = ["--columns", "time=1,op=2,size=3,id=4", "--time-unit", "ms", "--prefill"];
    let file = ["replay", "--format", "csv", "--file", csv.to_str().unwrap()];
    let replayed = setup.json(&[&file[..], &columns].concat());
    assert_eq!(count(&replayed, "/operations/get/ok"), 2);
    assert_eq!(count(&replayed, "/operations/put/ok"), 1);
}

#[test]
fn flood_counts_misbehaving_clients_and_others_are_served() {
    let setup = Setup::with(Limits { head_timeout_seconds: 1, ..Limits::default() });
    setup.json(&["fill", "--objects", "50", "--sizes", "1KiB"]);
    let flood = |kind, seconds| {
        setup.json(&[
            "flood",
            "--kind",
            kind,
            "--connections",
            "30",
            "--seconds",
            seconds,
            "--objects",
            "50",
        ])
    };
    let slow = flood("slow-head", "3");
    assert!(
        count(&slow, "/statuses/408") >= 30 && count(&slow, "/ended_by_server") >= 30,
        "{slow}"
    );
    let garbage = flood("garbage", "0.5");
    assert!(count(&garbage, "/statuses/400") >= 30, "{garbage}");
    let reset = flood("reset", "0.5");
    assert!(count(&reset, "/opened") >= 30, "{reset}");
    for kind in ["slow-body", "slow-read", "half-open"] {
        assert_eq!(count(&flood(kind, "0.5"), "/opened"), 30, "{kind}");
    }
    setup.json(&["run", "--objects", "50", "--sizes", "1KiB", "--seconds", "0.2"]);
}
