//! Which of the files of a volume is read: the one that the daemon would serve.

use super::error::OfflineError;
use super::executor::Executor;
use super::location::VolumeLocation;
use crate::volume::{self, Choice, Examined, GenerationFile, OpenError, choose};

/// The file of a volume that is read, or why none is. No file is changed or removed.
#[derive(Clone)]
pub enum Picked {
    /// This file, with what is to be said about it and other files, if anything.
    File(VolumeLocation, Option<String>),
    /// None: the only file was not finished. With what is to be said about that.
    Nothing(String),
    /// None, for this reason.
    Undecided(String),
}

impl Picked {
    /// What is to be said about a volume that can be read, or that has nothing to be read.
    pub fn note(&self) -> Option<&str> {
        match self {
            Self::File(_, note) => note.as_deref(),
            Self::Nothing(note) => Some(note),
            Self::Undecided(_) => None,
        }
    }
}

/// Picks the file of a volume among all its files in the selected directories.
///
/// # Errors
/// [`OfflineError::Step`] without buffers.
pub fn pick(executor: &mut Executor, places: &[VolumeLocation]) -> Result<Picked, OfflineError> {
    let examined = examine(executor, places)?;
    let place_of = |file: &GenerationFile| {
        let is_same = |place: &&VolumeLocation| {
            (place.dir, place.file.generation) == (file.dir, file.generation())
        };
        places.iter().find(is_same).expect("the file is one of these").clone()
    };
    let path = |file: &GenerationFile| place_of(file).file.path.display().to_string();
    // The directories that were not named are like data directories that do not exist. A move is told below.
    let Choice { current, others } = match choose(&examined, true) {
        Ok(choice) => choice,
        // Opening it says why.
        Err(_) if examined.len() == 1 && !examined[0].is_usable() => {
            return Ok(Picked::File(places[0].clone(), None));
        }
        Err(error) => {
            let paths: Vec<String> =
                places.iter().map(|place| place.file.path.display().to_string()).collect();
            let (count, paths) = (paths.len(), paths.join(" and "));
            return Ok(Picked::Undecided(format!("has {count} files, {paths}: {error}")));
        }
    };
    let mut unfinished = others.unfinished.iter().map(|file| {
        format!(
            "{} was not finished and holds nothing that counts; the daemon removes it at its next start",
            path(file)
        )
    });
    let Some(current) = current else {
        let text =
            unfinished.next().expect("without a file that counts there is an unfinished one");
        return Ok(Picked::Nothing(format!("{text}, if no data directory has another file of it")));
    };
    let mut notes = Vec::new();
    for file in &others.superseded {
        notes.push(format!(
            "{} is read: it was made from {}, which the daemon removes at its next start",
            path(&current),
            path(file)
        ));
    }
    notes.extend(unfinished.map(|text| format!("{} is read: {text}", path(&current))));
    if examined
        .iter()
        .any(|file| file.is_moving() && file.file.generation() == current.generation())
    {
        notes.push(format!(
            "{} was moving to another data directory: unless all are named (--data), what was stored last \
             may be missing",
            path(&current)
        ));
    }
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(Picked::File(place_of(&current), note))
}

fn examine(
    executor: &mut Executor,
    places: &[VolumeLocation],
) -> Result<Vec<Examined>, OfflineError> {
    let file =
        |place: &VolumeLocation| GenerationFile { dir: place.dir, expected: place.expected() };
    let (handle, files): (_, Vec<_>) = (executor.handle(), places.iter().map(file).collect());
    let examined = executor.run(async move {
        let mut examined = Vec::new();
        for file in &files {
            examined.push(volume::examine(&handle, file).await?);
        }
        Ok::<_, OpenError>(examined)
    });
    examined.map_err(|error| {
        OfflineError::Step("read the superblock of a volume", std::io::Error::other(error))
    })
}
