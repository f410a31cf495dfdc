//! Kind of a needle.

/// Kind of a needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object that is stored in one needle.
    Data,
    /// Records that a needle is deleted. Its header is stored twice, in two units.
    Tombstone,
    /// A piece of a multipart object; not indexed.
    Part,
    /// Names the parts of a multipart object.
    Manifest,
}

impl Kind {
    pub(super) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Data,
            2 => Self::Tombstone,
            3 => Self::Part,
            4 => Self::Manifest,
            _ => return None,
        })
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Tombstone => 2,
            Self::Part => 3,
            Self::Manifest => 4,
        }
    }
}
