//! Tests of data directories on a real file system, with other processes for the lock and permissions.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// Environment variable with the directory that the child process opens.
const CHILD_DIRECTORY: &str = "HAYLOFT_TEST_DATADIR";
/// Marks the output of the child among that of the test harness.
const CHILD_SAYS: &str = "child-says: ";

fn base() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn listing(path: &Path) -> Vec<String> {
    names_in(path).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect()
}

fn error_of(path: &Path, create: bool) -> String {
    DataDir::open(path, create).expect_err("opening must fail").to_string()
}

/// Not a test: the body of the process that [`spawn_opener`] starts. Opens the directory, prints the result,
/// and holds it until the end of its standard input.
#[test]
#[ignore = "helper process of the tests beside it, which run it themselves"]
fn child_process() {
    let Some(path) = std::env::var_os(CHILD_DIRECTORY) else {
        return; // run by hand, with --include-ignored
    };
    let opened = DataDir::open(Path::new(&path), true);
    match &opened {
        Ok(directory) => println!("\n{CHILD_SAYS}opened {}", directory.store_id()),
        Err(error) => println!("\n{CHILD_SAYS}{error}"),
    }
    let _ = std::io::stdin().read(&mut [0]);
    drop(opened);
}

struct Opener {
    process: Child,
    /// Standard input of the process: closing it ends the process normally.
    stdin: Option<ChildStdin>,
    /// Kept open, since the test harness of the child prints until its end.
    _stdout: BufReader<ChildStdout>,
    /// `opened`, or the error.
    said: String,
}

fn spawn_opener(path: &Path, executable: &Path, uid: Option<u32>) -> Opener {
    let module = module_path!().split_once("::").unwrap().1;
    let mut command = Command::new(executable);
    command
        .args(["--ignored", "--exact", "--nocapture"])
        .arg(format!("{module}::child_process"))
        .env(CHILD_DIRECTORY, path)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    let mut process = command.spawn().expect("the test can run itself");
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let said = stdout
        .by_ref()
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(CHILD_SAYS).map(str::to_owned))
        .expect("the child says how opening went");
    let stdin = process.stdin.take();
    Opener { process, stdin, _stdout: stdout, said }
}

fn spawn_same_user(path: &Path) -> Opener {
    spawn_opener(path, &std::env::current_exe().unwrap(), None)
}

impl Drop for Opener {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.process.wait();
    }
}

#[test]
fn what_is_wrong_with_a_disk_is_told_from_what_is_wrong_with_a_directory() {
    let of =
        |errno| DataDirError::io("look at", Path::new("/d"), io::Error::from_raw_os_error(errno));
    for errno in [nix::libc::EIO, nix::libc::EROFS, nix::libc::EUCLEAN] {
        assert!(of(errno).is_of_the_disk() && !of(errno).is_absent());
    }
    assert!(!of(nix::libc::EACCES).is_of_the_disk() && !of(nix::libc::ENOSPC).is_of_the_disk());
    let missing = DataDir::open(Path::new("/nonexistent/d"), false).unwrap_err();
    assert!(missing.is_absent() && !missing.is_of_the_disk());
}

#[test]
fn a_new_directory_is_made_marked_and_found_again() {
    let base = base();
    let path = base.path().join("data");
    let first = DataDir::open(&path, true).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(listing(&path), ["LOCK", "hayloft.toml"]);
    assert_eq!(first.volumes().unwrap(), []);
    let (id, created) = (first.store_id(), first.created().to_owned());
    assert!(created.starts_with("20") && created.ends_with('Z'), "{created}");
    drop(first);

    let again = DataDir::open(&path, false).unwrap();
    assert_eq!(again.store_id(), id);
    assert_eq!(again.created(), created);
    let other = DataDir::open(&base.path().join("other"), true).unwrap();
    assert_ne!(other.store_id(), id);
}

