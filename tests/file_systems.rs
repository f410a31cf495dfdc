//! Start on file systems that lose data or lack direct I/O. Each test mounts its own, which needs root and
//! loop devices: `cargo xtask test` runs them, and fails where it cannot.

mod daemon_harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use daemon_harness::{Daemon, Options, bytes, config_check, data_dir, path};

/// A mounted file system and its device. Unmounted when dropped.
struct Mount {
    place: PathBuf,
    device: Option<String>,
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?} (root is needed): {stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Mount {
    /// Mounts `kind` on a new directory below `dir`.
    fn new(dir: &Path, kind: &str, source: &str, options: &str) -> Self {
        let place = dir.join(format!("on-{kind}"));
        std::fs::create_dir(&place).unwrap();
        run("mount", &["-t", kind, "-o", options, source, text(&place)]);
        Self { place, device: None }
    }

    /// Creates and mounts an ext4 on a loop device with sectors of this size (bytes).
    fn ext4(dir: &Path, sector: u32, options: &str) -> Self {
        Self::on_loop_device(dir, 256 << 20, sector, "mkfs.ext4 -q -F", options)
    }

    /// Creates and mounts an XFS on a loop device. It has no extents of 1 GiB unless its four allocation
    /// groups have twice that size.
    fn xfs(dir: &Path) -> Self {
        Self::on_loop_device(dir, 16 << 30, 512, "mkfs.xfs -q -f -K", "rw")
    }

    /// Creates a file system with this command on a loop device of `len` bytes, with sectors of this size
    /// (bytes), and mounts it.
    fn on_loop_device(dir: &Path, len: u64, sector: u32, make: &str, options: &str) -> Self {
        let image = dir.join("image");
        std::fs::File::create(&image).unwrap().set_len(len).unwrap();
        let sector = sector.to_string();
        let attach = ["--find", "--show", "--sector-size", &sector, text(&image)];
        let device = run("losetup", &attach);
        let place = dir.join("on-loop-device");
        std::fs::create_dir(&place).unwrap();
        let mount = Self { place, device: Some(device.clone()) };
        let make: Vec<&str> = make.split(' ').chain([&device[..]]).collect();
        run(make[0], &make[1..]);
        run("mount", &["-o", options, &device, text(&mount.place)]);
        mount
    }

    /// Mounts an overlay whose upper and work directories are created in `upper`.
    fn overlay(dir: &Path, upper: &Path, more: &str) -> Self {
        let lower = dir.join("lower");
        std::fs::create_dir_all(&lower).unwrap();
        for name in ["upper", "work"] {
            std::fs::create_dir(upper.join(name)).unwrap();
        }
        let upper = text(upper);
        let lower = text(&lower);
        let options = format!("lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work{more}");
        Self::new(dir, "overlay", "overlay", &options)
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.place).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "lost+found").collect()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A ring that is being torn down keeps its files open for some milliseconds.
        let mut args = vec![text(&self.place)];
        for attempt in 0..100 {
            if attempt == 99 {
                args.insert(0, "--lazy");
            }
            let unmounted = Command::new("umount").args(&args).output();
            if unmounted.is_ok_and(|done| done.status.success()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Some(device) = &self.device {
            let _ = Command::new("losetup").args(["--detach", device]).status();
        }
    }
}

/// Options with log and configuration outside the mount, and the data directory set in the configuration.
fn options(data: &Path, args: &[&str]) -> Options {
    let config = format!("data = [{:?}]\n", text(data));
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Options { config, args, data_from_config: true, ..Options::default() }
}

fn launch(dir: &Path, data: &Path, args: &[&str]) -> Daemon {
    Daemon::launch(dir, &options(data, args))
}

/// Asserts that `config check` and `serve` refuse the options with the same message, and returns it.
fn refusal(dir: &Path, options: &Options) -> String {
    let (code, stderr) = config_check(dir, options);
    let mut daemon = Daemon::launch(dir, options);
    let status = daemon.wait(Duration::from_secs(20));
    let log = daemon.log_text();
    let status = status.unwrap_or_else(|| panic!("the daemon did not exit:\n{log}"));
    assert_eq!((status.code(), code), (Some(2), 2), "{log}\nconfig check: {stderr}");
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(stderr.lines().last(), log.lines().last());
    std::fs::remove_file(&daemon.log).unwrap();
    stderr
}

/// Asserts that a start is refused with these words and leaves nothing on the mount, both for its root and
/// for a new directory in it.
fn assert_refused(dir: &Path, mount: &Mount, words: &[&str]) {
    for data in [mount.place.clone(), mount.place.join("data")] {
        let stderr = refusal(dir, &options(&data, &[]));
        for word in words.iter().chain(&["--buffered"]) {
            assert!(stderr.contains(word), "does not say {word:?}:\n{stderr}");
        }
        assert_eq!(mount.names(), [""; 0], "left behind");
    }
}

/// Asserts that the daemon serves with `args`; returns whether `/status` reports durability.
fn assert_serves(dir: &Path, mount: &Mount, args: &[&str]) -> bool {
    let data = mount.place.join("data");
    for round in 0..2 {
        let (code, stderr) = config_check(dir, &options(&data, args));
        assert_eq!((code, data.exists()), (0, round == 1), "{stderr}");
        let mut daemon = launch(dir, &data, args);
        daemon.wait_ready();
        let (code, stderr) = config_check(dir, &options(&data, args));
        assert_eq!(code, 0, "while the daemon runs: {stderr}");
        if round == 0 {
            assert_eq!(daemon.client().put(&path(1), &bytes(1, 100_000)).unwrap().status, 201);
        }
        assert_eq!(daemon.client().get(&path(1)).unwrap().body, bytes(1, 100_000));
        let status = daemon.admin("/status").text();
        let durable = status.contains("\"durable\":true");
        assert_ne!(durable, status.contains("\"durable\":false"), "{status}");
        assert_eq!(daemon.metric("hayloft_durable", "") > 0.0, durable);
        assert_eq!(daemon.metric("hayloft_volume_durable", "") > 0.0, durable);
        assert!(daemon.stop().success());
        if round == 1 {
            return durable;
        }
    }
    unreachable!("two rounds")
}

#[test]
#[ignore = "mounts file systems: run as root, by cargo xtask test"]
fn in_memory_file_systems_are_refused_and_not_durable() {
    for kind in ["tmpfs", "ramfs"] {
        let dir = data_dir();
        let mount = Mount::new(dir.path(), kind, kind, "rw");
        assert_refused(dir.path(), &mount, &[kind, "memory", "a restart of the machine"]);
        if kind == "tmpfs" {
            assert!(!assert_serves(dir.path(), &mount, &["--buffered"]));
        }
    }
}

#[test]
#[ignore = "mounts file systems: run as root, by cargo xtask test"]
fn ext4_with_data_journal_is_refused_without_direct_io() {
    let dir = data_dir();
    let mount = Mount::ext4(dir.path(), 512, "data=journal");
    assert_refused(dir.path(), &mount, &["without direct I/O", "data=journal"]);
    assert!(!assert_serves(dir.path(), &mount, &["--buffered"]));
}

#[test]
#[ignore = "mounts file systems: run as root, by cargo xtask test"]
fn ext4_is_durable_and_refused_start_leaves_store_unchanged() {
    let dir = data_dir();
    let mount = Mount::ext4(dir.path(), 512, "rw");
    assert!(assert_serves(dir.path(), &mount, &[]));
    let data = mount.place.join("data");
    std::fs::remove_file(data.join("LOCK")).unwrap();
    let device = mount.device.as_deref().unwrap();
    run("umount", &[text(&mount.place)]);
    run("mount", &["-o", "data=journal", device, text(&mount.place)]);
    let before: Vec<_> = names(&data);
    std::fs::remove_file(dir.path().join("log")).unwrap();
    refusal(dir.path(), &options(&data, &[]));
    assert_eq!(names(&data), before);
}

/// Otherwise its blocks would be scattered among those of other files that grow at the same time.
#[test]
#[ignore = "mounts file systems: run as root, by cargo xtask test"]
fn large_volume_on_xfs_asks_for_large_extents() {
    let dir = data_dir();
    let mount = Mount::xfs(dir.path());
    let data = mount.place.join("data");
    let options = Options { volume_size: "1GiB", ..options(&data, &[]) };
    let mut daemon = Daemon::launch(dir.path(), &options);
    daemon.wait_ready();
    assert!(daemon.stop().success());
    let asked = run("xfs_io", &["-r", "-c", "extsize", text(&data.join("1.0.vol"))]);
    assert!(asked.starts_with("[1073741824]"), "{asked}");
}

#[test]
#[ignore = "mounts file systems: run as root, by cargo xtask test"]
fn read_only_file_system_is_refused() {
    let dir = data_dir();
    let mount = Mount::ext4(dir.path(), 512, "rw");
    assert!(assert_serves(dir.path(), &mount, &[]));
    std::fs::remove_file(dir.path().join("log")).unwrap();
    std::fs::create_dir(mount.place.join("empty")).unwrap();
    run("mount", &["-o", "remount,ro", text(&mount.place)]);
    let read_only = "Read-only file system";
    let trace = dir.path().join("trace-on-read-only");
    std::os::unix::fs::symlink(mount.place.join("trace"), &trace).unwrap();
    for (data, words) in [
        ("data", ["cannot open the lock file", read_only]),
        ("empty", ["cannot open the lock file", read_only]),
        ("new", ["cannot create", read_only]),
    ] {
        let stderr = refusal(dir.path(), &options(&mount.place.join(data), &[]));
        assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
    }
    let good = dir.path().join("good");
    let mut options = options(&good, &[]);
    options.config += &format!("access_trace.file = {:?}\n", text(&trace));
    let stderr = refusal(dir.path(), &options);
    assert!(
        stderr.contains("cannot write the access trace") && stderr.contains(read_only),
        "{stderr}"
    );
    // One working disk is enough for both commands.
    let broken = mount.place.join("data");
    options.config = format!("data = [{:?}, {:?}]\n", text(&good), text(&broken));
    Daemon::start(dir.path(), &self::options(&good, &[])).stop();
    let (code, stderr) = config_check(dir.path(), &options);
    assert!(code == 0 && stderr.contains("Its volumes would be out"), "{stderr}");
    assert!(Daemon::start(dir.path(), &options).stop().success());
}

#[test]
#[ignore = "mounts file systems: run as root, by cargo xtask test"]
fn first_volume_larger_than_the_disk_is_refused() {
    let dir = data_dir();
    let mount = Mount::ext4(dir.path(), 512, "rw");
    for data in [mount.place.clone(), mount.place.join("data")] {
        let options = Options { volume_size: "1GiB", ..options(&data, &[]) };
        let stderr = refusal(dir.path(), &options);
        assert!(stderr.contains("cannot create volume 1 of 1GiB"), "{stderr}");
        assert!(stderr.contains("No space left"), "{stderr}");
        assert_eq!(mount.names(), [""; 0], "left behind");
    }
    // Once volumes exist, the size applies only to new ones.
    assert!(assert_serves(dir.path(), &mount, &[]));
    let options = Options { volume_size: "1GiB", ..options(&mount.place.join("data"), &[]) };
    assert_eq!(config_check(dir.path(), &options).0, 0);
}

#[test]
#[ignore = "runs as another user: run as root, by cargo xtask test"]
fn config_check_skips_what_its_user_may_not_see() {
    const NOBODY: u32 = 65_534;
    let dir = data_dir();
    let everybody = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(dir.path(), everybody).unwrap();
    let trace = dir.path().join("trace");
    std::fs::write(&trace, "").unwrap();
    let only_root = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&trace, only_root).unwrap();
    let socket = dir.path().join("socket");
    let options = Options {
        config: format!("access_trace.file = {:?}\n", text(&trace)),
        args: vec!["--listen".to_owned(), format!("unix:{}", text(&socket))],
        user: Some(NOBODY),
        ..Options::default()
    };
    let (code, stderr) = config_check(dir.path(), &options);
    let unseen: Vec<&str> = stderr.lines().filter(|line| line.contains("not checked")).collect();
    assert_eq!((code, unseen.len()), (0, 3), "{stderr}");
    for words in ["create", "unix:", "access trace"] {
        assert!(unseen.iter().any(|line| line.contains(words)), "{words}: {stderr}");
    }
    Daemon::start(dir.path(), &Options::default()).stop();
    let (code, stderr) = config_check(dir.path(), &options);
    assert!(
        code == 0 && stderr.contains("not checked, as this user: not permitted to"),
        "{stderr}"
    );
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let names = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
#[ignore = "mounts file systems: run as root, by cargo xtask test"]
fn device_with_4096_byte_blocks_is_refused() {
    let dir = data_dir();
    let mount = Mount::ext4(dir.path(), 4096, "rw");
    assert_refused(dir.path(), &mount, &["blocks of 4096 bytes", "512"]);
    assert!(!assert_serves(dir.path(), &mount, &["--buffered"]));
}

#[test]
#[ignore = "mounts file systems: run as root, by cargo xtask test"]
fn overlay_on_a_disk_works_with_a_warning() {
    let (dir, upper) = (data_dir(), data_dir());
    let mount = Mount::overlay(dir.path(), upper.path(), "");
    assert!(assert_serves(dir.path(), &mount, &[]));
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    for word in ["WARN", "overlay", text(upper.path()), "a volume"] {
        assert!(log.contains(word), "does not say {word:?}:\n{log}");
    }
}

#[test]
#[ignore = "mounts file systems: run as root, by cargo xtask test"]
fn overlay_on_memory_or_without_sync_is_refused() {
    let (dir, below) = (data_dir(), data_dir());
    let memory = Mount::new(below.path(), "tmpfs", "tmpfs", "rw");
    let mount = Mount::overlay(dir.path(), &memory.place, "");
    assert_refused(dir.path(), &mount, &["overlay", "tmpfs", "memory"]);
    assert!(!assert_serves(dir.path(), &mount, &["--buffered"]));
    drop(mount);
    drop(memory);
    let (dir, upper) = (data_dir(), data_dir());
    let mount = Mount::overlay(dir.path(), upper.path(), ",volatile");
    assert_refused(dir.path(), &mount, &["overlay", "volatile", "sync"]);
    drop(mount);
    let (dir, below) = (data_dir(), data_dir());
    let journal = Mount::ext4(below.path(), 512, "data=journal");
    let mount = Mount::overlay(dir.path(), &journal.place, "");
    assert_refused(dir.path(), &mount, &["without direct I/O", "data=journal"]);
}
