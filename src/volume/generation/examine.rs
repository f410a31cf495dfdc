//! What the superblock of a file says about it, read without opening the file as a volume.

use super::generation_file::GenerationFile;
use super::superblock_copies::{Copies, check_identity, copy_offsets, newest, read_copies};
use crate::runtime::Handle;
use crate::runtime::op::{FileId, Op};
use crate::volume::error::OpenError;
use crate::volume::format::{Superblock, SuperblockError, SuperblockState};
use crate::volume::io::{VolumeFile, outcome};
use crate::volume::names::volume_name;

/// A file of a volume with its superblock.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The file.
    pub file: GenerationFile,
    /// The newest valid copy of its superblock; why there is none that this build can use, or why the file is
    /// not the one that its name and directory say.
    pub(super) superblock: Result<Superblock, String>,
    /// Whether every copy is valid and says that the file was not finished.
    pub(super) is_unfinished_in_every_copy: bool,
}

impl Examined {
    /// Offsets of the three blocks that [`Self::from_blocks`] needs of a file of `len` bytes; `None` if the
    /// file is too short.
    #[must_use]
    pub fn offsets(len: u64) -> Option<[u64; 3]> {
        copy_offsets(len)
    }

    /// Examines a file of `len` bytes that has these blocks at [`Self::offsets`].
    #[must_use]
    pub fn from_blocks(file: GenerationFile, len: u64, blocks: [&[u8]; 3]) -> Self {
        match copy_offsets(len) {
            Some(offsets) => {
                let copy = |n: usize| (offsets[n], Superblock::decode(blocks[n]));
                Self::from_copies(file, len, &[copy(0), copy(1), copy(2)])
            }
            None => Self::unusable(file, &OpenError::Superblock(SuperblockError::Damaged)),
        }
    }

    /// Whether the superblock is that of the file that name and directory say, and this build can use it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.superblock.is_ok()
    }

    /// Whether the file is marked as moving to another data directory.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.superblock.as_ref().is_ok_and(Superblock::is_moving)
    }

    /// Returns a file of which nothing is known, and why.
    #[must_use]
    pub fn unusable(file: GenerationFile, why: &OpenError) -> Self {
        let superblock = Err(why.to_string());
        Self { file, superblock, is_unfinished_in_every_copy: false }
    }

    fn from_copies(file: GenerationFile, len: u64, copies: &Copies) -> Self {
        let (superblock, _) = match newest(copies) {
            Ok(newest) => newest,
            Err(error) => return Self::unusable(file, &OpenError::Superblock(error)),
        };
        if let Err(error) = check_identity(&superblock, &file.expected, len) {
            return Self::unusable(file, &error);
        }
        let is_unfinished = |copy: &Superblock| {
            copy.state == SuperblockState::Building && copy.incarnation == superblock.incarnation
        };
        let is_unfinished_in_every_copy =
            copies.iter().all(|(_, copy)| copy.as_ref().is_ok_and(is_unfinished));
        Self { file, superblock: Ok(superblock), is_unfinished_in_every_copy }
    }
}

/// Reads the superblock of a file. Nothing is changed.
///
/// # Errors
/// [`OpenError::NoBuffer`]. Any other error is in the result.
pub async fn examine(handle: &Handle, file: &GenerationFile) -> Result<Examined, OpenError> {
    let name = volume_name(file.expected.volume, file.expected.generation);
    let open = Op::Open { dir: file.dir, name, write: false };
    let id = match outcome(&handle.submit(open).await) {
        Ok(number) => FileId(u32::try_from(number).expect("a file number")),
        Err(error) => {
            return Ok(Examined::unusable(*file, &OpenError::Io("open the file", error)));
        }
    };
    let open = VolumeFile::new(handle, id);
    let copies = match outcome(&handle.submit(Op::FileLen { file: id }).await) {
        Ok(len) => read_copies(handle, &open, len).await.map(|copies| (len, copies)),
        Err(error) => Err(OpenError::Io("read the length of the file", error)),
    };
    open.close().await;
    match copies {
        Ok((len, copies)) => Ok(Examined::from_copies(*file, len, &copies)),
        Err(OpenError::NoBuffer) => Err(OpenError::NoBuffer),
        Err(error) => Ok(Examined::unusable(*file, &error)),
    }
}
