//! For `config check`: which of several files of a volume a start would use. Reads superblocks only, and
//! changes nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::store::Store;
use super::volume_files::{FoundFile, FoundVolume};
use crate::base::limits::BLOCK;
use crate::base::types::VolumeId;
use crate::runtime::op::DirId;
use crate::volume::{
    Choice, Examined, Expected, GenerationFile, IoError, OpenError, choose, file_name,
};

/// Returns what a start would do with the files of volumes that have several, or one that was not finished.
pub fn look(stores: &[Store], volumes: &[FoundVolume], all_directories: bool) -> Vec<String> {
    let looked = volumes.iter().filter_map(|volume| look_at(stores, volume, all_directories));
    looked.collect()
}

fn look_at(stores: &[Store], volume: &FoundVolume, all_directories: bool) -> Option<String> {
    let id = volume.id;
    let path = |file: &GenerationFile| {
        let store = &stores[file.dir.0 as usize];
        store.path.join(file_name(id, file.generation())).display().to_string()
    };
    let examined: Vec<Examined> =
        volume.files.iter().map(|file| examine(stores, id, *file)).collect();
    let Choice { current, others } = match choose(&examined, all_directories) {
        Ok(choice) => choice,
        // An open file of a single generation is judged by the start.
        Err(_) if examined.len() == 1 && !examined[0].is_usable() => return None,
        Err(error) => {
            let paths: Vec<String> = examined.iter().map(|file| path(&file.file)).collect();
            let paths = paths.join(" and ");
            return Some(format!("volume {id} would not be opened, with {paths}: {error}"));
        }
    };
    let removed: Vec<String> =
        others.superseded.iter().chain(&others.unfinished).map(path).collect();
    if removed.is_empty() {
        return None;
    }
    let removed = removed.join(" and ");
    Some(match current {
        Some(file) => format!(
            "volume {id}: {} counts, and the start would remove {removed} once it has opened",
            path(&file)
        ),
        None => format!("volume {id} was not finished: the start would remove {removed}"),
    })
}

/// Examines a file of a volume. The position of its data directory stands for the directory.
fn examine(stores: &[Store], id: VolumeId, file: FoundFile) -> Examined {
    let store = &stores[file.store];
    let dir = store.dir.as_ref().expect("volumes are found in open stores only");
    let named = GenerationFile {
        dir: DirId(u32::try_from(file.store).expect("at most 256 data directories")),
        expected: Expected {
            volume: id,
            generation: file.generation,
            store: dir.store_id().0.to_be_bytes(),
            hash_bits: None,
            segments_max: None,
            checkpoints: None,
        },
    };
    let path: PathBuf = dir.volume_path(id, file.generation);
    match read(&path) {
        Ok((len, blocks)) => Examined::from_blocks(named, len, [0, 1, 2].map(|n| &blocks[n][..])),
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(nix::libc::EIO);
            Examined::unusable(named, &OpenError::Io("read the file", IoError::Errno(errno)))
        }
    }
}

/// Length of a file, and the blocks of its superblock copies; zeros if it is too short for them.
fn read(path: &Path) -> io::Result<(u64, [Vec<u8>; 3])> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut blocks = [0, 1, 2].map(|_| vec![0; BLOCK as usize]);
    for (block, offset) in blocks.iter_mut().zip(Examined::offsets(len).into_iter().flatten()) {
        file.read_exact_at(block, offset)?;
    }
    Ok((len, blocks))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::node::board::DiskState;
    use crate::node::daemon::volume_files::{superblock, volumes};
    use crate::node::datadir::DataDir;
    use crate::volume::{Superblock, SuperblockState};

    const SIZE: u64 = 1 << 20;

    fn stores(dir: &Path) -> Vec<Store> {
        let open = |name: &str| {
            let path = dir.join(name);
            let open = DataDir::open(&path, true).unwrap();
            Store { path, dir: Some(open), state: DiskState::Ok }
        };
        vec![open("a"), open("b")]
    }

    fn write(store: &Store, superblock: &Superblock) {
        let path = store.path.join(file_name(superblock.volume, superblock.generation));
        let file = File::create(path).unwrap();
        file.set_len(SIZE).unwrap();
        let mut block = [0; BLOCK as usize];
        superblock.encode(&mut block);
        for offset in Examined::offsets(SIZE).unwrap() {
            file.write_all_at(&block, offset).unwrap();
        }
    }

    fn generation(store: &Store, generation: u64, parent: u64, state: SuperblockState) -> u64 {
        let dir = store.dir.as_ref().unwrap();
        let new = superblock(dir, VolumeId(1), SIZE);
        let incarnation = new.incarnation;
        write(store, &Superblock { generation, parent, state, ..new });
        incarnation
    }

    fn looked(stores: &[Store], all_directories: bool) -> Vec<String> {
        look(stores, &volumes(stores).unwrap(), all_directories)
    }

    #[test]
    fn one_finished_or_unusable_file_is_left_to_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let stores = stores(dir.path());
        generation(&stores[0], 0, 0, SuperblockState::Live);
        assert_eq!(looked(&stores, true), [""; 0]);
        fs::write(stores[0].path.join("1.0.vol"), "x").unwrap();
        assert_eq!(looked(&stores, true), [""; 0]);
    }

    #[test]
    fn file_that_counts_and_files_to_remove_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let stores = stores(dir.path());
        let first = generation(&stores[0], 0, 0, SuperblockState::Live);
        generation(&stores[0], 1, first, SuperblockState::ReadOnly);
        let said = looked(&stores, true).pop().unwrap();
        assert!(said.starts_with("volume 1: ") && said.contains("/a/1.1.vol counts"), "{said}");
        assert!(said.contains("would remove") && said.contains("/a/1.0.vol once"), "{said}");
        generation(&stores[0], 1, first, SuperblockState::Building);
        let said = looked(&stores, true).pop().unwrap();
        assert!(said.contains("/a/1.0.vol counts") && said.contains("/a/1.1.vol once"), "{said}");
        fs::remove_file(stores[0].path.join("1.0.vol")).unwrap();
        let said = looked(&stores, true).pop().unwrap();
        assert!(said.contains("was not finished: the start would remove"), "{said}");
        let said = looked(&stores, false).pop().unwrap();
        assert!(said.contains("would not be opened"), "its parent may be elsewhere: {said}");
    }

    #[test]
    fn undecided_files_are_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let stores = stores(dir.path());
        let first = generation(&stores[0], 0, 0, SuperblockState::Live);
        generation(&stores[1], 1, first, SuperblockState::Live);
        let said = looked(&stores, true).pop().unwrap();
        assert!(said.contains("/a/1.0.vol and ") && said.contains("/b/1.1.vol: "), "{said}");
        assert!(said.contains("was served without it since"), "{said}");
        fs::write(stores[1].path.join("1.1.vol"), "x").unwrap();
        let said = looked(&stores, true).pop().unwrap();
        assert!(said.contains("generation 1 cannot be used: no valid superblock"), "{said}");
    }
}
