//! `hayloft import DIR` restores lost photos under the URLs of the manifest, and deletes photos with
//! `--prune`: against the real daemon with two data directories.

mod daemon_harness;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use daemon_harness::{Daemon, Options, bytes, data_dir};

/// 2020-01-02 03:04:05.
const MODIFIED_S: u64 = 1_577_934_245;
const COUNT: u64 = 60;

/// Response to a reader: body, media type, time of modification.
type Photo = (Vec<u8>, String, String);

struct Store {
    dir: tempfile::TempDir,
    daemon: Option<Daemon>,
}

impl Store {
    /// Starts a daemon with volume 1 in `data` and volume 2 in `second`, and writes [`COUNT`] photos to
    /// `photos`.
    fn new() -> Self {
        let dir = data_dir();
        let mut store = Self { dir, daemon: None };
        for n in 0..COUNT {
            store.write(&format!("d{}/{n}.jpg", n % 3), &bytes(n, 3000));
        }
        store.start();
        store.create_second_volume();
        store
    }

    fn second(&self) -> PathBuf {
        self.dir.path().join("second")
    }

    fn start(&mut self) {
        let second = self.second().into_os_string().into_string().unwrap();
        let options = Options { args: vec!["--data".into(), second], ..Options::default() };
        self.daemon = Some(Daemon::start(self.dir.path(), &options));
    }

    fn create_second_volume(&self) {
        let words = ["volume", "create", "2", "--disk", "1", "--size", "64MiB"];
        assert_eq!(self.run(&words).status.code(), Some(0));
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    fn stop(&mut self) {
        assert!(self.daemon.take().unwrap().stop().success());
    }

    /// Replaces the disk of volume 2 by an empty one.
    fn lose_second_disk(&mut self) {
        self.stop();
        std::fs::remove_dir_all(self.second()).unwrap();
        assert_eq!(self.run(&["init", "second"]).status.code(), Some(0));
        self.start();
    }

    /// Deletes both data directories and restarts the daemon.
    fn lose_everything(&mut self) {
        self.stop();
        std::fs::remove_dir_all(self.second()).unwrap();
        std::fs::remove_dir_all(self.dir.path().join("data")).unwrap();
        self.start();
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.dir.path().join("photos").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(MODIFIED_S)).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.dir.path().join("photos").join(path)).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.args(words).current_dir(self.dir.path()).stdin(Stdio::null());
        if words[0] == "import" {
            command.args(["--server", &self.daemon().data.to_string()]);
        }
        if words[0] == "import" || words[0] == "volume" {
            command.args(["--admin", &self.daemon().admin.to_string()]);
        }
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs `hayloft import photos` with `flags` and asserts the exit code. Returns stdout and stderr.
    fn import(&self, flags: &[&str], code: i32) -> String {
        let output = self.run(&[&["import", "photos"], flags].concat());
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {text}");
        text
    }

    /// URLs in the manifest, by path.
    fn urls(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.dir.path().join("photos.manifest.tsv")).unwrap();
        let rows = text.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
        rows.map(|row| (row[0].to_owned(), row[1].to_owned())).collect()
    }

    fn get(&self, url: &str) -> Option<Photo> {
        let reply = self.daemon().client().get(url).unwrap();
        let header = |name| reply.header(name).unwrap_or_default().to_owned();
        let (kind, modified) = (header("content-type"), header("last-modified"));
        (reply.status == 200).then_some((reply.body, kind, modified))
    }

    /// Photos of all URLs of the manifest that are not 404.
    fn photos(&self) -> BTreeMap<String, Photo> {
        self.urls().into_values().filter_map(|url| Some((url.clone(), self.get(&url)?))).collect()
    }

    fn request(&self, method: &str, url: &str, body: Option<&[u8]>) {
        let reply = self.daemon().client().request(method, url, &[], body).unwrap();
        assert_eq!(reply.status, 204, "{method} {url}");
    }

    /// Paths and URLs of the photos in a volume.
    fn in_volume(&self, volume: u32) -> Vec<(String, String)> {
        let prefix = format!("/{volume}/");
        self.urls().into_iter().filter(|(_, url)| url.starts_with(&prefix)).collect()
    }
}

fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

#[test]
fn deleted_photo_is_stored_again_under_its_url() {
    let store = Store::new();
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    assert!(before.len() == 60 && !store.in_volume(1).is_empty() && !store.in_volume(2).is_empty());
    assert!(before.values().all(|(_, kind, modified)| {
        kind == "image/jpeg" && modified == "Thu, 02 Jan 2020 03:04:05 GMT"
    }));
    store.request("DELETE", &urls["d1/1.jpg"], None);
    let text = store.import(&[], 0);
    assert_contains(&text, &["1 stored", "59 in the manifest and in the store"]);
    assert_eq!((store.urls(), store.photos()), (urls, before));
    assert_contains(&store.import(&[], 0), &["0 stored", "60 in the manifest and in the store"]);
}

#[test]
fn lost_disk_is_restored_once_its_volumes_exist() {
    let mut store = Store::new();
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    let lost = store.in_volume(2).len();
    store.lose_second_disk();
    let text = store.import(&[], 1);
    let create = format!("hayloft volume create 2 --admin http://{}", store.daemon().admin);
    assert_contains(&text, &["volume 2 does not exist", &create, "--create-volumes", "0 stored"]);
    assert_eq!(store.urls(), urls, "no URL changes");
    store.create_second_volume();
    let kept = 60 - lost;
    let again = format!("{lost} again, under the URLs of the manifest");
    let text = store.import(&[], 0);
    assert_contains(&text, &[&again, &format!("{kept} in the manifest and in the store")]);
    assert_eq!((store.urls(), store.photos()), (urls, before));
}

#[test]
fn unmounted_disk_is_not_treated_as_lost() {
    let mut store = Store::new();
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    store.stop();
    let aside = store.dir.path().join("aside");
    std::fs::rename(store.second(), &aside).unwrap();
    store.start();
    let text = store.import(&["--create-volumes", "64MiB"], 1);
    assert_contains(&text, &["volume 2 cannot be asked for its photos", "data directory", "503"]);
    store.stop();
    std::fs::rename(&aside, store.second()).unwrap();
    store.start();
    assert_contains(&store.import(&[], 0), &["60 in the manifest and in the store"]);
    assert_eq!((store.urls(), store.photos()), (urls, before));
}

#[test]
fn import_restores_everything_after_total_loss() {
    let mut store = Store::new();
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    store.lose_everything();
    assert_contains(&store.import(&[], 1), &["volume 2 does not exist", "nothing was stored"]);
    store.create_second_volume();
    assert_contains(&store.import(&[], 0), &["60 again, under the URLs of the manifest"]);
    assert_eq!((store.urls(), store.photos()), (urls.clone(), before.clone()));
    // The second time the command creates the volumes itself.
    store.lose_everything();
    assert_contains(&store.import(&["--create-volumes", "64MiB"], 0), &["60 again"]);
    assert_eq!((store.urls(), store.photos()), (urls, before));
}

#[test]
fn killed_restore_resumes() {
    let mut store = Store::new();
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    store.lose_everything();
    store.create_second_volume();
    for share in [1, 20] {
        let mut import = store.command(&["import", "photos", "--parallel", "1"]);
        let mut import = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while store.photos().len() < share {
            assert!(Instant::now() < deadline, "{share} photos were not restored in time");
        }
        import.kill().unwrap();
        import.wait().unwrap();
    }
    store.import(&[], 0);
    assert_eq!((store.urls(), store.photos()), (urls, before));
}

