//! Volumes with several files on the simulated disk, and a start that chooses among them as a shard does.

use std::rc::Rc;

use hayloft::base::types::{NeedleId, VolumeId};
use hayloft::runtime::buffer::Pool;
use hayloft::runtime::op::{DirId, Op};
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::superblock_offsets;
use hayloft::volume::{
    self, Expected, GenerationFile, GetError, OpenContext, OpenError, Preallocation, Refusal, Slot,
    Superblock, SuperblockState, Undecided,
};

use crate::common::{COOKIE, ON_DEMAND, Process, STORE, draft, superblock};

pub const SIZE: u64 = 160 * 1024;
pub const A: NeedleId = NeedleId::new(1, 0);
pub const B: NeedleId = NeedleId::new(2, 0);
pub const C: NeedleId = NeedleId::new(3, 0);
/// Directories: the first one has plain names, the second the prefix `1/`.
const DIRS: [&str; 2] = ["data", "second"];

/// Incarnation of generation `n`.
pub fn incarnation(n: u64) -> u64 {
    0x1000 + n
}

/// Name of generation `n` in a directory.
pub fn name(directory: u32, n: u64) -> String {
    match directory {
        0 => format!("1.{n}.vol"),
        other => format!("{other}/1.{n}.vol"),
    }
}

/// Superblock of generation `n`, made from the one before.
pub fn superblock_of(n: u64, state: SuperblockState) -> Superblock {
    let parent = if n == 0 { 0 } else { incarnation(n - 1) };
    Superblock { generation: n, incarnation: incarnation(n), parent, state, ..superblock(SIZE) }
}

/// Content of generation `n`: [`A`] is replaced in each, [`B`] is in all, [`C`] from generation 1 on.
pub fn content(n: u64) -> [(NeedleId, Option<Vec<u8>>); 3] {
    let text = |text: String| Some(text.into_bytes());
    let later = (n > 0).then(|| text("only later".into())).flatten();
    [(A, text(format!("generation {n}"))), (B, text("in all".into())), (C, later)]
}

fn opened_dirs(process: &mut Process) {
    for path in DIRS {
        let handle = process.runtime.handle().clone();
        process.run(async move { handle.submit(Op::OpenDir { path: path.into() }).await });
    }
}

/// Adds the closed file of a generation with its content and a checkpoint, and then sets its superblock.
pub fn with_file(image: &Image, directory: u32, superblock: &Superblock, pool: &Pool) -> Image {
    let mut process = Process::start(1, image, pool);
    opened_dirs(&mut process);
    let (handle, n) = (process.runtime.handle().clone(), superblock.generation);
    let live = Superblock { state: SuperblockState::Live, ro_compat: 0, ..superblock.clone() };
    let expected = expected(n);
    let volume = process.run(async move {
        let dir = DirId(directory);
        volume::create(&handle, dir, &live, Preallocation::Reserve, |_| ()).await.unwrap();
        Slot::new(volume::open(&handle, dir, &expected).await.unwrap())
    });
    for (id, data) in content(n) {
        if let Some(data) = data {
            put(&mut process, &volume, id, &data).unwrap();
        }
    }
    close(&mut process, &volume);
    let mut image = process.image();
    set_copies(&mut image, &name(directory, n), [Some(superblock); 3]);
    image
}

/// Sets the copies of the superblock of a file; `None` damages one.
pub fn set_copies(image: &mut Image, name: &str, copies: [Option<&Superblock>; 3]) {
    image.edit(name, |bytes| {
        for (offset, copy) in superblock_offsets(SIZE).into_iter().zip(copies) {
            let at = usize::try_from(offset).unwrap();
            match copy {
                Some(superblock) => superblock.encode(&mut bytes[at..at + 4096]),
                None => bytes[at + 100] ^= 1,
            }
        }
    });
}

/// Identity of generation `n` by its name.
pub fn expected(n: u64) -> Expected {
    Expected {
        volume: VolumeId(1),
        generation: n,
        store: STORE,
        hash_bits: None,
        segments_max: None,
        checkpoints: Some(ON_DEMAND),
    }
}

pub fn put(
    process: &mut Process,
    volume: &Rc<Slot>,
    id: NeedleId,
    data: &[u8],
) -> Result<(), Refusal> {
    let draft = draft(process.runtime.handle().pool(), data);
    let volume = Rc::clone(volume);
    process.run(async move { volume.put(id, COOKIE, draft, None).await.map(drop) })
}

