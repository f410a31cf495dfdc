//! A file of a volume, by its name.

use super::expected::Expected;
use crate::runtime::op::DirId;

/// A file of a volume: one generation, by name and directory. What is in it is not known yet.
#[derive(Clone, Copy, Debug)]
pub struct GenerationFile {
    /// Directory of the file.
    pub dir: DirId,
    /// Properties that the file must have according to its name and directory.
    pub expected: Expected,
}

impl GenerationFile {
    /// Generation, from the file name.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.expected.generation
    }
}
