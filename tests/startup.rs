//! What the daemon says when it cannot start, or can start only in part.

mod daemon_harness;

use std::path::Path;
use std::time::Duration;

use daemon_harness::{Daemon, Options, data_dir, path};

/// Starts a daemon that must refuse: its exit code and what it says.
fn refused(dir: &Path, options: &Options) -> String {
    let mut daemon = Daemon::launch(dir, options);
    let status = daemon.wait(Duration::from_secs(60)).expect("it should not run");
    assert_eq!(status.code(), Some(2), "{}", daemon.log_text());
    let log = daemon.log_text();
    assert!(!log.contains("panicked"), "{log}");
    log
}

fn started_once() -> tempfile::TempDir {
    let dir = data_dir();
    let daemon = Daemon::start(dir.path(), &Options::default());
    daemon.client().put(&path(1), b"here").unwrap();
    assert!(daemon.stop().success());
    std::fs::remove_file(dir.path().join("log")).unwrap();
    dir
}

fn assert_says(log: &str, words: &[&str]) {
    for word in words {
        assert!(log.contains(word), "does not say {word:?}:\n{log}");
    }
}

#[test]
fn a_wrong_configuration_names_file_line_and_key() {
    let dir = data_dir();
    let options =
        Options { config: "log = \"info\"\nvolum_size = 1\n".into(), ..Options::default() };
    assert_says(&refused(dir.path(), &options), &["config.toml", "2", "volum_size"]);
    let args = vec!["--cores".to_owned(), "9999".to_owned()];
    let mut daemon = Daemon::launch(dir.path(), &Options { args, ..Options::default() });
    assert_ne!(daemon.wait(Duration::from_secs(60)).unwrap().code(), Some(0));
}

#[test]
fn a_second_daemon_on_the_same_directory_or_port_is_refused() {
    let dir = data_dir();
    let first = Daemon::start(dir.path(), &Options::default());
    let log = refused(dir.path(), &Options::default());
    assert_says(&log, &["data", &first.child.id().to_string()]);
    let other = data_dir();
    let (_, admin) = (first.admin, first.admin);
    let mut second = Daemon::launch_on(other.path(), &Options::default(), first.data, admin);
    assert_eq!(second.wait(Duration::from_secs(60)).unwrap().code(), Some(2));
    assert_says(&second.log_text(), &["cannot listen on", &first.data.to_string()]);
    assert!(first.stop().success());
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let dir = data_dir();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("data/letter.txt"), "dear").unwrap();
    assert_says(&refused(dir.path(), &Options::default()), &["letter.txt"]);
    assert_eq!(std::fs::read_dir(dir.path().join("data")).unwrap().count(), 1);
}

#[test]
fn a_directory_of_another_format_is_refused() {
    let dir = started_once();
    let marker = dir.path().join("data/hayloft.toml");
    let text = std::fs::read_to_string(&marker).unwrap().replace("format = 1", "format = 2");
    std::fs::write(&marker, text).unwrap();
    assert_says(&refused(dir.path(), &Options::default()), &["format 2", "newer"]);
}

#[test]
fn a_full_disk_is_named() {
    let dir = data_dir();
    let options = Options { volume_size: "1TiB", ..Options::default() };
    assert_says(&refused(dir.path(), &options), &["volume 1", "1TiB", "No space"]);
    // And leaves nothing that the next start would stumble over.
    assert!(!dir.path().join("data").exists());
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(daemon.client().put(&path(1), b"x").unwrap().status, 201);
}

/// Changes the only volume's file; the daemon ends with what it says.
fn with_volume(change: impl Fn(&Path)) -> String {
    let dir = started_once();
    change(&dir.path().join("data/1.0.vol"));
    let mut daemon = Daemon::launch(dir.path(), &Options::default());
    let status = daemon.wait(Duration::from_secs(60)).expect("no volume can be served");
    assert_eq!(status.code(), Some(1));
    let log = daemon.log_text();
    assert!(!log.contains("panicked"), "{log}");
    assert_says(&log, &["cannot open the volume"]);
    log
}

#[test]
fn a_volume_file_that_is_not_what_it_should_be_is_named() {
    let log = with_volume(|file| {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_len(32 << 20).unwrap();
    });
    assert_says(&log, &["33554432", "67108864", "truncated"]);
    let log = with_volume(|file| {
        let len = usize::try_from(std::fs::metadata(file).unwrap().len()).unwrap();
        std::fs::write(file, vec![7; len]).unwrap();
    });
    assert_says(&log, &["no valid superblock"]);
    let log = with_volume(|file| {
        std::fs::rename(file, file.with_file_name("2.0.vol")).unwrap();
    });
    assert_says(&log, &["volume 1", "volume 2", "rename"]);
    let log = with_volume(|file| {
        std::fs::rename(file, file.with_file_name("1.3.vol")).unwrap();
    });
    assert_says(&log, &["generation 0", "3"]);
    let foreign = started_once();
    let log = with_volume(|file| {
        std::fs::copy(foreign.path().join("data/1.0.vol"), file).unwrap();
    });
    assert_says(&log, &["belongs to store"]);
}

