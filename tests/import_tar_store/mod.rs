//! A store with photos that are exported to tars and imported from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::daemon_harness::{COOKIE, Client, Daemon, Options, data_dir};

/// A stored photo: media type, modification time (seconds), bytes.
#[derive(Clone)]
pub struct Photo {
    pub kind: &'static str,
    pub modified: u64,
    pub body: Vec<u8>,
}

/// By volume, key and alternate key.
pub type Photos = BTreeMap<(u32, u64, u32), Photo>;

/// A store with two data directories.
pub struct Store {
    pub dir: tempfile::TempDir,
    pub daemon: Option<Daemon>,
}

impl Store {
    pub fn start() -> Self {
        Self::with("64MiB")
    }

    pub fn with(volume_size: &'static str) -> Self {
        let mut store = Self { dir: data_dir(), daemon: None };
        let args = vec!["--data".to_owned(), store.disk(2).display().to_string()];
        let options = Options { volume_size, args, ..Options::default() };
        store.daemon = Some(Daemon::start(store.dir.path(), &options));
        store
    }

    pub fn disk(&self, number: u32) -> PathBuf {
        self.dir.path().join(if number == 1 { "data" } else { "data2" })
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    pub fn admin(&self, method: &str, path: &str, body: &str) {
        let mut client = Client::new(self.daemon().admin);
        let reply = client.request(method, path, &[], Some(body.as_bytes())).unwrap();
        assert!((200..300).contains(&reply.status), "{path}: {}", reply.text());
    }

    pub fn create(&self, volume: u32, disk: u32) {
        let body = format!(r#"{{"id":{volume},"size":"64MiB","disk":{disk}}}"#);
        self.admin("POST", "/volumes", &body);
    }

    pub fn fill(&self, photos: &Photos) {
        let mut client = self.daemon().client();
        for (place, photo) in photos {
            let modified = photo.modified.to_string();
            let headers = [("Content-Type", photo.kind), ("X-Hayloft-Modified", &*modified)];
            let reply = client.request("PUT", &path(*place), &headers, Some(&photo.body)).unwrap();
            assert_eq!(reply.status, 201, "{}", reply.text());
        }
    }

    /// Stops the daemon and exports all its volumes.
    pub fn export(&mut self, to: &Path) {
        assert!(self.daemon.take().unwrap().stop().success());
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.arg("export").arg("--data").arg(self.disk(1)).arg("--data").arg(self.disk(2));
        let output = command.arg("-o").arg(to).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
        command.arg("import").args(["--server", &self.daemon().data.to_string()]);
        command.args(["--admin", &self.daemon().admin.to_string()]).args(args);
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub fn imports(&self, args: &[&str], tar: &Path, says: &str) {
        let output = self.command(args).arg(tar).output().unwrap();
        let output_text = output_text(&output);
        assert_eq!(output.status.code(), Some(0), "{output_text}");
        assert!(output_text.contains(says), "{output_text}");
    }

    /// Asserts that the import is refused with all of `says` in its output, and that no photo is stored.
    #[track_caller]
    pub fn refuses(&self, args: &[&str], tar: &Path, says: &[&str]) {
        let before = self.needles();
        let output = self.command(args).arg(tar).output().unwrap();
        let output_text = output_text(&output);
        assert_eq!(output.status.code(), Some(1), "{output_text}");
        for says in says {
            assert!(output_text.contains(says), "{says}: {output_text}");
        }
        assert!(
            output_text.contains("0 stored (0 B)") && output_text.contains("nothing was stored"),
            "{output_text}"
        );
        assert_eq!(self.needles(), before, "{output_text}");
    }

    /// Number of photos by volume, as reported by the daemon.
    pub fn needles(&self) -> BTreeMap<u64, u64> {
        let volumes: serde_json::Value =
            serde_json::from_slice(&self.daemon().admin("/volumes").body).unwrap();
        let number = |volume: &serde_json::Value, key: &str| volume[key].as_u64().unwrap();
        let volumes = volumes.as_array().unwrap().iter();
        volumes.map(|volume| (number(volume, "id"), number(volume, "needles"))).collect()
    }

    pub fn assert_holds(&self, photos: &Photos) {
        let mut client = self.daemon().client();
        for (place, photo) in photos {
            let got = client.get(&path(*place)).unwrap();
            assert_eq!(got.status, 200, "{place:?}");
            assert!(got.body == photo.body, "{place:?} has other bytes");
            assert_eq!(got.header("content-type"), Some(photo.kind), "{place:?}");
            let modified = hayloft::http::date::format(photo.modified);
            assert_eq!(got.header("last-modified"), str::from_utf8(&modified).ok(), "{place:?}");
        }
    }
}

pub fn path((volume, key, alt): (u32, u64, u32)) -> String {
    format!("/{volume}/{key}/{alt}/{COOKIE}")
}

pub fn output_text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}