#[test]
fn an_empty_directory_or_fresh_file_system_becomes_one_only_when_asked() {
    let base = base();
    fs::create_dir(base.path().join("lost+found")).unwrap();
    let error = DataDir::open(base.path(), false).unwrap_err();
    assert!(matches!(error, DataDirError::Empty { .. }) && error.is_absent());
    assert_eq!(listing(base.path()), ["lost+found"]);
    DataDir::open(base.path(), true).unwrap();
    assert_eq!(listing(base.path()), ["LOCK", "hayloft.toml", "lost+found"]);
}

#[test]
fn a_crash_while_the_marker_is_written_is_no_obstacle() {
    let base = base();
    fs::write(base.path().join("LOCK"), "12345\n").unwrap();
    fs::write(base.path().join("hayloft.toml.tmp"), "form").unwrap();
    DataDir::open(base.path(), true).unwrap();
    assert_eq!(listing(base.path()), ["LOCK", "hayloft.toml"]);
}

#[test]
fn an_absent_directory_or_parent_is_told_apart() {
    let base = base();
    let absent = base.path().join("a");
    let error = DataDir::open(&absent, false).unwrap_err();
    assert!(matches!(error, DataDirError::Missing { .. }) && error.is_absent());
    let deep = absent.join("b");
    let error = DataDir::open(&deep, true).unwrap_err();
    assert!(error.is_absent());
    let text = error.to_string();
    assert!(text.contains(&format!("since {} does not exist", absent.display())), "{text}");
    assert_eq!(listing(base.path()), Vec::<String>::new());
}

#[test]
fn a_file_in_the_way_is_named() {
    let base = base();
    let file = base.path().join("file");
    fs::write(&file, "x").unwrap();
    let dangling = base.path().join("dangling");
    symlink(base.path().join("nowhere"), &dangling).unwrap();
    for (path, obstacle) in [
        (file.clone(), &file),
        (file.join("data"), &file),
        (file.join("a/b"), &file),
        (dangling.clone(), &dangling),
    ] {
        let error = error_of(&path, true);
        let expected = format!(
            "the data directory {} cannot be used, since {} is not a directory",
            path.display(),
            obstacle.display()
        );
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_foreign_directory_is_listed_and_left_as_it_is() {
    let base = base();
    for number in 0..10 {
        fs::write(base.path().join(format!("holiday{number}.jpg")), "x").unwrap();
    }
    let before = listing(base.path());
    let error = error_of(base.path(), true);
    assert!(error.contains("holiday0.jpg, holiday1.jpg"), "{error}");
    assert!(error.contains("holiday7.jpg, and 2 more"), "{error}");
    assert!(error.contains("name an empty or a new directory"), "{error}");
    assert_eq!(listing(base.path()), before);
}

#[test]
fn volumes_without_a_marker_get_no_new_one() {
    let base = base();
    fs::write(base.path().join("7.1.vol"), "x").unwrap();
    let error = error_of(base.path(), true);
    assert!(error.contains("has volume files (7.1.vol) but no hayloft.toml"), "{error}");
    assert_eq!(listing(base.path()), ["7.1.vol"]);
}

#[test]
fn a_newer_format_and_a_damaged_marker_are_told_apart() {
    let base = base();
    let marker = base.path().join("hayloft.toml");
    fs::write(&marker, "format = 2\nshape = \"other\"\n").unwrap();
    assert_eq!(
        error_of(base.path(), true),
        format!("{}: format 2, this build reads 1: use a newer hayloft", marker.display())
    );
    for garbage in ["", "format = 1", "\0\0\0\0"] {
        fs::write(&marker, garbage).unwrap();
        let error = error_of(base.path(), true);
        assert!(error.starts_with(&format!("{} is damaged: ", marker.display())), "{error}");
        assert_eq!(fs::read_to_string(&marker).unwrap(), garbage);
    }
}

#[test]
fn a_second_process_is_told_who_holds_the_lock() {
    let base = base();
    let held = DataDir::open(base.path(), true).unwrap();
    let second = spawn_same_user(base.path());
    let expected = format!(
        "the data directory {} is locked by process {};",
        base.path().display(),
        std::process::id()
    );
    assert!(second.said.starts_with(&expected), "{}", second.said);

    let store_id = held.store_id();
    drop(held);
    let third = spawn_same_user(base.path());
    assert_eq!(third.said, format!("opened {store_id}"));
}

#[test]
fn the_same_process_cannot_open_it_twice() {
    let base = base();
    let _held = DataDir::open(base.path(), true).unwrap();
    let started = Instant::now();
    let error = error_of(base.path(), true);
    assert!(error.contains("which is the number of this process"), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(500), "ten retries of 50 ms");
}

#[test]
fn opening_waits_for_a_holder_that_is_about_to_go() {
    let base = base();
    let mut holder = spawn_same_user(base.path());
    assert!(holder.said.starts_with("opened"), "{}", holder.said);
    let stdin = holder.stdin.take();
    let started = Instant::now();
    let opened = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(120));
            drop(stdin);
        });
        DataDir::open(base.path(), true)
    });
    opened.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(120), "it was held at first");
}