pub fn get(process: &mut Process, volume: &Rc<Slot>, id: NeedleId) -> Option<Vec<u8>> {
    let volume = Rc::clone(volume);
    let pool = process.runtime.handle().pool().clone();
    let got = process.run(async move { volume.get(id, COOKIE, |len| pool.alloc(len)).await });
    match got {
        Ok(needle) => Some(needle.buf[needle.data.clone()].to_vec()),
        Err(GetError::NotFound) => None,
        Err(other) => panic!("{id}: {other}"),
    }
}

pub fn close(process: &mut Process, volume: &Rc<Slot>) {
    let volume = Rc::clone(volume);
    process.run(async move { volume.close().await });
}

/// The volume files among these names: directory and generation.
fn volume_files(names: &[String]) -> Vec<(u32, u64)> {
    let parse = |name: &String| {
        let (directory, file) = name.split_once('/').unwrap_or(("0", name));
        let generation = file.strip_prefix("1.")?.strip_suffix(".vol")?;
        Some((directory.parse().unwrap(), generation.parse().unwrap()))
    };
    let mut files: Vec<(u32, u64)> = names.iter().filter_map(parse).collect();
    files.sort_by_key(|(directory, generation)| (*generation, *directory));
    files
}

/// What a start made of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This generation serves.
    Serves(u64),
    /// The volume could not be opened.
    Failed(String),
    /// The only file was not finished; it was removed.
    Nothing,
}

/// A process after its start.
pub struct Started {
    pub process: Process,
    pub volume: Option<Rc<Slot>>,
    pub found: Found,
    /// Why it is not certain which file counts, if that is so.
    pub undecided: Option<Undecided>,
    /// Files beside the open one that are still there, or may be.
    pub left: Vec<GenerationFile>,
}

impl Started {
    /// Names of all files.
    pub fn names(&self) -> Vec<String> {
        self.process.world.names()
    }

    /// Reads the content of the volume. Returns the generation that it is of.
    pub fn content(&mut self) -> u64 {
        let volume = self.volume.clone().expect("it is open");
        let found = [A, B, C].map(|id| (id, get(&mut self.process, &volume, id)));
        let generation = (0..4).find(|n| content(*n) == found);
        generation.unwrap_or_else(|| panic!("the content of no generation: {found:?}"))
    }
}

/// Chooses among the files of an image and removes the others, as a shard does when it opens a volume.
/// `prepare` may set faults, and record events.
pub fn start_with(
    image: &Image,
    pool: &Pool,
    all_directories: bool,
    prepare: impl FnOnce(&Process),
) -> Started {
    start_in(Process::start(3, image, pool), all_directories, prepare)
}

/// [`start_with`] in a process.
pub fn start_in(
    mut process: Process,
    all_directories: bool,
    prepare: impl FnOnce(&Process),
) -> Started {
    opened_dirs(&mut process);
    prepare(&process);
    let files = volume_files(&process.world.names())
        .into_iter()
        .map(|(directory, n)| GenerationFile { dir: DirId(directory), expected: expected(n) });
    let (handle, files): (_, Vec<_>) = (process.runtime.handle().clone(), files.collect());
    let (opened, left) = process.run(async move {
        let context =
            OpenContext { progress: &|_| (), checkpoint_queue: None, pace: None, all_directories };
        match volume::open_current(&handle, &files, context).await {
            Ok((volume, others)) => {
                let left = others.remove(&handle, volume.as_deref()).await;
                (Ok(volume), left)
            }
            Err(error) => (Err(error), files),
        }
    });
    let undecided = match &opened {
        Err(OpenError::Undecided(why)) => Some(why.clone()),
        _ => None,
    };
    let (volume, found) = match opened {
        Ok(Some(volume)) => {
            let found = Found::Serves(volume.generation());
            (Some(Slot::new(volume)), found)
        }
        Ok(None) => (None, Found::Nothing),
        Err(error) => (None, Found::Failed(error.to_string())),
    };
    Started { process, volume, found, undecided, left }
}

/// [`start_with`] all directories and without faults.
pub fn start(image: &Image, pool: &Pool) -> Started {
    start_with(image, pool, true, |_| ())
}
