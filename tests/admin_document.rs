//! The examples of docs/ADMIN.md print what it shows, and it describes every route and every status field.

mod daemon_harness;
mod document_harness;

use std::collections::BTreeSet;

use daemon_harness::{Daemon, Options, data_dir};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../docs/ADMIN.md");
const ROUTES: &str = include_str!("../src/node/control/admin/routes.rs");

#[test]
fn examples_print_the_documented_output() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let work_dir = dir.path().join("here");
    std::fs::create_dir(&work_dir).unwrap();
    let requests = document_harness::run(DOCUMENT, &work_dir, daemon.data, daemon.admin, "curl");
    assert!(requests >= 15, "only {requests} requests were found");
    assert!(daemon.stop().success());
}

/// The first column of the tables below a heading, without the backticks.
fn first_column(heading: &str) -> BTreeSet<&'static str> {
    let heading = format!("\n## {heading}\n");
    let (_, section) = DOCUMENT.split_once(&heading).expect("the document has this heading");
    let section = section.split("\n## ").next().expect("split() yields at least one part");
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
fn documented_status_fields_match_the_reply() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let status = serde_json::from_slice(&daemon.admin("/status").body).unwrap();
    let mut returned = BTreeSet::new();
    fields(&status, "", &mut returned);
    let returned: BTreeSet<&str> = returned.iter().map(String::as_str).collect();
    let mut documented = first_column("The status");
    for field in first_column("A volume") {
        // Present only while a volume is being created, or if that failed.
        if !["progress", "error"].contains(&field) {
            documented.insert(Box::leak(format!("volumes[].{field}").into_boxed_str()));
        }
    }
    assert_eq!(documented, returned);
}

#[test]
fn every_route_is_documented() {
    let routes = ROUTES.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    let mut count = 0;
    for route in routes.filter_map(|line| line.split('"').next()) {
        assert!(DOCUMENT.contains(&format!("{route}`")), "{route} is not documented");
        count += 1;
    }
    assert!(count >= 8, "only {count} routes were found");
}
