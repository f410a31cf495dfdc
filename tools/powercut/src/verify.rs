//! Starts the daemon on the state that a trial left, and compares it with the history of writes.

use std::path::Path;
use std::process::Command;

use crate::daemon::{Daemon, Setup};
use crate::error::{Error, file};
use crate::findings::Findings;
use crate::history::{History, Moment, Observed, Verdict, content};
use crate::http::Client;
use crate::load::path;

/// A key that no load uses.
const SPARE_KEY: u64 = 9_000_000;

/// Verifies the data directory in the state after a cut at `cut`. The daemon logs to `log`.
pub fn verify(
    setup: &Setup,
    data: &Path,
    log: &Path,
    history: &History,
    cut: Moment,
) -> Result<Findings, Error> {
    let mut findings = Findings::default();
    // Before its first volume is acknowledged, a daemon may leave any state that it can start from.
    let has_begun = history.volumes.iter().any(|(_, moment)| *moment <= cut);
    if has_begun {
        check_offline(setup, data, "before a start", &mut findings)?;
    }
    let daemon = match Daemon::start(setup, data, log) {
        Ok(daemon) => daemon,
        Err(Error::Start(why)) => {
            findings.trouble.push(format!("the daemon does not start: {why}"));
            let groups = history.groups.iter();
            let lost = groups.filter(|group| group.acknowledged(cut) > 0);
            findings
                .lost
                .extend(lost.map(|group| format!("{}: the daemon does not start", group.paths[0])));
            return Ok(findings);
        }
        Err(error) => return Err(error),
    };
    for group in &history.groups {
        findings.checked += group.acknowledged(cut) as u64;
    }
    let read = read_all(&daemon, history, cut, &mut findings);
    let read = read.and_then(|()| write_and_delete(&daemon, history, cut, &mut findings));
    if let Err(error) = read {
        findings.trouble.push(format!("the connection failed ({error}):\n{}", daemon.log_tail()));
    }
    match daemon.stop() {
        Some(status) if status.success() => {}
        status => findings.trouble.push(format!("the daemon did not stop cleanly: {status:?}")),
    }
    check_offline(setup, data, "after a stop", &mut findings)?;
    Ok(findings)
}

/// Runs `hayloft check`, which must find nothing.
fn check_offline(
    setup: &Setup,
    data: &Path,
    when: &str,
    findings: &mut Findings,
) -> Result<(), Error> {
    let mut check = Command::new(&setup.program);
    let output = check.arg("check").arg("--data").arg(data).output();
    let output = output.map_err(file("run", &setup.program))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        findings.trouble.push(format!("hayloft check {when}: {}\n{text}", output.status));
    }
    Ok(())
}

/// Reads an object.
pub fn observed(client: &mut Client, path: &str) -> std::io::Result<Observed> {
    let reply = client.request("GET", path, None)?;
    Ok(match reply.status {
        200 => Observed::Bytes(reply.body),
        404 => Observed::Absent,
        status => Observed::Failed(format!("{status} {}", reply.text())),
    })
}

fn read_all(
    daemon: &Daemon,
    history: &History,
    cut: Moment,
    findings: &mut Findings,
) -> std::io::Result<()> {
    let mut client = Client::connect(daemon.data)?;
    for group in &history.groups {
        let mut found = Vec::new();
        for path in &group.paths {
            found.push(observed(&mut client, path)?);
        }
        match group.judge(cut, &found) {
            Verdict::Right => {}
            Verdict::Lost(text) => findings.lost.push(text),
            Verdict::Wrong(text) => findings.wrong.push(text),
        }
    }
    Ok(())
}

/// Checks that each volume accepts, returns and deletes an object, or is full as in the history.
fn write_and_delete(
    daemon: &Daemon,
    history: &History,
    cut: Moment,
    findings: &mut Findings,
) -> std::io::Result<()> {
    let mut client = Client::connect(daemon.data)?;
    for &(volume, _) in history.volumes.iter().filter(|(_, moment)| *moment <= cut) {
        let (path, bytes) = (path(volume, SPARE_KEY), content(u64::from(volume), 0));
        let mut statuses = Vec::new();
        statuses.push(client.request("PUT", &path, Some(&bytes))?.status);
        let shows = observed(&mut client, &path)? == Observed::Bytes(bytes);
        statuses.push(client.request("DELETE", &path, None)?.status);
        let is_full = statuses == [507, 404] && history.full.contains(&volume);
        if !is_full && (statuses != [201, 204] || !shows) {
            let text = format!(
                "cannot write to volume {volume}: PUT and DELETE answered {statuses:?}, read back: {shows}"
            );
            findings.trouble.push(text);
        }
    }
    Ok(())
}
