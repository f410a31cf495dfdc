//! `hayloft volume`: the admin API from the command line.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;

use super::output::{announce, deliver, error_text, fail, note};
use super::volume_id::volume_id;
use crate::base::size::{ByteSize, rounded};
use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, ClientError, Reply, ServerAddress};
use crate::http::head::Method;

/// Interval between polls of a volume that is being created.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

const VOLUME_EXAMPLES: &str = "\
Examples:
  hayloft volume list
  hayloft volume create --size 100GiB
      the next free number, on the disk with the most free space
  hayloft volume read-only 3
      photos in it can be read, but neither stored nor deleted, also after a restart

Exit codes: 0 done; 1 the daemon refused, or it is done but standard output could not be \
written; 2 the daemon could not be reached.";

/// Flags of `hayloft volume`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = VOLUME_EXAMPLES, arg_required_else_help = true)]
pub struct VolumeArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub action: Action,

    /// Admin API of the running daemon, HOST:PORT
    #[arg(long, global = true, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin: ServerAddress,
}

/// Subcommands of `hayloft volume`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// List all volumes
    List {
        /// Print the daemon's answer, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a volume: a preallocated file, in which photos can be stored at once
    Create {
        /// Number of the volume, 0 to 4294967295 [default: the next one that is free]
        #[arg(value_name = "N", value_parser = volume_id())]
        id: Option<VolumeId>,
        /// Size of the file, 16MiB to 1TiB in steps of 1MiB [default: the daemon's volume_size]
        #[arg(long, value_name = "SIZE")]
        size: Option<ByteSize>,
        /// Data directory, by its position in /status [default: the one with the most free space]
        #[arg(long, value_name = "N")]
        disk: Option<u32>,
        /// Do not wait until it is created
        #[arg(long)]
        no_wait: bool,
    },
    /// Show all fields of one volume
    Show {
        /// Number of the volume
        #[arg(value_name = "N", value_parser = volume_id())]
        id: VolumeId,
        /// Print the daemon's answer, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a volume and all photos in it, irrevocably
    Delete {
        /// Number of the volume
        #[arg(value_name = "N", value_parser = volume_id())]
        id: VolumeId,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Refuse new photos and deletions; kept across restarts
    ReadOnly {
        /// Number of the volume; repeatable
        #[arg(value_name = "N", required = true, value_parser = volume_id())]
        ids: Vec<VolumeId>,
    },
    /// Accept photos and deletions again
    Writable {
        /// Number of the volume; repeatable
        #[arg(value_name = "N", required = true, value_parser = volume_id())]
        ids: Vec<VolumeId>,
    },
}

/// A volume, as the admin API describes it. `size`, `used`, `live` and `dead` are in bytes.
#[derive(Clone, Debug, Deserialize)]
struct ListedVolume {
    id: VolumeId,
    shard: Option<u32>,
    disk: u32,
    state: String,
    progress: Option<f64>,
    error: Option<String>,
    size: u64,
    used: u64,
    live: u64,
    dead: u64,
    needles: u64,
    damage: u64,
}

impl VolumeArgs {
    pub(super) fn run(self) -> ExitCode {
        let client = Client::new(self.admin, "--admin");
        let result = match self.action {
            Action::List { json } => list(&client, json),
            Action::Create { id, size, disk, no_wait } => {
                let size = size.map(|size| size.to_string());
                let wanted = serde_json::json!({"id": id, "size": size, "disk": disk});
                create(&client, &wanted, no_wait)
            }
            Action::Show { id, json } => show(&client, id, json),
            Action::Delete { id, yes } => delete(&client, id, yes),
            Action::ReadOnly { ids } => set(&client, &ids, "read-only"),
            Action::Writable { ids } => set(&client, &ids, "writable"),
        };
        result.unwrap_or_else(|error| match error {
            ClientError::Refused { reason, .. } => {
                note(reason);
                ExitCode::FAILURE
            }
            error => fail(&error),
        })
    }
}

fn ask(client: &Client, method: Method, path: &str, body: &[u8]) -> Result<Reply, ClientError> {
    let body = if body.is_empty() { Body::None } else { Body::Bytes(body) };
    let reply = client.request(method, path, &[], body)?;
    // The admin API gives the reason of each refusal as JSON.
    let is_json = reply.header("Content-Type").is_some_and(|kind| kind == "application/json");
    if reply.status >= 400 && !is_json {
        return Err(reply.garbled(&"it is not from an admin API: name one with --admin"));
    }
    reply.expect(&[200, 201, 202, 204])
}

fn get(client: &Client, path: &str) -> Result<Reply, ClientError> {
    ask(client, Method::Get, path, &[])
}

fn pretty(info: &Value) -> ExitCode {
    let text = serde_json::to_string_pretty(info).expect("a parsed JSON value always serializes");
    deliver((text + "\n").as_bytes())
}

fn list(client: &Client, json: bool) -> Result<ExitCode, ClientError> {
    let reply = get(client, "/volumes")?;
    if json {
        return Ok(pretty(&reply.json()?));
    }
    let volumes: Vec<ListedVolume> = reply.json()?;
    Ok(deliver(table(&volumes).as_bytes()))
}

/// Formats volumes as a table. Columns are as wide as their longest cell; all but the state are aligned to
/// the right.
fn table(volumes: &[ListedVolume]) -> String {
    let head =
        ["ID", "STATE", "SHARD", "DISK", "SIZE", "USED", "LIVE", "DEAD", "NEEDLES", "DAMAGE"];
    let rows = volumes.iter().map(|v| {
        let state = match v.progress.filter(|_| v.error.is_none()) {
            Some(progress) => format!("{} {:.0}%", v.state, progress * 100.0),
            None => v.state.clone(),
        };
        let shard = v.shard.map_or_else(|| "-".to_owned(), |shard| shard.to_string());
        let bytes = [v.size, v.used, v.live, v.dead].map(rounded);
        let [size, used, live, dead] = bytes;
        let (needles, damage) = (v.needles.to_string(), v.damage.to_string());
        let (id, disk) = (v.id.to_string(), v.disk.to_string());
        [id, state, shard, disk, size, used, live, dead, needles, damage]
    });
    let rows: Vec<[String; 10]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let widths: Vec<usize> =
        (0..head.len()).map(|n| rows.iter().map(|row| row[n].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if n > 0 { "  " } else { "" };
            text += &if head[n] == "STATE" {
                format!("{gap}{cell:<width$}")
            } else {
                format!("{gap}{cell:>width$}")
            };
        }
        text.push('\n');
    }
    text
}

fn show(client: &Client, id: VolumeId, json: bool) -> Result<ExitCode, ClientError> {
    let info: Value = get(client, &format!("/volumes/{id}"))?.json()?;
    if json {
        return Ok(pretty(&info));
    }
    let mut text = String::new();
    for (key, value) in info.as_object().into_iter().flatten() {
        let shown = match value {
            Value::String(value) => value.clone(),
            value => value.to_string(),
        };
        let in_bytes = ["size", "used", "live", "dead", "index_bytes"].contains(&&key[..]);
        let people = value.as_u64().filter(|_| in_bytes).map(rounded);
        let people = people.map(|people| format!(" ({people})")).unwrap_or_default();
        text += &format!("{key:<12} {shown}{people}\n");
    }
    Ok(deliver(text.as_bytes()))
}

fn create(client: &Client, wanted: &Value, no_wait: bool) -> Result<ExitCode, ClientError> {
    let wanted: serde_json::Map<String, Value> =
        wanted.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()).map(own).collect();
    let body = Value::Object(wanted).to_string();
    let mut info: ListedVolume = ask(client, Method::Post, "/volumes", body.as_bytes())?.json()?;
    let is_terminal = io::stderr().is_terminal();
    while info.state == "creating" && !no_wait {
        if is_terminal {
            let percent = info.progress.unwrap_or(0.0) * 100.0;
            error_text(&format!("\rvolume {}: {percent:.0}% ", info.id));
        }
        std::thread::sleep(POLL_INTERVAL);
        info = get(client, &format!("/volumes/{}", info.id))?.json()?;
    }
    if is_terminal {
        error_text("\r\x1b[K");
    }
    if let Some(error) = &info.error {
        note(error);
        return Ok(ExitCode::FAILURE);
    }
    let size = rounded(info.size);
    Ok(done(&format!("volume {}: {}, {size}", info.id, info.state)))
}

/// Prints a line about what was done. Exit code 1 if standard output cannot be written.
fn done(line: &str) -> ExitCode {
    if announce(line) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn own((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

fn delete(client: &Client, id: VolumeId, yes: bool) -> Result<ExitCode, ClientError> {
    let path = format!("/volumes/{id}");
    let info: ListedVolume = get(client, &path)?.json()?;
    if !yes && !confirmed(&info) {
        return Ok(ExitCode::FAILURE);
    }
    ask(client, Method::Delete, &path, &[])?;
    Ok(done(&format!("volume {id}: deleted")))
}

/// Asks the user to confirm a deletion. Returns false if standard input is no terminal.
fn confirmed(info: &ListedVolume) -> bool {
    let what = format!("volume {} holds {} photos ({})", info.id, info.needles, rounded(info.live));
    if !io::stdin().is_terminal() {
        note(format_args!("{what}; to delete them all for good, add --yes"));
        return false;
    }
    // If the question cannot be shown, the answer will not match either.
    error_text(&format!("{what}. To delete them all for good, type the volume's number again: "));
    let mut line = String::new();
    let answered = io::stdin().read_line(&mut line).is_ok() && line.trim() == info.id.to_string();
    if !answered {
        note("nothing was deleted");
    }
    answered
}

fn set(client: &Client, ids: &[VolumeId], what: &str) -> Result<ExitCode, ClientError> {
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        match ask(client, Method::Post, &format!("/volumes/{id}/{what}"), &[]) {
            Ok(reply) => {
                let info: ListedVolume = reply.json()?;
                if !announce(&format!("volume {id}: {}", info.state)) {
                    code = ExitCode::FAILURE;
                }
            }
            // The other volumes are still changed.
            Err(ClientError::Refused { reason, .. }) => {
                note(reason);
                code = ExitCode::FAILURE;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_volume_table_are_aligned() {
        let volume = ListedVolume {
            id: VolumeId(1),
            shard: Some(0),
            disk: 0,
            state: "writable".into(),
            progress: None,
            error: None,
            size: 1 << 30,
            used: 69_632,
            live: 0,
            dead: 0,
            needles: 12,
            damage: 0,
        };
        let making = ListedVolume {
            id: VolumeId(12),
            shard: None,
            state: "creating".into(),
            progress: Some(0.5),
            ..volume.clone()
        };
        let text = table(&[volume, making]);
        let expected = "\
ID  STATE         SHARD  DISK     SIZE      USED  LIVE  DEAD  NEEDLES  DAMAGE
 1  writable          0     0  1.0 GiB  68.0 KiB   0 B   0 B       12       0
12  creating 50%      -     0  1.0 GiB  68.0 KiB   0 B   0 B       12       0
";
        assert_eq!(text, expected);
    }
}
