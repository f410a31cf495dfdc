//! Starts the daemon on the state that a trial left, and compares it with the history of writes.

use std::path::Path;
use std::process::Command;

use hayloft::commands::client::Body;
use hayloft::http::head::Method;

use crate::compaction::after::compact_again;
use crate::compaction::files::left_by_a_cut;
use crate::daemon::{Daemon, Setup};
use crate::error::{Error, file};
use crate::findings::Findings;
use crate::history::{History, Moment, Observed, Verdict, content};
use crate::http::{ask, client};
use crate::load::path;
use crate::read::{observed, read_all};

/// A key that no load uses.
const SPARE_KEY: u64 = 9_000_000;

/// Verifies the disk that is mounted at `root`, in the state after a cut at `cut`. The daemon logs to `log`.
pub fn verify(
    setup: &Setup,
    root: &Path,
    log: &Path,
    history: &History,
    cut: Moment,
) -> Result<Findings, Error> {
    let files = left_by_a_cut(setup, root).map_err(file("list the files in", root))?;
    let mut findings = Findings { files, ..Findings::default() };
    // Before its first volume is acknowledged, a daemon may leave any state that it can start from.
    let has_begun = history.volumes.iter().any(|(_, moment)| *moment <= cut);
    if has_begun {
        check_offline(setup, root, "before a start", &mut findings)?;
    }
    let daemon = match Daemon::start(setup, root, log) {
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
    if let Err(error) = check_online((setup, root), &daemon, history, cut, &mut findings) {
        findings.trouble.push(format!("the connection failed ({error}):\n{}", daemon.log_tail()));
    }
    match daemon.stop() {
        Some(status) if status.success() => {}
        status => findings.trouble.push(format!("the daemon did not stop cleanly: {status:?}")),
    }
    check_offline(setup, root, "after a stop", &mut findings)?;
    Ok(findings)
}

/// Runs `hayloft check`, which must find nothing.
fn check_offline(
    setup: &Setup,
    root: &Path,
    when: &str,
    findings: &mut Findings,
) -> Result<(), Error> {
    let mut check = Command::new(&setup.program);
    check.arg("check");
    for data in setup.data_dirs(root) {
        check.arg("--data").arg(data);
    }
    let output = check.output().map_err(file("run", &setup.program))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        findings.trouble.push(format!("hayloft check {when}: {}\n{text}", output.status));
    }
    Ok(())
}

/// Compares what the daemon has with the history, and uses its volumes.
fn check_online(
    (setup, root): (&Setup, &Path),
    daemon: &Daemon,
    history: &History,
    cut: Moment,
    findings: &mut Findings,
) -> std::io::Result<()> {
    let found = read_all(daemon, history)?;
    for (group, observed) in history.groups.iter().zip(&found) {
        match group.judge(cut, observed) {
            Verdict::Right => {}
            Verdict::Lost(text) => findings.lost.push(text),
            Verdict::Wrong(text) => findings.wrong.push(text),
        }
    }
    if setup.compacts {
        compact_again((setup, root), daemon, history, cut, findings)?;
        let again = read_all(daemon, history)?;
        let changed = history.groups.iter().zip(found.iter().zip(&again));
        let changed = changed.filter(|(_, (before, after))| before != after);
        let text = changed.map(|(group, _)| format!("{}: changed by a compaction", group.paths[0]));
        findings.wrong.extend(text);
    }
    write_and_delete(daemon, history, cut, findings)
}

/// Checks that each volume accepts, returns and deletes an object, or is full as in the history.
fn write_and_delete(
    daemon: &Daemon,
    history: &History,
    cut: Moment,
    findings: &mut Findings,
) -> std::io::Result<()> {
    let client = client(daemon.data);
    for &(volume, _) in history.volumes.iter().filter(|(_, moment)| *moment <= cut) {
        let (path, bytes) = (path(volume, SPARE_KEY), content(u64::from(volume), 0));
        let mut statuses = Vec::new();
        statuses.push(ask(&client, Method::Put, &path, Body::Bytes(&bytes))?.status);
        let shows = observed(&client, &path)? == Observed::Bytes(bytes);
        statuses.push(ask(&client, Method::Delete, &path, Body::None)?.status);
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
