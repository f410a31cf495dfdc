//! Errors and warnings of a daemon that cannot start, or only with some of its volumes.

mod daemon_harness;

use std::path::Path;
use std::time::Duration;

use daemon_harness::{Daemon, Options, data_dir, path};

/// Starts a daemon that must fail with exit code 2. Returns its log.
fn start_fails(dir: &Path, options: &Options) -> String {
    let mut daemon = Daemon::launch(dir, options);
    let status = daemon.wait(Duration::from_secs(60)).expect("it should not run");
    assert_eq!(status.code(), Some(2), "{}", daemon.log_text());
    let log = daemon.log_text();
    assert!(!log.contains("panicked"), "{log}");
    log
}

/// A store with one photo, whose daemon was stopped.
fn stopped_store() -> tempfile::TempDir {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    daemon.client().put(&path(1), b"here").unwrap();
    assert!(daemon.stop().success());
    std::fs::remove_file(dir.path().join("log")).unwrap();
    dir
}

fn assert_contains(log: &str, words: &[&str]) {
    for word in words {
        assert!(log.contains(word), "{word:?} is missing:\n{log}");
    }
}

#[test]
fn configuration_error_names_file_line_and_key() {
    let dir = data_dir();
    let options =
        Options { config: "log = \"info\"\nvolum_size = 1\n".into(), ..Options::default() };
    assert_contains(&start_fails(dir.path(), &options), &["config.toml", "2", "volum_size"]);
    let args = vec!["--cores".to_owned(), "9999".to_owned()];
    let mut daemon = Daemon::launch(dir.path(), &Options { args, ..Options::default() });
    assert_ne!(daemon.wait(Duration::from_secs(60)).unwrap().code(), Some(0));
}

#[test]
fn second_daemon_on_the_same_directory_or_port_fails() {
    let dir = data_dir();
    let first = Daemon::start(dir.path(), &Options::default());
    let log = start_fails(dir.path(), &Options::default());
    assert_contains(&log, &["data", &first.child.id().to_string()]);
    let other = data_dir();
    let (_, admin) = (first.admin, first.admin);
    let mut second = Daemon::launch_on(other.path(), &Options::default(), first.data, admin);
    assert_eq!(second.wait(Duration::from_secs(60)).unwrap().code(), Some(2));
    assert_contains(&second.log_text(), &["cannot listen on", &first.data.to_string()]);
    assert!(first.stop().success());
}

#[test]
fn directory_with_foreign_files_is_refused_and_unchanged() {
    let dir = data_dir();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("data/letter.txt"), "dear").unwrap();
    assert_contains(&start_fails(dir.path(), &Options::default()), &["letter.txt"]);
    assert_eq!(std::fs::read_dir(dir.path().join("data")).unwrap().count(), 1);
}

#[test]
fn data_directory_of_a_newer_format_is_refused() {
    let dir = stopped_store();
    let marker = dir.path().join("data/hayloft.toml");
    let text = std::fs::read_to_string(&marker).unwrap().replace("format = 1", "format = 2");
    std::fs::write(&marker, text).unwrap();
    assert_contains(&start_fails(dir.path(), &Options::default()), &["format 2", "newer"]);
}

#[test]
fn first_volume_that_does_not_fit_fails_the_start_without_traces() {
    let dir = data_dir();
    let options = Options { volume_size: "1TiB", ..Options::default() };
    assert_contains(&start_fails(dir.path(), &options), &["volume 1", "1TiB", "No space"]);
    // The failed start leaves nothing behind, so the next one succeeds.
    assert!(!dir.path().join("data").exists());
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(daemon.client().put(&path(1), b"x").unwrap().status, 201);
}

/// Starts a daemon after `change` to its only volume file; it must fail. Returns the log.
fn start_with_changed_volume(change: impl Fn(&Path)) -> String {
    let dir = stopped_store();
    change(&dir.path().join("data/1.0.vol"));
    let mut daemon = Daemon::launch(dir.path(), &Options::default());
    let status = daemon.wait(Duration::from_secs(60)).expect("no volume can be served");
    assert_eq!(status.code(), Some(1));
    let log = daemon.log_text();
    assert!(!log.contains("panicked"), "{log}");
    assert_contains(&log, &["cannot open the volume"]);
    log
}

