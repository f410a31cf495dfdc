//! Which of the files of a volume counts. A pure function of what their superblocks say.
//!
//! A compaction copies generation *g* into the file of generation *g + 1*, which is *building* until one
//! durable write of a superblock copy finishes it. Then *g* is removed. So a crash leaves one file, or two of
//! which the lower counts while the higher is *building*, and the higher from then on. If the data directory
//! of the higher was not in use after that, other compactions may have followed: a file that was not finished
//! does not count, however many there are. Whatever else is found was not left by a crash, and nothing is
//! decided.

use super::examine::Examined;
use super::generation_file::GenerationFile;
use super::other_files::OtherFiles;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::error::Undecided;
use crate::volume::format::{Superblock, SuperblockState};

/// The file of a volume that counts, and the others.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The file that counts, if it can be opened; `None` if the only file was not finished.
    pub current: Option<GenerationFile>,
    /// The files that do not count.
    pub others: OtherFiles,
}

/// A file with a usable superblock.
#[derive(Clone, Copy)]
struct Usable<'a> {
    file: &'a Examined,
    superblock: &'a Superblock,
}

impl Usable<'_> {
    fn generation(self) -> u64 {
        self.file.file.generation()
    }

    fn is_building(self) -> bool {
        self.superblock.state == SuperblockState::Building
    }
}

/// Chooses the file of a volume that counts among all its files in the data directories in use.
/// `all_directories`: whether these are all configured data directories. If not, a file that is not to be
/// seen may count, which is ruled out where it is possible: a move to another data directory leaves a mark.
///
/// # Errors
/// [`Undecided`]: none of the files may be served or removed.
pub fn choose(files: &[Examined], all_directories: bool) -> Result<Choice, Undecided> {
    let all_directories = all_directories || chosen(Sabotage::IgnoreMissingDirectory);
    let files = usable(files)?;
    let (unfinished, finished): (Vec<Usable<'_>>, Vec<Usable<'_>>) =
        files.into_iter().partition(|file| file.is_building());
    check_chain(&finished)?;
    check_unfinished(&unfinished, finished.last().copied())?;
    let files = |all: &[Usable<'_>]| all.iter().map(|file| file.file.file).collect();
    let unfinished_files = files(&unfinished);
    let Some((current, superseded)) = finished.split_last() else {
        if let Some(file) = unfinished.first()
            && !all_directories
        {
            // The file that it was made from may be on the missing disk, and may never come back.
            return Err(Undecided::ParentMissing(file.generation()));
        }
        let others = OtherFiles { superseded: vec![], unfinished: unfinished_files };
        return Ok(Choice { current: None, others });
    };
    if current.superblock.is_moving() && !all_directories {
        return Err(Undecided::MayHaveMoved(current.generation()));
    }
    let others = OtherFiles { superseded: files(superseded), unfinished: unfinished_files };
    Ok(Choice { current: Some(current.file.file), others })
}

/// Returns the files by ascending generation, if all are usable.
fn usable(files: &[Examined]) -> Result<Vec<Usable<'_>>, Undecided> {
    let mut usable = Vec::new();
    for file in files {
        match &file.superblock {
            Ok(superblock) => usable.push(Usable { file, superblock }),
            Err(why) => {
                let generation = file.file.generation();
                return Err(Undecided::Unusable { generation, why: why.clone() });
            }
        }
    }
    usable.sort_by_key(|file| file.generation());
    Ok(usable)
}

/// Checks that each finished file was made from the one before.
fn check_chain(finished: &[Usable<'_>]) -> Result<(), Undecided> {
    for two in finished.windows(2) {
        let [lower, higher] = two else { unreachable!("windows of two") };
        if lower.generation() == higher.generation() {
            return Err(Undecided::Twice(lower.generation()));
        }
        // A file that is moving says so durably before a file in another directory can count. If it does not,
        // it was served since without that file, and may hold what that one lacks.
        let is_elsewhere = lower.file.file.dir != higher.file.file.dir;
        let is_later = higher.generation() > lower.generation() + 1;
        if is_elsewhere && is_later && lower.superblock.is_moving() {
            // The volume moved away, and was compacted again without this data directory.
            continue;
        }
        check_parent(*lower, *higher)?;
        if is_elsewhere && !lower.superblock.is_moving() && !chosen(Sabotage::IgnoreDivergence) {
            let (generation, parent) = (higher.generation(), lower.generation());
            return Err(Undecided::Diverged { generation, parent });
        }
    }
    Ok(())
}

fn check_parent(lower: Usable<'_>, higher: Usable<'_>) -> Result<(), Undecided> {
    if higher.superblock.parent == lower.superblock.incarnation || chosen(Sabotage::IgnoreParent) {
        return Ok(());
    }
    let (generation, parent) = (higher.generation(), lower.generation());
    Err(Undecided::NoParent { generation, parent })
}

/// Checks that the unfinished files are certainly unfinished, and were left by compactions: the last one made
/// from `newest`, or earlier ones in data directories that were not in use since.
fn check_unfinished(
    unfinished: &[Usable<'_>],
    newest: Option<Usable<'_>>,
) -> Result<(), Undecided> {
    for file in unfinished {
        // The first copy that is written with another state finishes the file. A damaged copy may be that
        // one.
        if !file.file.is_unfinished_in_every_copy && !chosen(Sabotage::TrustOneUnfinishedCopy) {
            return Err(Undecided::PartlyUnfinished(file.generation()));
        }
    }
    let Some(newest) = newest else {
        return match unfinished {
            [] | [_] => Ok(()),
            [_, second, ..] => Err(Undecided::UnfinishedTwice(second.generation())),
        };
    };
    unfinished.iter().try_for_each(|file| check_left(*file, newest))
}

fn check_left(unfinished: Usable<'_>, newest: Usable<'_>) -> Result<(), Undecided> {
    if unfinished.generation() > newest.generation() {
        return check_parent(newest, unfinished);
    }
    // The volume was compacted again without this data directory.
    if unfinished.file.file.dir != newest.file.file.dir {
        return Ok(());
    }
    let (generation, parent) = (newest.generation(), unfinished.generation());
    Err(Undecided::NoParent { generation, parent })
}
