//! Starts the daemon on what a trial left and holds it against what was written.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::daemon::{Daemon, Setup};
use crate::error::{Error, file};
use crate::history::{Moment, Shown, Subject, Verdict, content};
use crate::http::Client;
use crate::load::path;

/// Everything that was written in a trial.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub subjects: Vec<Subject>,
    /// Volumes that were made while the daemon ran, and when that was acknowledged.
    pub volumes: Vec<(u32, Moment)>,
    /// Volumes that were written full.
    pub full: BTreeSet<u32>,
}

/// What a look at one state gave.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Acknowledged writes that had to be reflected.
    pub checked: u64,
    pub lost: Vec<String>,
    pub wrong: Vec<String>,
    /// Anything else that must not be.
    pub trouble: Vec<String>,
}

impl Findings {
    /// Whether all is as it must be.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.wrong.is_empty() && self.trouble.is_empty()
    }

    pub fn lines(&self) -> impl Iterator<Item = String> {
        let kinds = [("lost", &self.lost), ("wrong", &self.wrong), ("trouble", &self.trouble)];
        kinds
            .into_iter()
            .flat_map(|(kind, texts)| texts.iter().map(move |text| format!("{kind}: {text}")))
    }
}

/// A key that no load uses.
const SPARE_KEY: u64 = 9_000_000;

/// Looks at the data directory as the cut at `cut` left it. `log` is for what the daemon says.
pub fn verify(
    setup: &Setup,
    data: &Path,
    log: &Path,
    history: &History,
    cut: Moment,
) -> Result<Findings, Error> {
    let mut findings = Findings::default();
    // Before its first volume was acknowledged a daemon may have left anything that it starts from.
    let has_begun = history.volumes.iter().any(|(_, moment)| *moment <= cut);
    if has_begun {
        sound(setup, data, "before a start", &mut findings)?;
    }
    let daemon = match Daemon::start(setup, data, log) {
        Ok(daemon) => daemon,
        Err(Error::Start(why)) => {
            findings.trouble.push(format!("no start: {why}"));
            let subjects = history.subjects.iter();
            let lost = subjects.filter(|subject| subject.acknowledged(cut) > 0);
            findings.lost.extend(lost.map(|subject| format!("{}: no daemon", subject.paths[0])));
            return Ok(findings);
        }
        Err(error) => return Err(error),
    };
    for subject in &history.subjects {
        findings.checked += subject.acknowledged(cut) as u64;
    }
    let read = look(&daemon, history, cut, &mut findings);
    let read = read.and_then(|()| write_again(&daemon, history, cut, &mut findings));
    if let Err(error) = read {
        findings.trouble.push(format!("the daemon hung up ({error}):\n{}", daemon.log_tail()));
    }
    match daemon.stop() {
        Some(status) if status.success() => {}
        status => findings.trouble.push(format!("it did not stop well: {status:?}")),
    }
    sound(setup, data, "after a stop", &mut findings)?;
    Ok(findings)
}

/// `hayloft check` must find nothing.
fn sound(setup: &Setup, data: &Path, when: &str, findings: &mut Findings) -> Result<(), Error> {
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

/// What a photo is now.
pub fn shown(client: &mut Client, path: &str) -> std::io::Result<Shown> {
    let reply = client.request("GET", path, None)?;
    Ok(match reply.status {
        200 => Shown::Bytes(reply.body),
        404 => Shown::Absent,
        status => Shown::Failed(format!("{status} {}", reply.text())),
    })
}

fn look(
    daemon: &Daemon,
    history: &History,
    cut: Moment,
    findings: &mut Findings,
) -> std::io::Result<()> {
    let mut client = Client::connect(daemon.data)?;
    for subject in &history.subjects {
        let mut found = Vec::new();
        for path in &subject.paths {
            found.push(shown(&mut client, path)?);
        }
        match subject.judge(cut, &found) {
            Verdict::Right => {}
            Verdict::Lost(text) => findings.lost.push(text),
            Verdict::Wrong(text) => findings.wrong.push(text),
        }
    }
    Ok(())
}

/// Each volume takes a photo, shows it and lets go of it, or is as full as it was.
fn write_again(
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
        let shows = shown(&mut client, &path)? == Shown::Bytes(bytes);
        statuses.push(client.request("DELETE", &path, None)?.status);
        let is_full = statuses == [507, 404] && history.full.contains(&volume);
        if !is_full && (statuses != [201, 204] || !shows) {
            let text = format!("volume {volume} cannot be written: {statuses:?}, shown {shows}");
            findings.trouble.push(text);
        }
    }
    Ok(())
}
