//! Runs the examples of docs/HTTP.md and compares their output.

mod daemon_harness;
mod document_harness;

use daemon_harness::{Daemon, Options, data_dir};

const DOCUMENT: &str = include_str!("../docs/HTTP.md");

#[test]
fn examples_of_the_document_print_the_documented_output() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let work_dir = dir.path().join("here");
    std::fs::create_dir(&work_dir).unwrap();
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/photo.jpg");
    std::fs::copy(photo, work_dir.join("photo.jpg")).unwrap();
    let requests = document_harness::run(DOCUMENT, &work_dir, daemon.data, daemon.admin, "curl");
    assert!(requests >= 15, "found only {requests} requests in the document");
    let photo = std::fs::read(photo).unwrap();
    for name in ["back.jpg", "copy.jpg"] {
        assert!(
            std::fs::read(work_dir.join(name)).unwrap() == photo,
            "{name} differs from the uploaded photo"
        );
    }
    assert!(daemon.stop().success());
}
