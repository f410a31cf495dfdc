//! Whose copy a volume is, as its superblock says it.

use super::field::{Decoder, Encoder};
use super::rising::RISING_MAX;

/// Flag: the volume may have objects that its source has no more.
const FLAG_SURPLUS: u32 = 1;

/// Whose copy a volume is, and how far it goes. Such a volume takes no writes but those of its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    /// [Lineage](super::Superblock::lineage) of the source; 0 as long as nothing was copied.
    pub source: u64,
    /// Position of the source up to which everything is here: a version.
    pub position: u64,
    /// Whether objects may be here that the source has no more: deletions were missing in what was copied.
    pub has_surplus: bool,
}

impl Replica {
    pub(super) fn put(&self, out: &mut Encoder<'_>) {
        let flags = if self.has_surplus { FLAG_SURPLUS } else { 0 };
        out.u64(self.source).u64(self.position).u32(flags);
    }

    pub(super) fn take(input: &mut Decoder<'_>) -> Self {
        let (source, position, flags) = (input.u64(), input.u64(), input.u32());
        Self { source, position, has_surplus: flags & FLAG_SURPLUS != 0 }
    }

    /// Whether a superblock can say this.
    pub(super) fn fits(&self) -> bool {
        self.position < RISING_MAX
    }
}
