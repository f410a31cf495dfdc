//! `hayloft export --server`: the photos of a running daemon as a tar.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;
use tar::Builder;

use super::admin::{exit_code, get};
use super::output::{fail, note};
use crate::base::size::rounded;
use crate::base::types::VolumeId;
use crate::commands::client::{Client, ClientError, ServerAddress};
use crate::commands::export::{Exported, NotExported, export_volume};
use crate::commands::offline::{OfflineError, Output};

/// The id of a volume as the admin API lists it.
#[derive(Deserialize)]
struct KnownVolume {
    id: VolumeId,
}

/// What is exported.
pub(super) struct Wanted {
    /// Volumes; all of them, if none is named.
    pub(super) volumes: Vec<VolumeId>,
    /// Position after which the export begins.
    pub(super) since: Option<u64>,
    /// The admin token.
    pub(super) token: Option<String>,
}

/// Reads the admin token from a file.
pub(super) fn token_of(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Exports volumes of the daemon.
pub(super) fn export_online(server: ServerAddress, wanted: Wanted, mut output: Output) -> ExitCode {
    let Wanted { volumes, since, token } = wanted;
    if since.is_some() && volumes.len() != 1 {
        return fail(&"--since is a position of one volume: name it with --volume");
    }
    let client = Client::new(server, "--server");
    let volumes = match volumes.is_empty() {
        false => volumes,
        true => match known_volumes(&client) {
            Ok(volumes) => volumes,
            Err(error) => return exit_code(Err(error)),
        },
    };
    let name = output.name();
    let exported =
        export_all((&client, token.as_deref()), &volumes, since.unwrap_or(0), &mut output);
    let total = match exported {
        Ok(total) => total,
        Err(NotExported::Client(error)) => return exit_code(Err(error)),
        Err(NotExported::Output(error)) => {
            return fail(&OfflineError::Write { what: name, error });
        }
        Err(error) => return fail(&error),
    };
    if let Err(error) = output.finish() {
        return fail(&error);
    }
    let Exported { photos, bytes, left_out, .. } = total;
    let size = rounded(bytes);
    note(format_args!("{photos} photos ({size}) written to {name}, {left_out} left out"));
    if left_out == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn known_volumes(client: &Client) -> Result<Vec<VolumeId>, ClientError> {
    let known: Vec<KnownVolume> = get(client, "/volumes")?.json()?;
    Ok(known.iter().map(|volume| volume.id).collect())
}

fn export_all(
    daemon: (&Client, Option<&str>),
    volumes: &[VolumeId],
    since: u64,
    output: &mut dyn Write,
) -> Result<Exported, NotExported> {
    let (mut tar, mut total) = (Builder::new(output), Exported::default());
    for &volume in volumes {
        let mut left_out = |photo: crate::commands::export::LeftOut| {
            note(format_args!(
                "left out: volume {}, needle {}: it cannot be read; hayloft volume scrub finds all damage",
                photo.volume, photo.id
            ));
        };
        let exported = export_volume(daemon, volume, since, &mut tar, &mut left_out)?;
        let Exported { photos, bytes, deletions, left_out, position } = exported;
        total.photos += photos;
        total.bytes += bytes;
        total.left_out += left_out;
        let deleted = match deletions {
            0 => String::new(),
            count => format!(", {count} deletions that are not in the tar"),
        };
        note(format_args!("volume {volume}: {photos} photos up to position {position}{deleted}"));
    }
    tar.finish().map_err(NotExported::Output)?;
    Ok(total)
}