#[test]
fn restore_into_a_store_with_other_photos_needs_a_flag() {
    let mut store = Store::new();
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    store.lose_everything();
    store.create_second_volume();
    let mut client = store.daemon().client();
    let other = "/1/1/0/0123456789abcdef";
    assert_eq!(client.put(other, b"another application's").unwrap().status, 201);
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.daemon().metric("hayloft_volume_needles", "volume=\"1\"") < 1.0 {
        assert!(Instant::now() < deadline, "the photo was not counted in time");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_contains(&store.import(&[], 2), &["nothing that", "--server", "--restore"]);
    assert!(store.photos().is_empty());
    assert_contains(&store.import(&["--restore"], 0), &["60 again"]);
    assert_eq!((store.urls(), store.photos()), (urls, before));
    assert!(store.get(other).is_some());
}

#[test]
fn import_into_a_read_only_volume_fails_and_changes_no_url() {
    let store = Store::new();
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    let (path, url) = store.in_volume(1).swap_remove(0);
    // A deleted photo.
    store.request("DELETE", &url, None);
    assert_eq!(store.run(&["volume", "read-only", "1"]).status.code(), Some(0));
    let text = store.import(&[], 1);
    assert_contains(&text, &["volume 1 takes no writes: it is read-only", "volume writable 1"]);
    assert_eq!(store.urls(), urls);
    assert_eq!(store.run(&["volume", "writable", "1"]).status.code(), Some(0));
    store.import(&[], 0);
    assert_eq!((store.urls(), store.photos()), (urls.clone(), before));
    // A changed file.
    store.write(&path, b"changed, and longer than nothing");
    assert_eq!(store.run(&["volume", "read-only", "1"]).status.code(), Some(0));
    let text = store.import(&[], 1);
    assert_contains(&text, &["volume 1 takes no writes", &path, "no other URL"]);
    assert_eq!(store.urls(), urls);
    assert_eq!(store.run(&["volume", "writable", "1"]).status.code(), Some(0));
    assert_contains(&store.import(&[], 0), &["1 stored"]);
    assert_eq!(store.urls(), urls);
    assert_eq!(store.get(&url).unwrap().0, b"changed, and longer than nothing");
}

#[test]
fn touched_file_needs_no_write_and_changed_one_fails_up_front() {
    let store = Store::new();
    store.import(&[], 0);
    let (path, url) = store.in_volume(1).swap_remove(0);
    let manifest =
        || std::fs::read_to_string(store.dir.path().join("photos.manifest.tsv")).unwrap();
    let before = (store.photos(), manifest());
    let file = store.dir.path().join("photos").join(&path);
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(MODIFIED_S + 1)).unwrap();
    assert_eq!(store.run(&["volume", "read-only", "1"]).status.code(), Some(0));
    let text = store.import(&[], 0);
    assert_contains(&text, &["0 stored", "60 in the manifest and in the store"]);
    assert_eq!(store.photos(), before.0);
    assert_ne!(manifest(), before.1, "the manifest has the new time");
    // A file changed without changing its size, and a new file that another volume would accept.
    store.write(&path, &bytes(12_345, 3000));
    store.write("a-new-one.jpg", b"new");
    let text = store.import(&[], 1);
    assert_contains(&text, &["0 stored", "volume 1 takes no writes", &path, "nothing was stored"]);
    assert!(!store.urls().contains_key("a-new-one.jpg"));
    assert_eq!(store.run(&["volume", "writable", "1"]).status.code(), Some(0));
    assert_contains(&store.import(&[], 0), &["2 stored", "59 in the manifest and in the store"]);
    assert_eq!(store.get(&url).unwrap().0, bytes(12_345, 3000));
}

