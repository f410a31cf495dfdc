//! Files of volumes in the data directories.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::superblock::Superblock;
use crate::daemon::Setup;

/// Numbers of volumes by the files that a cut left of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeFiles {
    /// The newer of two files is unfinished, or its name is temporary: the older one counts.
    pub unfinished: u64,
    /// Both files are finished: the newer one counts.
    pub both_finished: u64,
}

/// Files of a volume: generation and path. A file that is not under its final name has no generation.
type Files = BTreeMap<u32, BTreeSet<(Option<u64>, PathBuf)>>;

/// Parses `{volume}.{generation}.vol` and the name of the same file while it is being created.
fn parse(name: &str) -> Option<(u32, Option<u64>)> {
    let (volume, rest) = name.split_once('.')?;
    let (generation, suffix) = rest.split_once('.')?;
    let (volume, generation): (u32, u64) = (volume.parse().ok()?, generation.parse().ok()?);
    match suffix {
        "vol" => Some((volume, Some(generation))),
        "vol.tmp" => Some((volume, None)),
        _ => None,
    }
}

fn volume_files(setup: &Setup, root: &Path) -> std::io::Result<Files> {
    let mut files = Files::new();
    for dir in setup.data_dirs(root).iter().filter(|dir| dir.exists()) {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(parse);
            if let Some((volume, generation)) = name {
                files.entry(volume).or_default().insert((generation, path));
            }
        }
    }
    Ok(files)
}

fn is_finished(path: &Path) -> std::io::Result<bool> {
    let mut block = Vec::new();
    std::fs::File::open(path)?.take(4096).read_to_end(&mut block)?;
    Ok(Superblock::decode(&block).is_some_and(|superblock| superblock.is_finished))
}

/// Counts the volumes of which a cut left several files.
pub fn left_by_a_cut(setup: &Setup, root: &Path) -> std::io::Result<VolumeFiles> {
    let mut found = VolumeFiles::default();
    for (_, files) in volume_files(setup, root)? {
        let is_temporary = files.iter().any(|(generation, _)| generation.is_none());
        let mut named = files.iter().filter(|(generation, _)| generation.is_some());
        match (named.next(), named.next_back()) {
            (Some(_), Some((_, newest))) if is_finished(newest)? => found.both_finished += 1,
            (Some(_), Some(_)) => found.unfinished += 1,
            (Some(_), None) if is_temporary => found.unfinished += 1,
            _ => {}
        }
    }
    Ok(found)
}

/// Describes the files of each volume that has more than one, or one under a temporary name.
pub fn superfluous(setup: &Setup, root: &Path) -> std::io::Result<Vec<String>> {
    let files = volume_files(setup, root)?.into_iter();
    let bad = files.filter(|(_, files)| {
        files.len() != 1 || files.iter().any(|(generation, _)| generation.is_none())
    });
    let text = |(volume, files): (u32, BTreeSet<(Option<u64>, PathBuf)>)| {
        let paths: Vec<_> = files.iter().map(|(_, path)| path.display().to_string()).collect();
        format!("volume {volume} has the files {}", paths.join(", "))
    };
    Ok(bad.map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::super::superblock::tests::encoded;
    use super::*;

    #[test]
    fn files_left_by_a_cut_are_counted_by_what_counts() {
        let root = std::env::temp_dir().join(format!("powercut-files-{}", std::process::id()));
        let setup = Setup {
            program: PathBuf::new(),
            shards: 1,
            prealloc: "fallocate",
            volume_mib: 16,
            data_dirs: 2,
            compacts: true,
            tombstone_keep: "0s",
        };
        let dirs = setup.data_dirs(&root);
        dirs.iter().for_each(|dir| std::fs::create_dir_all(dir).unwrap());
        let write = |dir: usize, name: &str, block: &[u8]| {
            std::fs::write(dirs[dir].join(name), block).unwrap();
        };
        write(0, "1.9.vol", &encoded(1, 9, 1));
        write(0, "1.9.ckpt", &[]);
        write(0, "hayloft.toml", &[]);
        let one = left_by_a_cut(&setup, &root).unwrap();
        let superfluous_of_one = superfluous(&setup, &root).unwrap();
        write(1, "1.10.vol", &encoded(1, 10, 0));
        write(0, "2.0.vol", &encoded(2, 0, 1));
        write(0, "2.1.vol.tmp", &[]);
        write(0, "3.4.vol", &encoded(3, 4, 1));
        write(0, "3.5.vol", &encoded(3, 5, 3));
        let several = left_by_a_cut(&setup, &root).unwrap();
        let superfluous_of_several = superfluous(&setup, &root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!((one, superfluous_of_one.len()), (VolumeFiles::default(), 0));
        assert_eq!(several, VolumeFiles { unfinished: 2, both_finished: 1 });
        assert_eq!(superfluous_of_several.len(), 3, "{superfluous_of_several:?}");
    }
}