#[test]
fn one_bad_volume_takes_only_itself_out() {
    let dir = started_once();
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
fn memory_is_refused_without_a_trace_and_buffered_admits_it() {
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    let words = ["--buffered", "tmpfs", "memory", "a restart of the machine"];
    assert_says(&refused(shm.path(), &Options::default()), &words);
    assert!(!shm.path().join("data").exists());
    std::fs::create_dir(shm.path().join("data")).unwrap();
    assert_says(&refused(shm.path(), &Options::default()), &words);
    assert_eq!(std::fs::read_dir(shm.path().join("data")).unwrap().count(), 0);
    let args = vec!["--buffered".to_owned()];
    let daemon = Daemon::start(shm.path(), &Options { args, ..Options::default() });
    assert_eq!(daemon.client().put(&path(1), b"x").unwrap().status, 201);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"x");
    assert!(daemon.admin("/status").text().contains("\"durable\":false"));
    assert!(daemon.log_text().contains("buffered"));
}

/// What a refused start may leave of a directory that was not there, or was empty.
#[test]
fn a_refused_start_leaves_no_new_data_directory_behind() {
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
        // A port that is taken, a trace that cannot be written, a second directory that cannot be made.
        let args = vec!["--listen".to_owned(), address.to_string()];
        let log = refused(dir.path(), &Options { args, ..Options::default() });
        assert_says(&log, &["cannot listen on"]);
        untouched();
        let config = "[access_trace]\nfile = \"/nonexistent/trace\"\n".to_owned();
        let log = refused(dir.path(), &Options { config, ..Options::default() });
        assert_says(&log, &["access trace"]);
        untouched();
        let args = vec!["--data".to_owned(), "/proc/hayloft".to_owned()];
        let log = refused(dir.path(), &Options { args, ..Options::default() });
        assert_says(&log, &["/proc/hayloft", "makes no new directories"]);
        assert!(!log.contains("/proc does not exist"), "{log}");
        untouched();
    }
}

#[test]
fn a_refused_start_takes_nothing_from_a_directory_that_has_volumes() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = started_once();
    std::fs::remove_file(dir.path().join("data/LOCK")).unwrap();
    let names = || {
        let names = std::fs::read_dir(dir.path().join("data")).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let args = vec!["--listen".to_owned(), taken.local_addr().unwrap().to_string()];
    assert_says(&refused(dir.path(), &Options { args, ..Options::default() }), &["cannot listen"]);
    assert_eq!(names(), before, "no lock file either");
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"here");
}

#[test]
fn zeroed_volumes_work() {
    let dir = data_dir();
    let options = Options { config: "prealloc = \"zeroed\"\n".into(), ..Options::default() };
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.client().put(&path(1), b"x").unwrap().status, 201);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"x");
    assert!(daemon.stop().success());
}

/// Root may lock what it likes, so the daemon runs as somebody else where the test runs as root.
fn with_little_locked_memory(config: &str) -> (tempfile::TempDir, Options) {
    use std::os::unix::fs::PermissionsExt;
    let dir = data_dir();
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(dir.path(), everybody).unwrap();
    let launcher = ["prlimit", "--memlock=4194304:4194304"].map(str::to_owned).to_vec();
    let user = nix::unistd::Uid::effective().is_root().then_some(65_534);
    (dir, Options { config: config.to_owned(), launcher, user, ..Options::default() })
}

#[test]
fn too_little_locked_memory_is_a_warning_and_unregistered_buffers() {
    let (dir, options) = with_little_locked_memory("");
    let daemon = Daemon::start(dir.path(), &options);
    assert_eq!(daemon.log_text().matches("LimitMEMLOCK").count(), 1, "{}", daemon.log_text());
    assert!(daemon.admin("/status").text().contains("\"registered_buffers\":false"));
    assert_eq!(daemon.client().put(&path(1), b"x").unwrap().status, 201);
    assert_eq!(daemon.client().get(&path(1)).unwrap().body, b"x");
    assert!(daemon.stop().success());
}

#[test]
fn required_registered_buffers_are_an_error_without_locked_memory() {
    let (dir, options) = with_little_locked_memory("require_registered = true\n");
    assert_says(&refused(dir.path(), &options), &["require_registered", "LimitMEMLOCK"]);
}

#[test]
fn an_unmounted_disk_takes_only_its_volumes_out() {
    let dir = data_dir();
    let (first, second) = (dir.path().join("data"), dir.path().join("other"));
    let args = vec!["--data".to_owned(), second.display().to_string()];
    let both = Options { args, ..Options::default() };
    let daemon = Daemon::start(dir.path(), &both);
    assert_eq!(daemon.client().put(&path(1), b"here").unwrap().status, 201);
    assert!(daemon.stop().success());
    // An empty mount point, and one that is not even there.
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

/// The kernel refuses writes beyond a file size limit: a write that fails for real.
#[test]
fn a_volume_whose_write_failed_serves_no_more_and_the_daemon_ends_with_an_error() {
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
    assert_says(&limited.log_text(), &["a write failed", "no volume takes writes any more"]);
    // A restart without the cause of the failure helps.
    let daemon = Daemon::start(dir.path(), &Options::default());
    assert_eq!(daemon.client().get(&path(2)).unwrap().body, large);
    assert_eq!(daemon.client().get(&path(9)).unwrap().status, 404);
    assert_eq!(daemon.client().put(&path(9), b"found").unwrap().status, 201);
}
