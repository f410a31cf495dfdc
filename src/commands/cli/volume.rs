//! `hayloft volume`: the admin API from the command line.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::admin::{ask, done, exit_code, get};
use super::compact::{self, Wanted};
use super::diff::DiffArgs;
use super::listed_link::ListedStatus;
use super::listed_volume::{ListedCluster, ListedVolume};
use super::output::{announce, deliver, deliver_json, error_text, note};
use super::pull::{PullArgs, pull};
use super::scrub;
use super::volume_id::volume_id;
use crate::base::size::{ByteSize, rounded};
use crate::base::types::VolumeId;
use crate::commands::client::{Client, ClientError, ServerAddress};
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
  hayloft volume compact 3 --wait
      the space of its deleted and replaced photos comes back, while it serves
  hayloft volume move 3 --disk 1 --wait
      to the second data directory, while it serves
  hayloft volume scrub 3 --wait
      every photo in it is read and verified, while it serves
  hayloft volume pull --from 10.0.0.7:8081 --volume 3
      a copy of the volume of another daemon, or what has changed there since
  hayloft volume diff --volume 3 --with http://store2:8081
      what differs between two copies of it

Exit codes: 0 done; 1 the daemon refused, a compaction that was waited for failed or was \
cancelled, a scrub that was waited for ended with damage known, two copies differ, or it is done \
but standard output could not be written; 2 the daemon could not be reached, or two copies could \
not be compared.";

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
    /// Get the space of deleted and replaced photos back: copy the others into a new file
    Compact {
        /// Number of the volume
        #[arg(value_name = "N", value_parser = volume_id())]
        id: VolumeId,
        /// Size of the new file, 16MiB to 1TiB in steps of 1MiB [default: as the old one]
        #[arg(long, value_name = "SIZE")]
        size: Option<ByteSize>,
        /// Go on when data cannot be read, and leave it behind
        #[arg(long)]
        accept_losses: bool,
        /// Show the progress, and wait for the end
        #[arg(long)]
        wait: bool,
        /// Cancel a compaction that waits or runs; the volume stays as it is
        #[arg(long, conflicts_with_all = ["size", "accept_losses", "wait"])]
        cancel: bool,
    },
    /// Move a volume to another disk of the daemon, by compacting it there
    Move {
        /// Number of the volume
        #[arg(value_name = "N", value_parser = volume_id())]
        id: VolumeId,
        /// Data directory to move it to, by its position in /status
        #[arg(long, value_name = "N")]
        disk: u32,
        /// Size of the new file, 16MiB to 1TiB in steps of 1MiB [default: as the old one]
        #[arg(long, value_name = "SIZE")]
        size: Option<ByteSize>,
        /// Go on when data cannot be read, and leave it behind
        #[arg(long)]
        accept_losses: bool,
        /// Show the progress, and wait for the end
        #[arg(long)]
        wait: bool,
    },
    /// Read and verify everything in a volume now, while it serves
    Scrub {
        /// Number of the volume
        #[arg(value_name = "N", value_parser = volume_id())]
        id: VolumeId,
        /// Show the progress, and wait for the end
        #[arg(long)]
        wait: bool,
    },
    /// List the places of a volume that scrubs have found damaged
    Damage {
        /// Number of the volume
        #[arg(value_name = "N", value_parser = volume_id())]
        id: VolumeId,
        /// Print the daemon's answer, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare a volume with a copy of it in another store, while both serve
    Diff(DiffArgs),
    /// End the suspicion of a volume that takes no writes because reads of its disk failed
    Clear {
        /// Number of the volume; repeatable
        #[arg(value_name = "N", required = true, value_parser = volume_id())]
        ids: Vec<VolumeId>,
    },
    /// Make a volume a copy of one of another daemon, or bring such a copy up to date
    Pull(PullArgs),
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

impl VolumeArgs {
    pub(super) fn run(self) -> ExitCode {
        let client = Client::new(self.admin.clone(), "--admin");
        let result = match self.action {
            Action::Pull(args) => return pull(self.admin, args),
            Action::List { json } => list(&client, json),
            Action::Create { id, size, disk, no_wait } => {
                let size = size.map(|size| size.to_string());
                let wanted = serde_json::json!({"id": id, "size": size, "disk": disk});
                create(&client, &wanted, no_wait)
            }
            Action::Show { id, json } => show(&client, id, json),
            Action::Delete { id, yes } => delete(&client, id, yes),
            Action::Compact { id, cancel: true, .. } => compact::cancel(&client, id),
            Action::Compact { id, size, accept_losses, wait, cancel: false } => {
                compact::compact(&client, id, Wanted { size, accept_losses, disk: None }, wait)
            }
            Action::Move { id, disk, size, accept_losses, wait } => {
                let wanted = Wanted { size, accept_losses, disk: Some(disk) };
                compact::compact(&client, id, wanted, wait)
            }
            Action::Scrub { id, wait } => scrub::scrub(&client, id, wait),
            Action::Damage { id, json } => scrub::damage(&client, id, json),
            Action::Diff(args) => Ok(args.run(self.admin)),
            Action::Clear { ids } => set(&client, &ids, "clear"),
            Action::ReadOnly { ids } => set(&client, &ids, "read-only"),
            Action::Writable { ids } => set(&client, &ids, "writable"),
        };
        exit_code(result)
    }
}

fn list(client: &Client, json: bool) -> Result<ExitCode, ClientError> {
    if json {
        return Ok(deliver_json(&get(client, "/volumes")?.json()?));
    }
    let ListedStatus { volumes, cluster } = get(client, "/status")?.json()?;
    let link = cluster.map(|link| link.line()).unwrap_or_default();
    Ok(deliver((table(&volumes) + &compact::report(&volumes) + &link).as_bytes()))
}

/// Formats volumes as a table. Columns are as wide as their longest cell; all but those of words are aligned
/// to the right. What clusters say has columns only if a volume belongs to one.
fn table(volumes: &[ListedVolume]) -> String {
    let mut head = vec![
        "ID",
        "STATE",
        "SHARD",
        "DISK",
        "SIZE",
        "USED",
        "LIVE",
        "DEAD",
        "NEEDLES",
        "DAMAGE",
        "RECLAIMABLE",
    ];
    let has_clusters = volumes.iter().any(|v| v.cluster.is_some());
    if has_clusters {
        head.extend(["PLACEMENT", "TTL", "COLLECTION"]);
    }
    let rows = volumes.iter().map(|v| {
        let shown = v.shown_state();
        let state = match (v.progress.filter(|_| v.error.is_none()), &v.compaction) {
            (Some(progress), _) => format!("{shown} {:.0}%", progress * 100.0),
            (None, Some(compaction)) => format!("{shown}, {}", compaction.progress()),
            (None, None) => shown.to_owned(),
        };
        let shard = v.shard.map_or_else(|| "-".to_owned(), |shard| shard.to_string());
        let bytes = [v.size, v.used, v.live, v.dead, v.reclaimable].map(rounded);
        let [size, used, live, dead, reclaimable] = bytes;
        let (needles, damage) = (v.needles.to_string(), v.damage.to_string());
        let (id, disk) = (v.id.to_string(), v.disk.to_string());
        let mut row =
            vec![id, state, shard, disk, size, used, live, dead, needles, damage, reclaimable];
        if has_clusters {
            row.extend(cluster_cells(v.cluster.as_ref()));
        }
        row
    });
    let names = head.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(names).chain(rows).collect();
    let widths: Vec<usize> =
        (0..head.len()).map(|n| rows.iter().map(|row| row[n].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if n > 0 { "  " } else { "" };
            text += &match head[n] {
                "STATE" => format!("{gap}{cell:<width$}"),
                "COLLECTION" => format!("{gap}{cell}"),
                _ => format!("{gap}{cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

/// Returns what its cluster says about a volume: placement, time to live and collection.
fn cluster_cells(cluster: Option<&ListedCluster>) -> [String; 3] {
    let none = || "-".to_owned();
    let Some(ListedCluster { collection, placement, ttl }) = cluster else {
        return [none(), none(), none()];
    };
    let collection = if collection.is_empty() { "default".to_owned() } else { collection.clone() };
    [placement.clone(), ttl.clone().unwrap_or_else(none), collection]
}

fn show(client: &Client, id: VolumeId, json: bool) -> Result<ExitCode, ClientError> {
    let info: Value = get(client, &format!("/volumes/{id}"))?.json()?;
    if json {
        return Ok(deliver_json(&info));
    }
    let mut text = String::new();
    for (key, value) in info.as_object().into_iter().flatten() {
        let shown = match value {
            Value::String(value) => value.clone(),
            value => value.to_string(),
        };
        let in_bytes = ["size", "used", "live", "dead", "reclaimable", "index_bytes"];
        let in_bytes = in_bytes.contains(&&key[..]);
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
    use super::super::listed_volume::ListedCompaction;
    use super::*;

    #[test]
    fn columns_of_the_volume_table_are_aligned() {
        let volume = ListedVolume {
            used: 69_632,
            needles: 12,
            reclaimable: 1500,
            ..ListedVolume::example(1, "writable")
        };
        let making = ListedVolume {
            shard: None,
            progress: Some(0.5),
            ..ListedVolume::example(12, "creating")
        };
        let compaction =
            |phase, read| Some(ListedCompaction { read, ..ListedCompaction::example(phase) });
        let compacting = ListedVolume {
            compaction: compaction("copying", 42),
            ..ListedVolume::example(2, "read_only")
        };
        let waiting = ListedVolume {
            compaction: compaction("waiting", 0),
            ..ListedVolume::example(3, "writable")
        };
        let suspect =
            ListedVolume { suspect: Some(1_700_000_000), ..ListedVolume::example(4, "read_only") };
        let copy = ListedVolume {
            replica: Some(serde_json::json!({})),
            ..ListedVolume::example(5, "read_only")
        };
        let text = table(&[volume, compacting, waiting, suspect, copy, making]);
        let expected = "\
ID  STATE                   SHARD  DISK     SIZE      USED  LIVE  DEAD  NEEDLES  DAMAGE  RECLAIMABLE
 1  writable                    0     0  1.0 GiB  68.0 KiB   0 B   0 B       12       0      1.5 KiB
 2  read_only, copying 42%      0     0  1.0 GiB       0 B   0 B   0 B        0       0          0 B
 3  writable, waiting           0     0  1.0 GiB       0 B   0 B   0 B        0       0          0 B
 4  suspect                     0     0  1.0 GiB       0 B   0 B   0 B        0       0          0 B
 5  copy                        0     0  1.0 GiB       0 B   0 B   0 B        0       0          0 B
12  creating 50%                -     0  1.0 GiB       0 B   0 B   0 B        0       0          0 B
";
        assert_eq!(text, expected);
        let cluster = |collection: &str, ttl: Option<&str>| {
            Some(ListedCluster {
                collection: collection.to_owned(),
                placement: "001".to_owned(),
                ttl: ttl.map(str::to_owned),
            })
        };
        let of = |id, cluster| ListedVolume { cluster, ..ListedVolume::example(id, "writable") };
        let text =
            table(&[of(6, cluster("photos", Some("5m"))), of(7, cluster("", None)), of(8, None)]);
        let last = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[words.len() - 3..].join(" ")
        };
        let expected = ["PLACEMENT TTL COLLECTION", "001 5m photos", "001 - default", "- - -"];
        assert_eq!(text.lines().map(last).collect::<Vec<_>>(), expected);
    }
}
