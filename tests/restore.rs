//! `hayloft import DIR` brings back what the store has lost, under the URLs of the manifest, and removes
//! what `--prune` is asked to remove: against the real daemon with two data directories.

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

/// What a reader gets of a photo: bytes, media type, time of modification.
type Photo = (Vec<u8>, String, String);

struct Place {
    dir: tempfile::TempDir,
    daemon: Option<Daemon>,
}

impl Place {
    /// Volume 1 in the directory `data`, volume 2 in the directory `second`, and a directory of photos.
    fn new() -> Self {
        let dir = data_dir();
        let mut place = Self { dir, daemon: None };
        for n in 0..COUNT {
            place.write(&format!("d{}/{n}.jpg", n % 3), &bytes(n, 3000));
        }
        place.start();
        place.create_second_volume();
        place
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

    /// The disk of volume 2 is lost; a new one is in its place.
    fn lose_the_second_disk(&mut self) {
        self.stop();
        std::fs::remove_dir_all(self.second()).unwrap();
        assert_eq!(self.run(&["init", "second"]).status.code(), Some(0));
        self.start();
    }

    /// All is lost; the daemon starts anew.
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

    /// Runs `hayloft import photos` with `flags`; what it says, once its exit code is the wanted one.
    fn import(&self, flags: &[&str], code: i32) -> String {
        let output = self.run(&[&["import", "photos"], flags].concat());
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {text}");
        text
    }

    /// Path to URL.
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

    /// What readers get under each URL of the manifest that has a photo.
    fn photos(&self) -> BTreeMap<String, Photo> {
        self.urls().into_values().filter_map(|url| Some((url.clone(), self.get(&url)?))).collect()
    }

    fn request(&self, method: &str, url: &str, body: Option<&[u8]>) {
        let reply = self.daemon().client().request(method, url, &[], body).unwrap();
        assert_eq!(reply.status, 204, "{method} {url}");
    }

    /// Paths and URLs of photos in a volume.
    fn in_volume(&self, volume: u32) -> Vec<(String, String)> {
        let prefix = format!("/{volume}/");
        self.urls().into_iter().filter(|(_, url)| url.starts_with(&prefix)).collect()
    }
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

#[test]
fn a_deleted_photo_is_stored_again_under_its_url() {
    let place = Place::new();
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    assert!(before.len() == 60 && !place.in_volume(1).is_empty() && !place.in_volume(2).is_empty());
    assert!(before.values().all(|(_, kind, modified)| {
        kind == "image/jpeg" && modified == "Thu, 02 Jan 2020 03:04:05 GMT"
    }));
    place.request("DELETE", &urls["d1/1.jpg"], None);
    let text = place.import(&[], 0);
    assert_says(&text, &["1 stored", "59 in the manifest and in the store"]);
    assert_eq!((place.urls(), place.photos()), (urls, before));
    assert_says(&place.import(&[], 0), &["0 stored", "60 in the manifest and in the store"]);
}

#[test]
fn a_lost_disk_is_restored_once_its_volumes_exist() {
    let mut place = Place::new();
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    let lost = place.in_volume(2).len();
    place.lose_the_second_disk();
    let text = place.import(&[], 1);
    let create = format!("hayloft volume create 2 --admin http://{}", place.daemon().admin);
    assert_says(&text, &["volume 2 does not exist", &create, "--create-volumes", "0 stored"]);
    assert_eq!(place.urls(), urls, "nothing gets another URL");
    place.create_second_volume();
    let kept = 60 - lost;
    let again = format!("{lost} again, under the URLs of the manifest");
    let text = place.import(&[], 0);
    assert_says(&text, &[&again, &format!("{kept} in the manifest and in the store")]);
    assert_eq!((place.urls(), place.photos()), (urls, before));
}

#[test]
fn a_disk_that_is_only_not_mounted_is_not_taken_for_a_lost_one() {
    let mut place = Place::new();
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    place.stop();
    let aside = place.dir.path().join("aside");
    std::fs::rename(place.second(), &aside).unwrap();
    place.start();
    let text = place.import(&["--create-volumes", "64MiB"], 1);
    assert_says(&text, &["volume 2 cannot be asked for its photos", "data directory", "503"]);
    place.stop();
    std::fs::rename(&aside, place.second()).unwrap();
    place.start();
    assert_says(&place.import(&[], 0), &["60 in the manifest and in the store"]);
    assert_eq!((place.urls(), place.photos()), (urls, before));
}

#[test]
fn the_same_command_restores_everything_after_a_total_loss() {
    let mut place = Place::new();
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    place.lose_everything();
    assert_says(&place.import(&[], 1), &["volume 2 does not exist", "nothing was stored"]);
    place.create_second_volume();
    assert_says(&place.import(&[], 0), &["60 again, under the URLs of the manifest"]);
    assert_eq!((place.urls(), place.photos()), (urls.clone(), before.clone()));
    // The second time the command makes the volumes itself.
    place.lose_everything();
    assert_says(&place.import(&["--create-volumes", "64MiB"], 0), &["60 again"]);
    assert_eq!((place.urls(), place.photos()), (urls, before));
}

#[test]
fn a_restore_that_is_killed_goes_on() {
    let mut place = Place::new();
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    place.lose_everything();
    place.create_second_volume();
    for share in [1, 20] {
        let mut import = place.command(&["import", "photos", "--parallel", "1"]);
        let mut import = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while place.photos().len() < share {
            assert!(Instant::now() < deadline, "{share} photos were not restored in time");
        }
        import.kill().unwrap();
        import.wait().unwrap();
    }
    place.import(&[], 0);
    assert_eq!((place.urls(), place.photos()), (urls, before));
}

#[test]
fn a_store_with_other_photos_is_taken_for_the_wrong_one() {
    let mut place = Place::new();
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    place.lose_everything();
    place.create_second_volume();
    let mut client = place.daemon().client();
    let other = "/1/1/0/0123456789abcdef";
    assert_eq!(client.put(other, b"another application's").unwrap().status, 201);
    let deadline = Instant::now() + Duration::from_secs(10);
    while place.daemon().metric("hayloft_volume_needles", "volume=\"1\"") < 1.0 {
        assert!(Instant::now() < deadline, "the photo was not counted in time");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_says(&place.import(&[], 2), &["nothing that", "--server", "--restore"]);
    assert!(place.photos().is_empty());
    assert_says(&place.import(&["--restore"], 0), &["60 again"]);
    assert_eq!((place.urls(), place.photos()), (urls, before));
    assert!(place.get(other).is_some());
}

#[test]
fn a_volume_that_takes_no_writes_ends_it_and_no_photo_gets_another_url() {
    let place = Place::new();
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    let (path, url) = place.in_volume(1).swap_remove(0);
    // A photo that is gone.
    place.request("DELETE", &url, None);
    assert_eq!(place.run(&["volume", "read-only", "1"]).status.code(), Some(0));
    let text = place.import(&[], 1);
    assert_says(&text, &["volume 1 takes no writes: it is read-only", "volume writable 1"]);
    assert_eq!(place.urls(), urls);
    assert_eq!(place.run(&["volume", "writable", "1"]).status.code(), Some(0));
    place.import(&[], 0);
    assert_eq!((place.urls(), place.photos()), (urls.clone(), before));
    // A file that was changed.
    place.write(&path, b"changed, and longer than nothing");
    assert_eq!(place.run(&["volume", "read-only", "1"]).status.code(), Some(0));
    let text = place.import(&[], 1);
    assert_says(&text, &["volume 1 takes no writes", &path, "no other URL"]);
    assert_eq!(place.urls(), urls);
    assert_eq!(place.run(&["volume", "writable", "1"]).status.code(), Some(0));
    assert_says(&place.import(&[], 0), &["1 stored"]);
    assert_eq!(place.urls(), urls);
    assert_eq!(place.get(&url).unwrap().0, b"changed, and longer than nothing");
}

#[test]
fn a_touched_file_needs_no_writes_and_a_changed_one_stops_before_all() {
    let place = Place::new();
    place.import(&[], 0);
    let (path, url) = place.in_volume(1).swap_remove(0);
    let manifest =
        || std::fs::read_to_string(place.dir.path().join("photos.manifest.tsv")).unwrap();
    let before = (place.photos(), manifest());
    let file = place.dir.path().join("photos").join(&path);
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(MODIFIED_S + 1)).unwrap();
    assert_eq!(place.run(&["volume", "read-only", "1"]).status.code(), Some(0));
    let text = place.import(&[], 0);
    assert_says(&text, &["0 stored", "60 in the manifest and in the store"]);
    assert_eq!(place.photos(), before.0);
    assert_ne!(manifest(), before.1, "the new time is written down");
    // Changed, of the same size, and a new file that another volume would take.
    place.write(&path, &bytes(12_345, 3000));
    place.write("a-new-one.jpg", b"new");
    let text = place.import(&[], 1);
    assert_says(&text, &["0 stored", "volume 1 takes no writes", &path, "nothing was stored"]);
    assert!(!place.urls().contains_key("a-new-one.jpg"));
    assert_eq!(place.run(&["volume", "writable", "1"]).status.code(), Some(0));
    assert_says(&place.import(&[], 0), &["2 stored", "59 in the manifest and in the store"]);
    assert_eq!(place.get(&url).unwrap().0, bytes(12_345, 3000));
}

#[test]
fn without_a_daemon_only_the_volumes_that_are_needed_are_created() {
    let mut place = Place::new();
    place.import(&["--volume", "2"], 0);
    let urls = place.urls();
    let volumes = |place: &Place| {
        let dirs = [place.dir.path().join("data"), place.second()];
        let entries = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let volumes = names.filter(|name| name.ends_with(".vol"));
        volumes.map(|name| name.split('.').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    place.stop();
    for lost in ["volumes", "volumes and manifest"] {
        std::fs::remove_dir_all(place.dir.path().join("data")).unwrap();
        std::fs::remove_dir_all(place.second()).unwrap();
        if lost != "volumes" {
            std::fs::remove_file(place.dir.path().join("photos.manifest.tsv")).unwrap();
        }
        let output = Command::new(env!("CARGO_BIN_EXE_hayloft"))
            .args(["import", "photos", "--data", "data", "--data", "second"])
            .args(["--create-volumes", "64MiB"])
            .current_dir(place.dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{lost}: {text}");
        assert_says(&text, &["60 stored"]);
        let needed = if lost == "volumes" { "2" } else { "1" };
        assert_eq!(volumes(&place), [needed], "{lost}");
        assert_eq!(place.urls() == urls, lost == "volumes");
    }
}

#[test]
fn a_photo_that_somebody_replaced_stays_unless_told_otherwise() {
    let place = Place::new();
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    let url = &urls["d0/3.jpg"];
    place.request("PUT", url, Some(b"by the application"));
    let text = place.import(&[], 1);
    assert_says(&text, &["d0/3.jpg: somebody replaced", "--overwrite", "1 failed", "59 in the"]);
    assert!(!text.contains(url), "a whole cookie: {text}");
    assert_eq!(place.get(url).unwrap().0, b"by the application");
    // Changed on both sides.
    place.write("d0/3.jpg", b"by the owner of the files");
    assert_says(&place.import(&[], 1), &["somebody replaced"]);
    assert_eq!(place.get(url).unwrap().0, b"by the application");
    // And alike on both sides: as if an earlier run could not write down what it stored.
    place.request("PUT", url, Some(b"by the owner of the files"));
    assert_says(&place.import(&[], 0), &["60 in the manifest and in the store"]);
    place.request("PUT", url, Some(b"by the application"));
    place.write("d0/3.jpg", &before[url].0);
    assert_says(&place.import(&["--overwrite"], 0), &["1 stored"]);
    assert_eq!((place.urls(), place.photos()), (urls, before));
}

/// Inverts a byte in the middle of where `content` is in a volume file.
fn damage(place: &Place, content: &[u8]) {
    let dirs = [place.dir.path().join("data"), place.second()];
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
fn verify_finds_damage_behind_the_beginning_and_stores_the_photo_again() {
    let place = Place::new();
    // Answered in one piece, and in many: a connection that ends in the middle.
    let contents = [("a.jpg", bytes(1000, 100_000)), ("b.jpg", bytes(1001, 5_000_000))];
    for (path, content) in &contents {
        place.write(path, content);
    }
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    assert_says(&place.import(&["--verify"], 0), &["0 stored", "62 in the manifest"]);
    for (_, content) in &contents {
        damage(&place, content);
    }
    let text = place.import(&[], 0);
    assert_says(&text, &["62 in the manifest", "bytes were not read", "--verify"]);
    let text = place.import(&["--verify"], 0);
    assert_says(&text, &["2 again, under the URLs of the manifest", "60 in the manifest"]);
    assert!(!text.contains("not read"), "{text}");
    assert_eq!((place.urls(), place.photos()), (urls, before));
}

#[test]
fn a_file_that_decayed_is_not_stored_for_the_photo_that_was_lost() {
    let place = Place::new();
    place.import(&[], 0);
    let urls = place.urls();
    place.request("DELETE", &urls["d0/0.jpg"], None);
    place.request("DELETE", &urls["d1/1.jpg"], None);
    let decayed = {
        let mut content = bytes(0, 3000);
        content[1500] ^= 1;
        content
    };
    place.write("d0/0.jpg", &decayed);
    let text = place.import(&[], 1);
    assert_says(&text, &["d0/0.jpg: ", "its bytes are not those that were stored", "1 stored"]);
    assert_eq!(place.get(&urls["d0/0.jpg"]), None);
    assert_eq!(place.get(&urls["d1/1.jpg"]).unwrap().0, bytes(1, 3000));
    place.write("d0/0.jpg", &bytes(0, 3000));
    place.import(&[], 0);
    assert_eq!((place.urls(), place.photos().len()), (urls, 60));
}

#[test]
fn hidden_files_of_the_manifest_are_restored_without_the_flag() {
    let place = Place::new();
    place.write(".hidden/a.jpg", b"hidden");
    place.import(&["--hidden"], 0);
    let urls = place.urls();
    place.request("DELETE", &urls[".hidden/a.jpg"], None);
    assert_says(&place.import(&["--prune"], 0), &["1 stored", "60 in the manifest"]);
    assert_eq!((place.urls(), place.photos().len()), (urls, 61));
}

#[test]
fn prune_deletes_photos_without_files_and_nothing_else() {
    let place = Place::new();
    place.import(&[], 0);
    let urls = place.urls();
    for path in ["d0/0.jpg", "d1/1.jpg", "d2/2.jpg"] {
        place.remove(path);
    }
    place.request("DELETE", &urls["d1/1.jpg"], None);
    place.request("PUT", &urls["d2/2.jpg"], Some(b"by the application"));
    // Renamed: a new photo, whose old one goes.
    std::fs::rename(
        place.dir.path().join("photos/d0/3.jpg"),
        place.dir.path().join("photos/new.jpg"),
    )
    .unwrap();
    let text = place.import(&[], 1);
    assert_says(&text, &["3 photos of the manifest stay", "--prune", "1 failed", "1 stored"]);
    assert_says(&text, &["d1/1.jpg: it is not in the store any more, and the file is gone"]);
    assert_eq!(place.urls().len(), 61);
    assert!(place.get(&urls["d0/0.jpg"]).is_some() && place.get(&urls["d0/3.jpg"]).is_some());
    let text = place.import(&["--prune"], 1);
    assert_says(&text, &["3 pruned", "d2/2.jpg: somebody replaced"]);
    assert_eq!(place.get(&urls["d2/2.jpg"]).unwrap().0, b"by the application");
    assert_says(&place.import(&["--prune", "--overwrite"], 0), &["1 pruned"]);
    for path in ["d0/0.jpg", "d0/3.jpg", "d1/1.jpg", "d2/2.jpg"] {
        assert_eq!(place.get(&urls[path]), None, "{path}");
        assert!(!place.urls().contains_key(path), "{path}");
    }
    assert_eq!((place.urls().len(), place.photos().len()), (57, 57));
    assert_says(&place.import(&["--prune"], 0), &["0 stored", "57 in the manifest and in the"]);
}

#[test]
fn prune_needs_a_whole_walk_and_a_volume_that_takes_deletes() {
    let place = Place::new();
    place.import(&[], 0);
    let (urls, before) = (place.urls(), place.photos());
    // As if the directory's file system was not mounted.
    let (photos, aside) = (place.dir.path().join("photos"), place.dir.path().join("aside"));
    std::fs::rename(&photos, &aside).unwrap();
    std::fs::create_dir(&photos).unwrap();
    assert_says(&place.import(&["--prune"], 1), &["no file at all", "nothing was pruned"]);
    std::fs::remove_dir(&photos).unwrap();
    std::fs::rename(&aside, &photos).unwrap();
    assert_eq!((place.urls(), place.photos()), (urls, before.clone()));
    let (path, url) = place.in_volume(2).swap_remove(0);
    place.remove(&path);
    assert_eq!(place.run(&["volume", "read-only", "2"]).status.code(), Some(0));
    assert_says(&place.import(&["--prune"], 1), &[&path, "503", "1 failed"]);
    assert_eq!(place.photos(), before);
    assert_eq!(place.run(&["volume", "writable", "2"]).status.code(), Some(0));
    assert_says(&place.import(&["--prune"], 0), &["1 pruned"]);
    assert_eq!(place.get(&url), None);
}

#[test]
fn a_prune_that_is_killed_goes_on() {
    let place = Place::new();
    place.import(&[], 0);
    let urls = place.urls();
    for n in 3..COUNT {
        place.remove(&format!("d{}/{n}.jpg", n % 3));
    }
    let mut import = place.command(&["import", "photos", "--prune", "--parallel", "1"]);
    let mut import = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while place.photos().len() == urls.len() {
        assert!(Instant::now() < deadline, "nothing was pruned in time");
    }
    import.kill().unwrap();
    import.wait().unwrap();
    place.import(&["--prune"], 0);
    assert_eq!(place.urls().len(), 3);
    let left = urls.values().filter(|url| place.get(url).is_some()).count();
    assert_eq!((left, place.photos().len()), (3, 3));
}
