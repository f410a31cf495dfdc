//! Servers: started when they are needed, stopped when they would be in the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hayloft::client::Body;
use hayloft::http::head::Method;
use hayloft::limits::LOG_START;
use serde::Deserialize;

use crate::client::client;
use crate::error::{Error, file};
use crate::loadgen::Target;
use crate::metrics::Figures;
use crate::nginx;
use crate::process::Running;
use crate::raw::Span;
use crate::seaweedfs::{self, SeaweedFs};
use crate::stand::Stand;
use crate::workload::{Data, Subject};

/// What runs as one process, or a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// Goes over the daemon's files before the daemon may have them, so it comes first.
    Baseline,
    /// With one shard.
    Hayloft,
    /// With one, and volumes that were written with zeros when they were made.
    Zeroed,
    /// With two shards.
    TwoShards,
    /// With files.
    Nginx,
    /// With its master.
    SeaweedFs,
    /// From memory.
    Null,
}

impl Server {
    /// Its name; of its directory too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Hayloft => "hayloft",
            Self::Zeroed => "hayloft-zeroed",
            Self::TwoShards => "hayloft-2",
            Self::Nginx => "nginx",
            Self::SeaweedFs => "seaweedfs",
            Self::Null => "null",
        }
    }

    /// Of a subject, if it is one.
    pub fn of(subject: Subject) -> Option<Self> {
        match subject {
            // The file that is read is the daemon's, and the daemon says how much of it.
            Subject::Hayloft | Subject::Ring | Subject::Fio => Some(Self::Hayloft),
            Subject::Zeroed => Some(Self::Zeroed),
            Subject::OwnPort | Subject::AnyPort => Some(Self::TwoShards),
            Subject::Nginx => Some(Self::Nginx),
            Subject::SeaweedFs | Subject::SeaweedFsFsync => Some(Self::SeaweedFs),
            Subject::Baseline => Some(Self::Baseline),
            Subject::Null => Some(Self::Null),
            Subject::FioMix(_) => None,
        }
    }
}

enum Up {
    One(Running),
    SeaweedFs(SeaweedFs),
}

impl Up {
    fn measured(&mut self) -> &mut Running {
        match self {
            Self::One(running) => running,
            Self::SeaweedFs(pair) => &mut pair.volume,
        }
    }
}

/// The servers over one set of data.
pub struct Servers<'a> {
    stand: &'a Stand,
    data: Data,
    /// Size of each volume of the daemon (bytes).
    volume_size: u64,
    up: BTreeMap<Server, Up>,
}

/// A row of `GET /volumes` and `/status` of the daemon.
#[derive(Deserialize)]
struct VolumeRow {
    id: u32,
    shard: Option<usize>,
}

impl<'a> Servers<'a> {
    /// None of them runs yet.
    pub fn new(stand: &'a Stand, data: Data, volume_size: u64) -> Self {
        Self { stand, data, volume_size, up: BTreeMap::new() }
    }

    /// Where a server's data is.
    pub fn dir(&self, server: Server) -> PathBuf {
        self.stand.data_dir(self.data.name(), server.name())
    }

    /// Where fio has a file of its own.
    pub fn scratch(&self) -> PathBuf {
        self.stand.data_dir(self.data.name(), "fio")
    }

    /// Mean length of an object (bytes).
    pub fn sizes(&self) -> u64 {
        self.data.sizes().1
    }

    fn port(&self, server: Server) -> u16 {
        self.stand.port
            + match server {
                Server::Hayloft => 0,
                Server::Nginx => 2,
                Server::SeaweedFs => 5,
                Server::Baseline => 7,
                Server::Null => 8,
                Server::TwoShards => 10,
                Server::Zeroed => 14,
            }
    }

    /// Makes these run, and no others.
    ///
    /// # Errors
    /// When one does not start.
    pub fn need(&mut self, wanted: &[Server]) -> Result<(), Error> {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        // One that ended on its own is started again.
        self.up.retain(|server, up| wanted.contains(server) && up.measured().check().is_ok());
        if wanted.contains(&Server::Baseline) && !self.up.contains_key(&Server::Baseline) {
            self.up.remove(&Server::Hayloft);
        }
        for server in wanted {
            if !self.up.contains_key(&server) {
                let started = self.start(server)?;
                self.up.insert(server, started);
            }
        }
        Ok(())
    }

    fn start(&self, server: Server) -> Result<Up, Error> {
        let (stand, port, dir) = (self.stand, self.port(server), self.dir(server));
        fs::create_dir_all(&dir).map_err(file("make", &dir))?;
        let baseline = |command: &str| -> Result<_, Error> {
            let mut words = stand.seat(server.name(), 1)?.command(&stand.programs.baseline);
            words.args([command, "--listen", &format!("127.0.0.1:{port}")]);
            Ok(words)
        };
        let log = stand.log(server.name());
        Ok(Up::One(match server {
            Server::Hayloft | Server::Zeroed => self.daemon(server, 1)?,
            Server::TwoShards => self.daemon(server, 2)?,
            Server::Nginx => nginx::start(stand, &dir, port)?,
            Server::SeaweedFs => {
                let ports = [port - 2, port - 1, port, port + 1];
                return Ok(Up::SeaweedFs(seaweedfs::start(stand, &dir, ports)?));
            }
            Server::Baseline => {
                let mut command = baseline("serve")?;
                command.arg("--data").arg(self.dir(Server::Hayloft));
                Running::start(server.name(), command, &log, port)?
            }
            Server::Null => {
                let mut command = baseline("null")?;
                command.args(["--body", self.data.sizes().0]);
                Running::start(server.name(), command, &log, port)?
            }
        }))
    }

