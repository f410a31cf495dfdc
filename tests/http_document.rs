//! What docs/HTTP.md shows works as printed.

mod daemon_harness;
mod document_harness;

use daemon_harness::{Daemon, Options, data_dir};

const DOCUMENT: &str = include_str!("../docs/HTTP.md");

#[test]
fn its_examples_print_what_they_should() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let place = dir.path().join("here");
    std::fs::create_dir(&place).unwrap();
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/photo.jpg");
    std::fs::copy(photo, place.join("photo.jpg")).unwrap();
    let requests = document_harness::run(DOCUMENT, &place, daemon.data, daemon.admin, "curl");
    assert!(requests >= 15, "only {requests} requests were found");
    let photo = std::fs::read(photo).unwrap();
    for name in ["back.jpg", "copy.jpg"] {
        assert!(std::fs::read(place.join(name)).unwrap() == photo, "another photo came back");
    }
    assert!(daemon.stop().success());
}
