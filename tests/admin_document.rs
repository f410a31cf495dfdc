//! What docs/ADMIN.md shows works as printed, and it names every field of the answers and every route.

mod daemon_harness;
mod document_harness;

use std::collections::BTreeSet;

use daemon_harness::{Daemon, Options, data_dir};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../docs/ADMIN.md");
const ROUTES: &str = include_str!("../src/node/control/admin/routes.rs");

#[test]
fn its_examples_print_what_they_should() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let place = dir.path().join("here");
    std::fs::create_dir(&place).unwrap();
    let requests = document_harness::run(DOCUMENT, &place, daemon.data, daemon.admin, "curl");
    assert!(requests >= 15, "only {requests} requests were found");
    assert!(daemon.stop().success());
}

/// The first column of the tables below a heading, without the backticks.
fn first_column(heading: &str) -> BTreeSet<&'static str> {
    let heading = format!("\n## {heading}\n");
    let (_, section) = DOCUMENT.split_once(&heading).expect("the heading is there");
    let section = section.split("\n## ").next().expect("what comes before it");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}

/// Paths of all fields: `shards[].id`.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                fields(value, &path, found);
            }
        }
        Value::Array(values) if values.iter().all(Value::is_object) => {
            for value in values {
                fields(value, &format!("{path}[]"), found);
            }
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

#[test]
fn every_field_of_the_status_is_described_and_no_other() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let status = serde_json::from_slice(&daemon.admin("/status").body).unwrap();
    let mut answered = BTreeSet::new();
    fields(&status, "", &mut answered);
    let answered: BTreeSet<&str> = answered.iter().map(String::as_str).collect();
    let mut described = first_column("The status");
    for field in first_column("A volume") {
        // Two of them only while it is made, or could not be.
        if !["progress", "error"].contains(&field) {
            described.insert(Box::leak(format!("volumes[].{field}").into_boxed_str()));
        }
    }
    assert_eq!(described, answered);
}

#[test]
fn every_route_is_described() {
    let routes = ROUTES.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    let mut count = 0;
    for route in routes.filter_map(|line| line.split('"').next()) {
        assert!(DOCUMENT.contains(&format!("{route}`")), "{route} is not described");
        count += 1;
    }
    assert!(count >= 8, "only {count} routes were found");
}
