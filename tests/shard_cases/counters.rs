//! What shards count and report.

use hayloft::node::metrics::{Exporter, ExpositionFormat, ReadMetric};

use crate::shard_world::{COOKIE, SECOND, Shards, config};
use crate::{get, put, start_request};

/// Sends a request to shard 0 and returns the status of the answer.
fn ask(shards: &mut Shards, request: impl Into<String>) -> u16 {
    let client = start_request(shards, 0, request);
    shards.run_until("an answer", 5 * SECOND, |_| !client.taken().statuses().is_empty());
    client.taken().statuses()[0]
}

/// The exported value of shard 0 with this name and label.
fn exported(shards: &Shards, name: &str, label: &str) -> u64 {
    let text = Exporter::new(shards.metrics.clone(), || 0).text(ExpositionFormat::Text).unwrap();
    let of = |line: &&str| line.starts_with(name) && line.contains(label);
    let line = text.lines().find(of).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn only_gets_count_as_gets() {
    let mut shards = Shards::start(1, config);
    let counted = |shards: &Shards| {
        let metrics = &shards.metrics.shards[0];
        (metrics.gets_missing.get(), metrics.gets_found.get())
    };
    assert_eq!(ask(&mut shards, get(1)), 404);
    assert_eq!(counted(&shards), (1, 0));
    assert_eq!(ask(&mut shards, get(1).replacen("GET", "HEAD", 1)), 404);
    assert_eq!(counted(&shards), (1, 0));
    assert_eq!(ask(&mut shards, put(1, 5, 5)), 201);
    assert_eq!(ask(&mut shards, get(1)), 200);
    assert_eq!(counted(&shards), (1, 1));
    assert_eq!(ask(&mut shards, get(1).replacen("GET", "HEAD", 1)), 200);
    assert_eq!(counted(&shards), (1, 1));
}

#[test]
fn multi_delete_counts_its_body_and_its_answer() {
    let mut shards = Shards::start(1, config);
    assert_eq!(ask(&mut shards, put(1, 5, 5)), 201);
    let before = shards.metrics.shards[0].payload_bytes_in.get();
    let body = format!("1/0/{COOKIE}\n2/0/{COOKIE}\n");
    let request = format!(
        "POST /1/delete HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(ask(&mut shards, request), 200);
    let received = shards.metrics.shards[0].payload_bytes_in.get() - before;
    assert_eq!(received, body.len() as u64);
    let counted = |status| {
        exported(&shards, "hayloft_responses_by_status_total", &format!("status=\"{status}\""))
    };
    assert_eq!([counted(201), counted(200)], [1, 1]);
}

#[test]
fn time_of_reads_is_known_for_the_disk_that_has_been_read() {
    let mut shards = Shards::start(1, config);
    assert_eq!(ask(&mut shards, put(1, 5, 5)), 201);
    let p99_ns = |shards: &Shards, disk| shards.shared.read_p99_ns(disk, shards.world.now());
    assert_eq!(p99_ns(&shards, 0), None);
    let began = shards.world.now();
    assert_eq!(ask(&mut shards, get(1)), 200);
    let took = shards.world.now() - began;
    let p99 = p99_ns(&shards, 0).unwrap();
    assert!((1..=took).contains(&p99), "{p99} ns of {took} ns");
    assert_eq!(p99_ns(&shards, 1), None, "there is no such disk");
}

#[test]
fn shard_is_at_rest_while_it_has_no_client() {
    let mut shards = Shards::start(1, config);
    shards.run_until("the shard to be at rest", SECOND, |shards| shards.is_at_rest(0));
    let client = start_request(&shards, 0, get(1));
    shards.run_until("an answer", SECOND, |_| !client.taken().statuses().is_empty());
    shards.run_for(SECOND);
    assert!(!shards.is_at_rest(0), "the connection is open");
    shards.spawn(async move { client.close().await });
    shards.run_until("the shard to be at rest again", SECOND, |shards| shards.is_at_rest(0));
}

#[test]
fn duration_of_each_iteration_is_recorded() {
    let mut shards = Shards::start(1, config);
    assert_eq!(ask(&mut shards, get(1)), 404);
    let recorded = exported(&shards, "hayloft_turn_duration_seconds_count", "shard=\"0\"");
    assert!(recorded > 0);
    assert_eq!(recorded, shards.metrics.shards[0].turns.get());
}