#[test]
fn a_killed_holder_leaves_no_lock() {
    let base = base();
    let mut holder = spawn_same_user(base.path());
    assert!(holder.said.starts_with("opened"), "{}", holder.said);
    holder.process.kill().unwrap();
    let lock = fs::read_to_string(base.path().join("LOCK")).unwrap();
    assert_eq!(lock, format!("{}\n", holder.process.id()));
    DataDir::open(base.path(), true).unwrap();
}

#[test]
fn missing_rights_are_named() {
    let base = base();
    let data = base.path().join("data");
    DataDir::open(&data, true).unwrap();
    let closed = base.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let new = closed.join("new");
    let am_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let said = |path: &Path| {
        if !am_root {
            return error_of(path, true);
        }
        // Root lacks no permission: another user runs a copy of this test binary.
        let copy = base.path().join("copy");
        if !copy.exists() {
            // Copied by another process: if this one had the copy open for writing, a concurrent test that
            // forks would inherit the descriptor, and running the copy would fail with ETXTBSY.
            let copied =
                Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status();
            assert!(copied.unwrap().success());
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        spawn_opener(path, &copy, Some(65_534)).said.clone()
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&closed, 0o555);
    mode(&data, 0o000);
    let results = [
        (said(&data), format!("not permitted to list {}", data.display())),
        (said(&new), format!("not permitted to create {}", new.display())),
    ];
    // Restored first, so that the temporary directory can be removed even if an assertion fails.
    mode(&closed, 0o755);
    mode(&data, 0o700);
    for (said, expected) in results {
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains("chown"), "{said}");
    }
}

#[test]
fn volumes_are_listed_by_id_and_generation() {
    let base = base();
    drop(DataDir::open(base.path(), true).unwrap());
    for name in ["10.1.vol", "2.10.vol", "2.9.vol", "2.9.ckpt", "02.9.vol", "notes.txt"] {
        fs::write(base.path().join(name), "x").unwrap();
    }
    let directory = DataDir::open(base.path(), false).unwrap();
    let volumes = directory.volumes().unwrap();
    let found: Vec<_> = volumes
        .iter()
        .map(|volume| (volume.id, volume.generation, volume.file_name.as_str()))
        .collect();
    assert_eq!(found, [(2, 9, "2.9.vol"), (2, 10, "2.10.vol"), (10, 1, "10.1.vol")]);
    for volume in &volumes {
        assert_eq!(volume.path, directory.volume_path(volume.id, volume.generation));
        assert_eq!(fs::read(&volume.path).unwrap(), b"x");
    }
    assert_eq!(directory.unknown_names(), ["02.9.vol", "notes.txt"]);
    assert!(base.path().join("notes.txt").exists());
}