    /// Starts the daemon, with all the volumes that the data are spread over.
    fn daemon(&self, server: Server, shards: usize) -> Result<Running, Error> {
        let (stand, port) = (self.stand, self.port(server));
        let seat = stand.seat(server.name(), shards)?;
        let mut command = seat.command(&stand.programs.hayloft);
        command.args(["serve", "--cores", &seat.cores]).arg("--data").arg(self.dir(server));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--admin", &format!("127.0.0.1:{}", port + 1)]);
        match shards {
            1 => command.args(["--shard-ports", "off"]),
            _ => command.args(["--shard-ports", &(port + 2).to_string()]),
        };
        command.args(["--volume-size", &format!("{}MiB", self.volume_size >> 20)]);
        if server == Server::Zeroed {
            let config = stand.work.join("zeroed.toml");
            fs::write(&config, "prealloc = \"zeroed\"\n").map_err(file("write", &config))?;
            command.arg("--config").arg(&config);
        }
        let mut running = Running::start(server.name(), command, &stand.log(server.name()), port)?;
        let admin = client(port + 1);
        running.wait_for(|| {
            let asked = admin.request(Method::Get, "/readyz", &[], Body::None);
            asked.is_ok_and(|reply| reply.expect(&[200]).is_ok())
        })?;
        let there: Vec<VolumeRow> = self.volumes(server)?;
        for id in self.data.volumes().split(',') {
            if !there.iter().any(|volume| volume.id.to_string() == id) {
                let body = format!("{{\"id\":{id},\"size\":\"{}MiB\"}}", self.volume_size >> 20);
                let headers = [("Content-Type", "application/json")];
                let body = Body::Bytes(body.as_bytes());
                admin.request(Method::Post, "/volumes", &headers, body)?.expect(&[201, 202])?;
                let shard = || {
                    let there = self.volumes(server).unwrap_or_default();
                    there.iter().any(|row| row.id.to_string() == id && row.shard.is_some())
                };
                running.wait_for(shard)?;
            }
        }
        Ok(running)
    }

    fn volumes(&self, server: Server) -> Result<Vec<VolumeRow>, Error> {
        let admin = client(self.port(server) + 1);
        Ok(admin.request(Method::Get, "/volumes", &[], Body::None)?.expect(&[200])?.json()?)
    }

    /// How a subject is asked; nothing of one that is no server.
    pub fn target(&self, subject: Subject) -> Option<Target> {
        let server = Server::of(subject)?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let port = self.port(server);
        let mut target = Target {
            kind: "hayloft",
            urls: vec![url(port)],
            dir: None,
            fsync: subject == Subject::SeaweedFsFsync,
            by_shard: None,
        };
        match subject {
            Subject::Ring | Subject::Fio | Subject::FioMix(_) => return None,
            Subject::Nginx => target.kind = "nginx",
            Subject::SeaweedFs | Subject::SeaweedFsFsync => target.kind = "seaweedfs",
            Subject::OwnPort => target.by_shard = Some(url(port + 1)),
            Subject::Hayloft
            | Subject::Zeroed
            | Subject::AnyPort
            | Subject::Baseline
            | Subject::Null => {}
        }
        Some(target)
    }

    /// How a server is filled: nginx, by files.
    pub fn filled_by(&self, server: Server) -> Target {
        let (kind, dir) = match server {
            Server::Nginx => ("files", Some(self.dir(server))),
            Server::SeaweedFs => ("seaweedfs", None),
            _ => ("hayloft", None),
        };
        let urls = match dir {
            Some(_) => Vec::new(),
            None => vec![format!("http://127.0.0.1:{}", self.port(server))],
        };
        Target { kind, urls, dir, fsync: false, by_shard: None }
    }

    /// What the daemon says of itself; nothing of others.
    ///
    /// # Errors
    /// When it does not.
    pub fn figures(&self, server: Server) -> Result<Option<Figures>, Error> {
        match server {
            Server::Hayloft | Server::Zeroed | Server::TwoShards => {
                Figures::ask(&client(self.port(server) + 1)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The process that is measured.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn running(&mut self, server: Server) -> Result<&Running, Error> {
        let up = self.up.get_mut(&server).expect("what is measured was started");
        let running = up.measured();
        running.check()?;
        Ok(running)
    }

    /// What of the daemon's volume holds needles.
    ///
    /// # Errors
    /// When there is no volume, or the daemon does not say.
    pub fn span(&self) -> Result<Span, Error> {
        let missing = |what: &str| Error::Figure { from: "the daemon", what: what.to_owned() };
        let figures = self.figures(Server::Hayloft)?.unwrap_or_default();
        let block = figures.needle_len().ok_or_else(|| missing("needles"))?;
        let file =
            volume_file(&self.dir(Server::Hayloft))?.ok_or_else(|| missing("volume file"))?;
        Ok(Span { file, range: LOG_START..figures.tail as u64, block })
    }
}

/// The file of volume 1.
fn volume_file(dir: &Path) -> Result<Option<PathBuf>, Error> {
    let entries = fs::read_dir(dir).map_err(file("read", dir))?;
    let names = entries.flatten().map(|entry| entry.path());
    Ok(names.into_iter().find(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("1.") && name.ends_with(".vol"))
    }))
}
