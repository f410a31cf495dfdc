//! Checks with promtool: the metrics of a real daemon, and the alarms of docs/OPERATIONS.md on them.

mod daemon_harness;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use daemon_harness::{Daemon, Options, bytes, data_dir, path};
use serde_json::{Value, json};

const OPERATIONS: &str = include_str!("../docs/OPERATIONS.md");
/// Time for which the samples are constant (minutes): longer than any `for` of an alarm below a day.
const MINUTES: usize = 180;

fn promtool(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed (Debian package prometheus)");
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn output_text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// A small store: two volumes of 64 MiB, a few photos.
fn small_store(dir: &Path) -> Daemon {
    let daemon = Daemon::start(dir, &Options { shards: 2, ..Options::default() });
    let mut client = daemon.client();
    for key in 0..10 {
        assert_eq!(client.put(&path(key), &bytes(key, 20_000)).unwrap().status, 201);
        assert_eq!(client.get(&path(key)).unwrap().status, 200);
    }
    assert_eq!(client.get("/1/999/0/0123456789abcdef").unwrap().status, 404);
    daemon
}

#[test]
fn promtool_accepts_the_metrics_without_warnings() {
    let dir = data_dir();
    let daemon = small_store(dir.path());
    let text = daemon.admin("/metrics").body;
    let checked = promtool(&["check", "metrics"], &text);
    assert_eq!((checked.status.code(), output_text(&checked)), (Some(0), String::new()));
    let broken = [&text[..], b"not_a_metric{\n"].concat();
    assert!(
        !promtool(&["check", "metrics"], &broken).status.success(),
        "promtool detects malformed metrics"
    );
}

struct Alarm {
    name: String,
    expression: String,
    duration: String,
}

/// Rows of the table of alarms.
fn alarms() -> Vec<Alarm> {
    let (_, section) = OPERATIONS.split_once("\n## Alarms\n").expect("the section");
    let section = section.split_once("\n## ").expect("the next one").0;
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.contains("`"));
    let alarms: Vec<Alarm> = rows
        .map(|row| {
            let row = row.replace("\\|", "\u{0}");
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let expression = cells[2].trim_matches('`').replace('\u{0}', "|");
            Alarm { name: cells[1].to_owned(), expression, duration: cells[3].to_owned() }
        })
        .collect();
    assert!(alarms.len() >= 18, "{}", alarms.len());
    alarms
}

fn rules(alarms: &[Alarm]) -> Value {
    let rule = |alarm: &Alarm| json!({"alert": alarm.name, "expr": alarm.expression, "for": alarm.duration});
    json!({"groups": [{"name": "hayloft", "rules": alarms.iter().map(rule).collect::<Vec<_>>()}]})
}

/// The samples as series with constant values.
fn series(samples: &str) -> Vec<Value> {
    let lines = samples.lines().filter(|line| !line.starts_with('#'));
    let series = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let place = r#"instance="a:8081",job="hayloft""#;
        let name = match name.split_once('{') {
            Some((name, labels)) => format!("{name}{{{place},{labels}"),
            None => format!("{name}{{{place}}}"),
        };
        json!({"series": name, "values": format!("{value}+0x{MINUTES}")})
    });
    let up = json!({"series": r#"up{instance="a:8081",job="hayloft"}"#, "values": format!("1+0x{MINUTES}")});
    series.chain([up]).collect()
}

/// Names of the documented alarms that fire after [`MINUTES`] of these samples.
fn firing_alarms(dir: &Path, samples: &str) -> Vec<String> {
    let alarms = alarms();
    std::fs::write(dir.join("rules.yml"), rules(&alarms).to_string()).unwrap();
    // Expects that no alarm fires; promtool lists those that do.
    let silent = alarms.iter().map(|alarm| {
        json!({"eval_time": format!("{MINUTES}m"), "alertname": alarm.name, "exp_alerts": []})
    });
    let test = json!({
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": series(samples),
            "alert_rule_test": silent.collect::<Vec<_>>(),
        }],
    });
    let file = dir.join("test.yml");
    std::fs::write(&file, test.to_string()).unwrap();
    let output = promtool(&["test", "rules", file.to_str().unwrap()], b"");
    let said = output_text(&output);
    let named = said.lines().filter_map(|line| line.trim().strip_prefix("alertname: "));
    let named: Vec<String> =
        named.map(|rest| rest.split(", time:").next().unwrap().to_owned()).collect();
    assert_eq!(output.status.success(), named.is_empty(), "{said}");
    named
}

/// The samples with every sample of these metrics set to the given value.
fn with_values(samples: &str, changes: &[(&str, f64)]) -> String {
    let changed = samples.lines().map(|line| {
        let of = |(name, _): &&(&str, f64)| line.starts_with(name);
        match changes.iter().find(of) {
            Some((_, value)) => format!("{} {value}\n", line.rsplit_once(' ').unwrap().0),
            None => format!("{line}\n"),
        }
    });
    let changed: String = changed.collect();
    assert_ne!(changed, samples, "{changes:?} changes nothing");
    changed
}

#[test]
fn documented_alarms_fire_as_expected_and_not_for_a_healthy_store() {
    let dir = data_dir();
    let daemon = small_store(dir.path());
    let place = dir.path().join("promtool");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("r.yml"), rules(&alarms()).to_string()).unwrap();
    let checked = promtool(&["check", "rules", place.join("r.yml").to_str().unwrap()], b"");
    assert!(checked.status.success(), "{}", output_text(&checked));

    let figures = daemon.admin("/metrics").text();
    assert_eq!(firing_alarms(&place, &figures), Vec::<String>::new(), "a healthy small store");
    let size = 64.0 * 1_048_576.0;
    let (used, free) = ("hayloft_volume_used_bytes", "hayloft_disk_free_bytes");
    for (changes, wanted) in [
        (vec![(used, 0.75 * size)], vec![]),
        (vec![(used, 0.85 * size)], vec!["nearly full"]),
        (vec![(used, 0.85 * size), (free, size)], vec!["nearly full", "no room for a volume"]),
        (vec![(used, 0.2 * size), (free, size)], vec![]),
        (vec![("hayloft_volume_full{", 1.0)], vec!["no volume takes photos"]),
        (vec![("hayloft_volume_state{volume=\"1\",state=\"lost\"", 1.0)], vec!["volume impaired"]),
        (vec![("hayloft_durable", 0.0)], vec!["not durable"]),
        (vec![("hayloft_volume_erase_overdue", 1.0)], vec!["erasure overdue"]),
        (vec![("hayloft_shard_silence_seconds", 9.0)], vec!["shard hangs"]),
        (vec![("hayloft_cluster_masters", 3.0)], vec!["not in the cluster"]),
        (vec![("hayloft_cluster_masters", 3.0), ("hayloft_cluster_connected", 1.0)], vec![]),
    ] {
        assert_eq!(firing_alarms(&place, &with_values(&figures, &changes)), wanted, "{changes:?}");
    }
}
