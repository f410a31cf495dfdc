//! Servers: started when needed, and stopped when they would disturb a measurement.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hayloft::base::limits::LOG_START;
use hayloft::commands::client::Body;
use hayloft::http::head::Method;
use serde::Deserialize;

use crate::client::client;
use crate::error::{Error, file};
use crate::loadgen::Target;
use crate::metrics::DaemonCounters;
use crate::nginx;
use crate::process::Running;
use crate::raw::Span;
use crate::seaweedfs::{self, SeaweedFs};
use crate::test_bed::TestBed;
use crate::workload::{DataSet, Subject};

/// A server that consists of one or more processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The tokio-uring server. First in order, since it opens the daemon's files before the daemon locks
    /// them.
    Baseline,
    /// The daemon with one shard.
    Hayloft,
    /// Another build of it.
    OtherBuild,
    /// The daemon with one shard and volumes preallocated with zeros.
    Zeroed,
    /// The daemon with two shards.
    TwoShards,
    /// nginx with files.
    Nginx,
    /// SeaweedFS, a master and a volume server.
    SeaweedFs,
    /// The daemon's HTTP with bodies from memory.
    Null,
}

impl Server {
    /// Name of the server and its directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Hayloft => "hayloft",
            Self::OtherBuild => "hayloft-other",
            Self::Zeroed => "hayloft-zeroed",
            Self::TwoShards => "hayloft-2",
            Self::Nginx => "nginx",
            Self::SeaweedFs => "seaweedfs",
            Self::Null => "null",
        }
    }

    /// Server of a subject, if it has one.
    pub fn of(subject: Subject) -> Option<Self> {
        match subject {
            // Raw reads use the daemon's file, and the daemon reports the range.
            Subject::Hayloft | Subject::Ring | Subject::Fio => Some(Self::Hayloft),
            Subject::OtherBuild => Some(Self::OtherBuild),
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

enum RunningServer {
    One(Running),
    SeaweedFs(SeaweedFs),
}

impl RunningServer {
    fn measured(&mut self) -> &mut Running {
        match self {
            Self::One(running) => running,
            Self::SeaweedFs(pair) => &mut pair.volume,
        }
    }
}

/// The servers over one data set.
pub struct Servers<'a> {
    bed: &'a TestBed,
    data: DataSet,
    /// Size of each volume of the daemon (bytes).
    volume_size: u64,
    up: BTreeMap<Server, RunningServer>,
}

/// Volume in the response of the daemon's `GET /volumes`.
#[derive(Deserialize)]
struct VolumeRow {
    id: u32,
    shard: Option<usize>,
}

impl<'a> Servers<'a> {
    /// Creates the set without running servers.
    pub fn new(bed: &'a TestBed, data: DataSet, volume_size: u64) -> Self {
        Self { bed, data, volume_size, up: BTreeMap::new() }
    }

    /// Data directory of a server.
    pub fn dir(&self, server: Server) -> PathBuf {
        self.bed.data_dir(self.data.name(), server.name())
    }

    /// Directory for fio's own file.
    pub fn scratch(&self) -> PathBuf {
        self.bed.data_dir(self.data.name(), "fio")
    }

    /// Mean length of an object (bytes).
    pub fn sizes(&self) -> u64 {
        self.data.sizes().1
    }

    fn port(&self, server: Server) -> u16 {
        self.bed.port
            + match server {
                Server::Hayloft => 0,
                Server::Nginx => 2,
                Server::SeaweedFs => 5,
                Server::Baseline => 7,
                Server::Null => 8,
                Server::TwoShards => 10,
                Server::Zeroed => 14,
                Server::OtherBuild => 16,
            }
    }

    /// Starts the given servers that do not run, and stops all others.
    ///
    /// # Errors
    /// When one does not start.
    pub fn set_running(&mut self, wanted: &[Server]) -> Result<(), Error> {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        // A server that ended is started again.
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

    fn start(&self, server: Server) -> Result<RunningServer, Error> {
        let (bed, port, dir) = (self.bed, self.port(server), self.dir(server));
        fs::create_dir_all(&dir).map_err(file("create", &dir))?;
        let baseline = |command: &str| -> Result<_, Error> {
            let mut words = bed.placement(server.name(), 1)?.command(&bed.programs.baseline);
            words.args([command, "--listen", &format!("127.0.0.1:{port}")]);
            Ok(words)
        };
        let log = bed.log(server.name());
        Ok(RunningServer::One(match server {
            Server::Hayloft | Server::OtherBuild | Server::Zeroed => self.daemon(server, 1)?,
            Server::TwoShards => self.daemon(server, 2)?,
            Server::Nginx => nginx::start(bed, &dir, port)?,
            Server::SeaweedFs => {
                let ports = [port - 2, port - 1, port, port + 1];
                return Ok(RunningServer::SeaweedFs(seaweedfs::start(bed, &dir, ports)?));
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

    /// Starts the daemon, and creates missing volumes of the data set.
    fn daemon(&self, server: Server, shards: usize) -> Result<Running, Error> {
        let (bed, port) = (self.bed, self.port(server));
        let placement = bed.placement(server.name(), shards)?;
        let program = match (server, &bed.programs.other_build) {
            (Server::OtherBuild, Some(other)) => other,
            _ => &bed.programs.hayloft,
        };
        let mut command = placement.command(program);
        command.args(["serve", "--cores", &placement.cores]).arg("--data").arg(self.dir(server));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--admin", &format!("127.0.0.1:{}", port + 1)]);
        match shards {
            1 => command.args(["--shard-ports", "off"]),
            _ => command.args(["--shard-ports", &(port + 2).to_string()]),
        };
        command.args(["--volume-size", &format!("{}MiB", self.volume_size >> 20)]);
        if server == Server::Zeroed {
            let config = bed.work.join("zeroed.toml");
            fs::write(&config, "prealloc = \"zeroed\"\n").map_err(file("write", &config))?;
            command.arg("--config").arg(&config);
        }
        let mut running = Running::start(server.name(), command, &bed.log(server.name()), port)?;
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

    /// Load generator target of a subject; `None` if it is not a server.
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
            | Subject::OtherBuild
            | Subject::Zeroed
            | Subject::AnyPort
            | Subject::Baseline
            | Subject::Null => {}
        }
        Some(target)
    }

    /// Load generator target for filling a server; for nginx, a directory.
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

    /// Counters of the daemon; `None` for other servers.
    ///
    /// # Errors
    /// When the daemon does not report them.
    pub fn figures(&self, server: Server) -> Result<Option<DaemonCounters>, Error> {
        match server {
            Server::Hayloft | Server::OtherBuild | Server::Zeroed | Server::TwoShards => {
                DaemonCounters::ask(&client(self.port(server) + 1)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Process to measure.
    ///
    /// # Errors
    /// When it has ended.
    pub fn running(&mut self, server: Server) -> Result<&Running, Error> {
        let up = self.up.get_mut(&server).expect("the server was started by set_running()");
        let running = up.measured();
        running.check()?;
        Ok(running)
    }

    /// Part of the daemon's volume file that holds needles.
    ///
    /// # Errors
    /// When there is no volume, or the daemon does not report its counters.
    pub fn span(&self) -> Result<Span, Error> {
        let missing = |what: &str| Error::Figure { from: "the daemon", what: what.to_owned() };
        let figures = self.figures(Server::Hayloft)?.unwrap_or_default();
        let block = figures.needle_len().ok_or_else(|| missing("needles"))?;
        let file =
            volume_file(&self.dir(Server::Hayloft))?.ok_or_else(|| missing("volume file"))?;
        Ok(Span { file, range: LOG_START..figures.tail as u64, block })
    }
}

/// Path of the file of volume 1.
fn volume_file(dir: &Path) -> Result<Option<PathBuf>, Error> {
    let entries = fs::read_dir(dir).map_err(file("read", dir))?;
    let names = entries.flatten().map(|entry| entry.path());
    Ok(names.into_iter().find(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("1.") && name.ends_with(".vol"))
    }))
}