#[test]
fn offline_restore_creates_only_the_needed_volumes() {
    let mut store = Store::new();
    store.import(&["--volume", "2"], 0);
    let urls = store.urls();
    let volumes = |store: &Store| {
        let dirs = [store.dir.path().join("data"), store.second()];
        let entries = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let volumes = names.filter(|name| name.ends_with(".vol"));
        volumes.map(|name| name.split('.').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    store.stop();
    for lost in ["volumes", "volumes and manifest"] {
        std::fs::remove_dir_all(store.dir.path().join("data")).unwrap();
        std::fs::remove_dir_all(store.second()).unwrap();
        if lost != "volumes" {
            std::fs::remove_file(store.dir.path().join("photos.manifest.tsv")).unwrap();
        }
        let output = Command::new(env!("CARGO_BIN_EXE_hayloft"))
            .args(["import", "photos", "--data", "data", "--data", "second"])
            .args(["--create-volumes", "64MiB"])
            .current_dir(store.dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{lost}: {text}");
        assert_contains(&text, &["60 stored"]);
        let needed = if lost == "volumes" { "2" } else { "1" };
        assert_eq!(volumes(&store), [needed], "{lost}");
        assert_eq!(store.urls() == urls, lost == "volumes");
    }
}

#[test]
fn photo_replaced_by_others_is_kept_without_overwrite_flag() {
    let store = Store::new();
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    let url = &urls["d0/3.jpg"];
    store.request("PUT", url, Some(b"by the application"));
    let text = store.import(&[], 1);
    assert_contains(
        &text,
        &["d0/3.jpg: somebody replaced", "--overwrite", "1 failed", "59 in the"],
    );
    assert!(!text.contains(url), "a whole cookie: {text}");
    assert_eq!(store.get(url).unwrap().0, b"by the application");
    // Changed on both sides.
    store.write("d0/3.jpg", b"by the owner of the files");
    assert_contains(&store.import(&[], 1), &["somebody replaced"]);
    assert_eq!(store.get(url).unwrap().0, b"by the application");
    // The same change on both sides, as if an earlier run had failed before it wrote the manifest.
    store.request("PUT", url, Some(b"by the owner of the files"));
    assert_contains(&store.import(&[], 0), &["60 in the manifest and in the store"]);
    store.request("PUT", url, Some(b"by the application"));
    store.write("d0/3.jpg", &before[url].0);
    assert_contains(&store.import(&["--overwrite"], 0), &["1 stored"]);
    assert_eq!((store.urls(), store.photos()), (urls, before));
}

/// Inverts a byte in the middle of `content` in a volume file.
fn damage(store: &Store, content: &[u8]) {
    let dirs = [store.dir.path().join("data"), store.second()];
    let entries = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|end| end == "vol")) {
        let file = std::fs::read(&path).unwrap();
        let begin = &content[content.len() / 2..][..64];
        if let Some(at) = file.windows(begin.len()).position(|piece| piece == begin) {
            let volume = std::fs::File::options().write(true).open(&path).unwrap();
            volume.write_all_at(&[!file[at]], at as u64).unwrap();
            return volume.sync_all().unwrap();
        }
    }
    panic!("the photo is in no volume");
}

#[test]
fn verify_detects_damage_inside_bodies_and_restores_them() {
    let store = Store::new();
    // Sent in one piece, and in many pieces: the connection ends in the middle.
    let contents = [("a.jpg", bytes(1000, 100_000)), ("b.jpg", bytes(1001, 5_000_000))];
    for (path, content) in &contents {
        store.write(path, content);
    }
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    assert_contains(&store.import(&["--verify"], 0), &["0 stored", "62 in the manifest"]);
    for (_, content) in &contents {
        damage(&store, content);
    }
    let text = store.import(&[], 0);
    assert_contains(&text, &["62 in the manifest", "bytes were not read", "--verify"]);
    let text = store.import(&["--verify"], 0);
    assert_contains(&text, &["2 again, under the URLs of the manifest", "60 in the manifest"]);
    assert!(!text.contains("not read"), "{text}");
    assert_eq!((store.urls(), store.photos()), (urls, before));
}

#[test]
fn corrupted_file_is_not_stored_for_a_lost_photo() {
    let store = Store::new();
    store.import(&[], 0);
    let urls = store.urls();
    store.request("DELETE", &urls["d0/0.jpg"], None);
    store.request("DELETE", &urls["d1/1.jpg"], None);
    let corrupted = {
        let mut content = bytes(0, 3000);
        content[1500] ^= 1;
        content
    };
    store.write("d0/0.jpg", &corrupted);
    let text = store.import(&[], 1);
    assert_contains(&text, &["d0/0.jpg: ", "its bytes are not those that were stored", "1 stored"]);
    assert_eq!(store.get(&urls["d0/0.jpg"]), None);
    assert_eq!(store.get(&urls["d1/1.jpg"]).unwrap().0, bytes(1, 3000));
    store.write("d0/0.jpg", &bytes(0, 3000));
    store.import(&[], 0);
    assert_eq!((store.urls(), store.photos().len()), (urls, 60));
}

#[test]
fn hidden_files_in_the_manifest_are_restored_without_the_flag() {
    let store = Store::new();
    store.write(".hidden/a.jpg", b"hidden");
    store.import(&["--hidden"], 0);
    let urls = store.urls();
    store.request("DELETE", &urls[".hidden/a.jpg"], None);
    assert_contains(&store.import(&["--prune"], 0), &["1 stored", "60 in the manifest"]);
    assert_eq!((store.urls(), store.photos().len()), (urls, 61));
}

#[test]
fn prune_deletes_only_photos_without_files() {
    let store = Store::new();
    store.import(&[], 0);
    let urls = store.urls();
    for path in ["d0/0.jpg", "d1/1.jpg", "d2/2.jpg"] {
        store.remove(path);
    }
    store.request("DELETE", &urls["d1/1.jpg"], None);
    store.request("PUT", &urls["d2/2.jpg"], Some(b"by the application"));
    // A renamed file: a new photo, and the old one is pruned.
    std::fs::rename(
        store.dir.path().join("photos/d0/3.jpg"),
        store.dir.path().join("photos/new.jpg"),
    )
    .unwrap();
    let text = store.import(&[], 1);
    assert_contains(&text, &["3 photos of the manifest stay", "--prune", "1 failed", "1 stored"]);
    assert_contains(&text, &["d1/1.jpg: it is not in the store any more, and the file is gone"]);
    assert_eq!(store.urls().len(), 61);
    assert!(store.get(&urls["d0/0.jpg"]).is_some() && store.get(&urls["d0/3.jpg"]).is_some());
    let text = store.import(&["--prune"], 1);
    assert_contains(&text, &["3 pruned", "d2/2.jpg: somebody replaced"]);
    assert_eq!(store.get(&urls["d2/2.jpg"]).unwrap().0, b"by the application");
    assert_contains(&store.import(&["--prune", "--overwrite"], 0), &["1 pruned"]);
    for path in ["d0/0.jpg", "d0/3.jpg", "d1/1.jpg", "d2/2.jpg"] {
        assert_eq!(store.get(&urls[path]), None, "{path}");
        assert!(!store.urls().contains_key(path), "{path}");
    }
    assert_eq!((store.urls().len(), store.photos().len()), (57, 57));
    assert_contains(&store.import(&["--prune"], 0), &["0 stored", "57 in the manifest and in the"]);
}

#[test]
fn prune_needs_a_complete_walk_and_a_writable_volume() {
    let store = Store::new();
    store.import(&[], 0);
    let (urls, before) = (store.urls(), store.photos());
    // As if the file system of the photos were not mounted.
    let (photos, aside) = (store.dir.path().join("photos"), store.dir.path().join("aside"));
    std::fs::rename(&photos, &aside).unwrap();
    std::fs::create_dir(&photos).unwrap();
    assert_contains(&store.import(&["--prune"], 1), &["no file at all", "nothing was pruned"]);
    std::fs::remove_dir(&photos).unwrap();
    std::fs::rename(&aside, &photos).unwrap();
    assert_eq!((store.urls(), store.photos()), (urls, before.clone()));
    let (path, url) = store.in_volume(2).swap_remove(0);
    store.remove(&path);
    assert_eq!(store.run(&["volume", "read-only", "2"]).status.code(), Some(0));
    assert_contains(&store.import(&["--prune"], 1), &[&path, "503", "1 failed"]);
    assert_eq!(store.photos(), before);
    assert_eq!(store.run(&["volume", "writable", "2"]).status.code(), Some(0));
    assert_contains(&store.import(&["--prune"], 0), &["1 pruned"]);
    assert_eq!(store.get(&url), None);
}

#[test]
fn killed_prune_resumes() {
    let store = Store::new();
    store.import(&[], 0);
    let urls = store.urls();
    for n in 3..COUNT {
        store.remove(&format!("d{}/{n}.jpg", n % 3));
    }
    let mut import = store.command(&["import", "photos", "--prune", "--parallel", "1"]);
    let mut import = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.photos().len() == urls.len() {
        assert!(Instant::now() < deadline, "nothing was pruned in time");
    }
    import.kill().unwrap();
    import.wait().unwrap();
    store.import(&["--prune"], 0);
    assert_eq!(store.urls().len(), 3);
    let remaining = urls.values().filter(|url| store.get(url).is_some()).count();
    assert_eq!((remaining, store.photos().len()), (3, 3));
}