#[test]
fn invalid_volume_file_is_reported_with_the_reason() {
    let log = start_with_changed_volume(|file| {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_len(32 << 20).unwrap();
    });
    assert_contains(&log, &["33554432", "67108864", "truncated"]);
    let log = start_with_changed_volume(|file| {
        let len = usize::try_from(std::fs::metadata(file).unwrap().len()).unwrap();
        std::fs::write(file, vec![7; len]).unwrap();
    });
    assert_contains(&log, &["no valid superblock"]);
    let log = start_with_changed_volume(|file| {
        std::fs::rename(file, file.with_file_name("2.0.vol")).unwrap();
    });
    assert_contains(&log, &["volume 1", "volume 2", "rename"]);
    let log = start_with_changed_volume(|file| {
        std::fs::rename(file, file.with_file_name("1.3.vol")).unwrap();
    });
    assert_contains(&log, &["generation 0", "3"]);
    let foreign = stopped_store();
    let log = start_with_changed_volume(|file| {
        std::fs::copy(foreign.path().join("data/1.0.vol"), file).unwrap();
    });
    assert_contains(&log, &["belongs to store"]);
}

#[test]
fn damaged_volume_does_not_affect_others() {
    let dir = stopped_store();
    let good = dir.path().join("data/1.0.vol");
    std::fs::write(dir.path().join("data/2.0.vol"), vec![1; 1 << 20]).unwrap();
    assert!(good.exists());
    let daemon = Daemon::start(dir.path(), &Options { shards: 2, ..Options::default() });
    let mut client = daemon.client();
    assert_eq!(client.get(&path(1)).unwrap().body, b"here");
    let reply = client.get(&path(1).replacen("/1/", "/2/", 1)).unwrap();
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
    assert_eq!(daemon.admin("/readyz?strict").status, 503);
    assert!(daemon.stop().success());
}

#[test]
fn tmpfs_is_refused_without_traces_unless_buffered_is_set() {
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let words = ["--buffered", "tmpfs", "memory", "a restart of the machine"];
    assert_contains(&start_fails(shm.path(), &Options::default()), &words);
    assert!(!shm.path().join("data").exists());
    std::fs::create_dir(shm.path().join("data")).unwrap();
    assert_contains(&start_fails(shm.path(), &Options::default()), &words);
    assert_eq!(std::fs::read_dir(shm.path().join("data")).unwrap().count(), 0);
    let args = vec!["--buffered".to_owned()];
    let daemon = Daemon::start(shm.path(), &Options { args, ..Options::default() });
    assert_eq!(daemon.client().put(&path(1), b"x").unwrap().status, 201);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"x");
    assert!(daemon.admin("/status").text().contains("\"durable\":false"));
    assert!(daemon.log_text().contains("buffered"));
}

#[test]
fn failed_start_creates_no_data_directory() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for was_there in [false, true] {
        let dir = data_dir();
        let data = dir.path().join("data");
        if was_there {
            std::fs::create_dir(&data).unwrap();
        }
        let untouched = || {
            assert_eq!(data.exists(), was_there);
            assert_eq!(std::fs::read_dir(&data).map_or(0, Iterator::count), 0);
        };
        // A port in use, an access trace that cannot be written, a second directory that cannot be created.
        let args = vec!["--listen".to_owned(), address.to_string()];
        let log = start_fails(dir.path(), &Options { args, ..Options::default() });
        assert_contains(&log, &["cannot listen on"]);
        untouched();
        let config = "[access_trace]\nfile = \"/nonexistent/trace\"\n".to_owned();
        let log = start_fails(dir.path(), &Options { config, ..Options::default() });
        assert_contains(&log, &["access trace"]);
        untouched();
        let args = vec!["--data".to_owned(), "/proc/hayloft".to_owned()];
        let log = start_fails(dir.path(), &Options { args, ..Options::default() });
        assert_contains(&log, &["/proc/hayloft", "makes no new directories"]);
        assert!(!log.contains("/proc does not exist"), "{log}");
        untouched();
    }
}

#[test]
fn failed_start_leaves_an_existing_data_directory_unchanged() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = stopped_store();
    std::fs::remove_file(dir.path().join("data/LOCK")).unwrap();
    let names = || {
        let names = std::fs::read_dir(dir.path().join("data")).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let args = vec!["--listen".to_owned(), taken.local_addr().unwrap().to_string()];
    assert_contains(
        &start_fails(dir.path(), &Options { args, ..Options::default() }),
        &["cannot listen"],
    );
    assert_eq!(names(), before, "no lock file either");
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"here");
}

