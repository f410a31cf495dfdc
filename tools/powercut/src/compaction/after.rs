//! What must hold after a cut during a compaction.

use std::io::Result;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use hayloft::commands::client::Body;
use hayloft::http::head::Method;

use super::files::superfluous;
use super::volume_state::VolumeState;
use crate::daemon::{Daemon, Setup};
use crate::findings::Findings;
use crate::history::{History, Moment};
use crate::http::{ask, client};

/// Timeout of the compaction after a cut.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Checks that each volume has one file, of a generation that was not undone, and that a compaction succeeds.
pub fn compact_again(
    (setup, root): (&Setup, &Path),
    daemon: &Daemon,
    history: &History,
    cut: Moment,
    findings: &mut Findings,
) -> Result<()> {
    findings.trouble.extend(superfluous(setup, root)?);
    for &(volume, _) in history.volumes.iter().filter(|(_, moment)| *moment <= cut) {
        let before = VolumeState::get(daemon.admin, volume)?;
        let completed = history.generations.iter();
        let completed = completed.filter(|it| it.volume == volume && it.acknowledged <= cut);
        let least = completed.map(|it| it.generation).max().unwrap_or(0);
        if before.generation < least {
            let text = format!(
                "volume {volume}: generation {} serves, but the compaction to {least} had ended",
                before.generation
            );
            findings.trouble.push(text);
        }
        if !matches!(before.write_state.as_str(), "writable" | "full") {
            findings.trouble.push(format!("volume {volume} is {}", before.write_state));
        }
        if let Err(why) = compact(daemon.admin, volume, &before)? {
            let log = daemon.log_tail();
            findings.trouble.push(format!("volume {volume} cannot be compacted: {why}\n{log}"));
        }
    }
    findings.trouble.extend(superfluous(setup, root)?);
    Ok(())
}

/// Compacts a volume; returns why that did not succeed.
fn compact(
    admin: SocketAddr,
    volume: u32,
    before: &VolumeState,
) -> Result<std::result::Result<(), String>> {
    let path = format!("/volumes/{volume}/compact");
    let reply = ask(&client(admin), Method::Post, &path, Body::Bytes(b"{}"))?;
    if reply.status != 202 {
        return Ok(Err(format!("{} {}", reply.status, reply.text().trim())));
    }
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let state = VolumeState::get(admin, volume)?;
        if state.compactions > before.compactions {
            let is_done = state.last.as_ref().is_some_and(|last| last.outcome == "done")
                && state.generation == before.generation + 1;
            return Ok(if is_done { Ok(()) } else { Err(format!("{state:?}")) });
        }
        if Instant::now() > deadline {
            return Ok(Err(format!("it takes longer than {TIMEOUT:?}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