#[test]
fn leftovers_of_our_own_are_removed_and_nothing_else() {
    let base = base();
    drop(DataDir::open(base.path(), true).unwrap());
    for name in ["3.1.vol", "3.1.ckpt.new", "3.2.vol.tmp", "04.1.vol.tmp", "other.tmp"] {
        fs::write(base.path().join(name), "x").unwrap();
    }
    fs::create_dir(base.path().join("5.1.vol.tmp")).unwrap();
    let directory = DataDir::open(base.path(), false).unwrap();
    assert_eq!(directory.removed_leftovers(), ["3.1.ckpt.new", "3.2.vol.tmp"]);
    assert_eq!(directory.unknown_names(), ["04.1.vol.tmp", "5.1.vol.tmp", "other.tmp"]);
    assert_eq!(
        listing(base.path()),
        ["04.1.vol.tmp", "3.1.vol", "5.1.vol.tmp", "LOCK", "hayloft.toml", "other.tmp"]
    );
    // A volume being created while the directory is open is not touched.
    let growing = directory.volume_temporary_path(6, 1);
    fs::write(&growing, "x").unwrap();
    assert_eq!(directory.volumes().unwrap().len(), 1);
    assert!(growing.exists());
}

#[test]
fn what_is_named_like_a_volume_must_be_a_file() {
    let base = base();
    let directory = DataDir::open(base.path(), true).unwrap();
    let path = directory.volume_path(1, 1);
    fs::create_dir(&path).unwrap();
    let error = directory.volumes().unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} has the name of a volume", path.display())), "{error}");
    fs::remove_dir(&path).unwrap();
    // A link to a file is refused too: the file may be on another disk.
    let elsewhere = base.path().join("elsewhere");
    fs::write(&elsewhere, "x").unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(matches!(directory.volumes(), Err(DataDirError::NotAVolume { .. })));
}

#[test]
fn one_directory_under_two_names_is_noticed() {
    let base = base();
    let (a, b, link) = (base.path().join("a"), base.path().join("b"), base.path().join("link"));
    fs::create_dir(&a).unwrap();
    symlink(&a, &link).unwrap();
    let same = |paths: &[&Path]| {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
        DataDir::open_all(&paths, true).map_err(|error| error.to_string())
    };
    let error = same(&[&b, &a, &link]).unwrap_err();
    let expected = format!("{} and {} are the same directory", a.display(), link.display());
    assert!(error.contains(&expected), "{error}");
    assert!(same(&[&a, &a.join("../a")]).is_err());
    // Absent directories are compared by parent and name.
    assert!(!b.exists(), "nothing is created before the check");
    assert!(same(&[&b, &base.path().join("a/../b")]).is_err());
    assert!(same(&[&link.join("new"), &a.join("new")]).is_err());
    assert_eq!(same(&[&a, &b]).unwrap().len(), 2);
    assert_eq!(same(&[&b, &a]).unwrap().len(), 2, "both present, and distinct");
}

#[test]
fn readers_share_a_directory_that_no_daemon_can_take_meanwhile() {
    let base = base();
    let path = base.path().join("data");
    let store_id = DataDir::open(&path, true).unwrap().store_id();
    fs::write(path.join("3.2.vol.tmp"), "x").unwrap();
    // The lock file as left by a killed daemon.
    fs::write(path.join("LOCK"), "4000000\n").unwrap();
    let first = DataDir::open_read_only(&path).unwrap();
    let second = DataDir::open_read_only(&path).unwrap();
    assert!(first.is_locked() && second.is_locked());
    assert_eq!(second.store_id(), store_id);
    assert_eq!(listing(&path), ["3.2.vol.tmp", "LOCK", "hayloft.toml"], "nothing is removed");
    drop(first);
    let daemon = spawn_same_user(&path);
    assert!(daemon.said.contains("is locked by another process"), "{}", daemon.said);
    drop(second);
    let _daemon = DataDir::open(&path, false).unwrap();
    let error = DataDir::open_read_only(&path).unwrap_err().to_string();
    assert!(error.contains(&format!("is locked by process {}", std::process::id())), "{error}");
}

#[test]
fn a_reader_makes_no_data_directory() {
    let base = base();
    let error = DataDir::open_read_only(&base.path().join("absent")).unwrap_err();
    assert!(matches!(error, DataDirError::Missing { .. }), "{error}");
    let error = DataDir::open_read_only(base.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Empty { .. }), "{error}");
    fs::write(base.path().join("notes.txt"), "x").unwrap();
    let error = DataDir::open_read_only(base.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Foreign { .. }), "{error}");
    assert_eq!(listing(base.path()), ["notes.txt"]);
}
