//! The files of a volume that do not count: what becomes of them when the volume is opened.

use super::generation_file::GenerationFile;
use super::remove::remove_others;
use crate::runtime::Handle;
use crate::volume::Volume;
use crate::volume::log::DamageSource;
use crate::volume::sync_dir::sync_dir;

/// The files of a volume that do not count.
#[derive(Clone, Debug, Default)]
pub struct OtherFiles {
    /// Finished files from which the current one was made, directly or not, by ascending generation.
    pub superseded: Vec<GenerationFile>,
    /// Files that compactions did not finish, by ascending generation.
    pub unfinished: Vec<GenerationFile>,
}

impl OtherFiles {
    /// Removes the files durably, lowest generation first, each with its checkpoint. `volume` is the open
    /// volume; `None` if no file counts. Returns the files that are still there, or may be: while there is
    /// one, the volume must not be compacted. They are tried again at the next start.
    ///
    /// The caller may serve reads and writes before: at every start the same file counts, whether or not it
    /// was written meanwhile. So a removal that fails does not keep the volume from serving.
    pub async fn remove(self, handle: &Handle, volume: Option<&Volume>) -> Vec<GenerationFile> {
        let Self { superseded, unfinished } = self;
        let (mut removed, mut kept) = (superseded, Vec::new());
        if let Some(volume) = volume {
            if !removed.is_empty() && is_damaged(volume) {
                log_kept(
                    volume,
                    &removed,
                    "the newer generation is damaged, and may lack something that the older one has: \
                     compare them (hayloft check), and remove the older one while the daemon is stopped",
                );
                kept = std::mem::take(&mut removed);
            }
            removed.extend(unfinished);
            if removed.is_empty() {
                return kept;
            }
            if let Some(why) = reason_to_keep(handle, volume).await {
                log_kept(volume, &removed, &why);
                kept.extend(removed);
                return kept;
            }
        } else {
            removed.extend(unfinished);
        }
        kept.extend(remove_logged(handle, removed).await);
        kept
    }
}

/// Whether the file of an open volume is damaged, so that an older one may have what it lacks. Losses and
/// damage that a compaction carried over are in the older file as well.
fn is_damaged(volume: &Volume) -> bool {
    volume.damage().iter().any(|range| range.source == DamageSource::File)
}

/// The reason why nothing that an open volume might need may be removed, if there is one.
async fn reason_to_keep(handle: &Handle, volume: &Volume) -> Option<String> {
    if volume.poisoned() || volume.index_is_incomplete {
        let why = "the volume could not be opened in full, as the line above says. The next start that can \
                   removes it";
        return Some(why.to_owned());
    }
    // A name that was not made durable would be lost in a power cut, together with the removed files.
    let synced = sync_dir(handle, volume.dir()).await;
    let why = |error| format!("the directory of the file that counts cannot be synced: {error}");
    synced.err().map(why)
}

/// Removes files. Returns those that are still there, or may be.
async fn remove_logged(handle: &Handle, mut files: Vec<GenerationFile>) -> Vec<GenerationFile> {
    let before = files.clone();
    let removed = remove_others(handle, &mut files).await;
    for file in &before[..before.len() - files.len()] {
        let (volume, generation) = (file.expected.volume.0, file.generation());
        tracing::info!(volume, "removed the file of generation {generation}, which does not count");
    }
    if let (Err(error), Some(file)) = (removed, files.first()) {
        tracing::error!(
            volume = file.expected.volume.0,
            "cannot remove the file of generation {}, which does not count: {error}; check the kernel log \
             and the disk. The next start tries again",
            file.generation()
        );
    }
    files
}

fn log_kept(volume: &Volume, files: &[GenerationFile], why: &str) {
    for file in files {
        let generation = file.generation();
        tracing::error!(
            volume = volume.id().0,
            "generation {} counts, and the file of generation {generation} is kept: {why}",
            volume.generation()
        );
    }
}
