//! SeaweedFS: a master, and the volume server under measurement, with one volume.

use std::path::Path;

use hayloft::commands::client::{Body, Client};
use hayloft::http::head::Method;

use crate::client::client;
use crate::error::{Error, file};
use crate::process::Running;
use crate::test_bed::TestBed;

/// A running master and volume server.
pub struct SeaweedFs {
    /// The volume server.
    pub volume: Running,
    _master: Running,
}

/// Starts both with data in `dir`; the volume server listens on `ports[2]`. Creates volume 1 if there is
/// none.
///
/// # Errors
/// When they do not start, or the volume cannot be created.
pub fn start(bed: &TestBed, dir: &Path, ports: [u16; 4]) -> Result<SeaweedFs, Error> {
    let [master_port, master_grpc, volume_port, volume_grpc] = ports;
    let (meta, data) = (dir.join("meta"), dir.join("data"));
    for dir in [&meta, &data] {
        std::fs::create_dir_all(dir).map_err(file("create", dir))?;
    }
    let placement = bed.placement("seaweedfs", 1)?;
    let mut command = placement.command(&bed.programs.weed);
    command.args(["master", "-ip=127.0.0.1", "-peers=none", "-telemetry=false"]);
    command.args([format!("-port={master_port}"), format!("-port.grpc={master_grpc}")]);
    command.arg(format!("-mdir={}", meta.display()));
    let log = bed.log("seaweedfs-master");
    let mut master = Running::start("the master of SeaweedFS", command, &log, master_port)?;

    let mut command = placement.command(&bed.programs.weed);
    command.args(["volume", "-ip=127.0.0.1", "-max=8", "-preStopSeconds=0"]);
    command.args([format!("-port={volume_port}"), format!("-port.grpc={volume_grpc}")]);
    command.arg(format!("-master=127.0.0.1:{master_port}.{master_grpc}"));
    command.arg(format!("-dir={}", data.display()));
    let log = bed.log("seaweedfs-volume");
    let volume = Running::start("the volume server of SeaweedFS", command, &log, volume_port)?;

    let volume_file = data.join("1.dat");
    if !volume_file.exists() {
        let admin = client(master_port);
        // The volume server registers with the master some time after its start.
        master.wait_for(|| grow(&admin) && volume_file.exists())?;
    }
    let served = client(volume_port);
    master.wait_for(|| {
        let asked = served.request(Method::Get, "/status", &[], Body::None);
        let text = asked.and_then(|mut reply| reply.text()).unwrap_or_default();
        text.contains("\"Volumes\":[{")
    })?;
    Ok(SeaweedFs { volume, _master: master })
}

/// Requests a volume from the master; returns whether it succeeded.
fn grow(master: &Client) -> bool {
    let asked = master.request(Method::Get, "/vol/grow?count=1&replication=000", &[], Body::None);
    asked.is_ok_and(|reply| reply.expect(&[200, 201]).is_ok())
}