#[test]
fn volume_with_zeroed_preallocation_works() {
    let dir = data_dir();
    let options = Options { config: "prealloc = \"zeroed\"\n".into(), ..Options::default() };
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().put(&path(1), b"x").unwrap().status, 201);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"x");
    assert!(daemon.stop().success());
}

/// The limit does not apply to root, so the daemon runs as another user if the test runs as root.
fn with_low_memlock_limit(config: &str) -> (tempfile::TempDir, Options) {
    use std::os::unix::fs::PermissionsExt;
    let dir = data_dir();
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(dir.path(), everybody).unwrap();
    let launcher = ["prlimit", "--memlock=4194304:4194304"].map(str::to_owned).to_vec();
    let user = nix::unistd::Uid::effective().is_root().then_some(65_534);
    (dir, Options { config: config.to_owned(), launcher, user, ..Options::default() })
}

#[test]
fn low_memlock_limit_warns_and_uses_unregistered_buffers() {
    let (dir, options) = with_low_memlock_limit("");
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.log_text().matches("LimitMEMLOCK").count(), 1, "{}", daemon.log_text());
    assert!(daemon.admin("/status").text().contains("\"registered_buffers\":false"));
    assert_eq!(daemon.client().put(&path(1), b"x").unwrap().status, 201);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"x");
    assert!(daemon.stop().success());
}

#[test]
fn low_memlock_limit_fails_if_registered_buffers_are_required() {
    let (dir, options) = with_low_memlock_limit("require_registered = true\n");
    assert_contains(&start_fails(dir.path(), &options), &["require_registered", "LimitMEMLOCK"]);
}

#[test]
fn unmounted_disk_affects_only_its_volumes() {
    let dir = data_dir();
    let (first, second) = (dir.path().join("data"), dir.path().join("other"));
    let args = vec!["--data".to_owned(), second.display().to_string()];
    let both = Options { args, ..Options::default() };
    let daemon = Daemon::start(dir.path(), &both);
    assert_eq!(daemon.client().put(&path(1), b"here").unwrap().status, 201);
    assert!(daemon.stop().success());
    // An empty mount point, and a missing one.
    let away = dir.path().join("away");
    std::fs::rename(&first, &away).unwrap();
    for empty in [true, false] {
        if empty {
            std::fs::create_dir(&first).unwrap();
        } else {
            std::fs::remove_dir(&first).unwrap();
        }
        std::fs::remove_file(dir.path().join("log")).unwrap();
        let daemon = Daemon::launch(dir.path(), &both);
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !daemon.log_text().contains("photos on") {
            assert!(std::time::Instant::now() < deadline, "{}", daemon.log_text());
            std::thread::sleep(Duration::from_millis(10));
        }
        let reply = daemon.client().get(&path(1)).unwrap();
        assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
        assert_eq!(daemon.admin("/readyz").status, 503);
        assert!(!first.join("hayloft.toml").exists() && !second.join("1.0.vol").exists());
        assert!(daemon.stop().success());
    }
    std::fs::rename(&away, &first).unwrap();
    let daemon = Daemon::start(dir.path(), &both);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"here");
}

/// A file size limit makes a write fail with EFBIG.
#[test]
fn daemon_exits_with_an_error_when_no_volume_accepts_writes() {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    let large = vec![7; 1 << 20];
    for key in 0..3 {
        assert_eq!(daemon.client().put(&path(key), &large).unwrap().status, 201);
    }
    assert!(daemon.stop().success());
    let launcher = ["sh", "-c", "trap '' XFSZ; exec prlimit --fsize=1048576 \"$@\"", "sh"];
    let launcher = launcher.map(str::to_owned).to_vec();
    let mut limited = Daemon::start(dir.path(), &Options { launcher, ..Options::default() });
    assert_eq!(limited.client().put(&path(9), b"lost").unwrap().status, 500);
    let status = limited.wait(Duration::from_secs(60)).expect("no volume takes writes any more");
    assert_eq!(status.code(), Some(1), "{}", limited.log_text());
    assert_contains(&limited.log_text(), &["a write failed", "no volume takes writes any more"]);
    // A restart without the limit recovers.
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(daemon.client().get(&path(2)).unwrap().body, large);
    assert_eq!(daemon.client().get(&path(9)).unwrap().status, 404);
    assert_eq!(daemon.client().put(&path(9), b"found").unwrap().status, 201);
}
