//! A recording: the daemon under load, on XFS, on a device that logs every request.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use faultdisk::RequestLog;
use hayloft::commands::client::Body;
use hayloft::http::head::Method;

use crate::daemon::Setup;
use crate::error::Error;
use crate::history::{History, Moment, Version, WriteGroup, content};
use crate::http::{ask, client};
use crate::load::{Clock, Load, LoadResult, path};
use crate::test_bed::{LATE_VOLUME, TestBed, make_volume};

/// Objects written to [`LATE_VOLUME`].
const LATE_PHOTOS: u64 = 20;

/// A finished recording, from which crash states can be made.
pub struct Recording {
    pub base: PathBuf,
    pub log: RequestLog,
    pub history: History,
    /// Beginning of the load.
    pub from: Moment,
    /// End of the part in which all acknowledgements are known; later entries are not used.
    pub to: Moment,
    pub acknowledged: u64,
}

impl Recording {
    /// Runs the load for `seconds` in an empty directory.
    pub fn make(setup: &Setup, dir: &Path, seconds: f64, seed: u64) -> Result<Self, Error> {
        let mut bed = TestBed::set_up(setup, dir)?;
        let (clock, from) = (bed.clock(), bed.disk.device().done());
        let load = Load::start(bed.daemon.data, setup, seed, Arc::clone(&clock));
        std::thread::sleep(Duration::from_secs_f64(seconds / 2.0));
        let late = late_volume(&mut bed, &clock)?;
        std::thread::sleep(Duration::from_secs_f64(seconds / 2.0));
        let to = bed.disk.device().done();
        let LoadResult { groups, acknowledged, trouble, failed, full } = load.finish();
        if !trouble.is_empty() || !failed.is_empty() {
            return Err(Error::Idle(format!("{failed:?} {trouble:?}")));
        }
        let TestBed { daemon, mount, disk, base, log, mut history } = bed;
        drop(daemon);
        drop(mount.unmount()?);
        drop(disk);
        let log = RequestLog::open(&log)?;
        if acknowledged < 100 {
            return Err(Error::Idle(format!("{acknowledged} writes")));
        }
        (history.groups, history.full) = (groups, full);
        history.groups.extend(late);
        Ok(Self { base, log, history, from, to, acknowledged })
    }
}

/// Creates a volume under load and writes to it.
fn late_volume(bed: &mut TestBed, clock: &Clock) -> Result<Vec<WriteGroup>, Error> {
    make_volume(&bed.daemon, LATE_VOLUME.0, LATE_VOLUME.1)?;
    bed.history.volumes.push((LATE_VOLUME.0, clock()));
    let mut groups = Vec::new();
    let failed =
        |why: String| Error::Idle(format!("cannot write to the volume created under load: {why}"));
    let client = client(bed.daemon.data);
    for key in 0..LATE_PHOTOS {
        let (path, sent) = (path(LATE_VOLUME.0, key), clock());
        let reply = ask(&client, Method::Put, &path, Body::Bytes(&content(key, 0)));
        let reply = reply.map_err(|error| failed(error.to_string()))?;
        if reply.status != 201 {
            return Err(failed(format!("{} {}", reply.status, reply.text().trim())));
        }
        let versions = vec![Version { seed: Some(key), sent, acknowledged: Some(clock()) }];
        groups.push(WriteGroup { paths: vec![path], versions });
    }
    Ok(groups)
}
