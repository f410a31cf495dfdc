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
    /// Records that a compaction could not carry over an object that was live. Its id and cookie are known.
    Loss,
    /// As [`Self::Loss`], for an object of whose id only leading bits of the hash are known.
    UnidentifiedLoss,
    /// Records that a range of an earlier generation was damaged; not indexed.
    DamagedRange,
}

impl Kind {
    /// Whether an upload of a multipart object writes needles of this kind.
    #[must_use]
    pub fn is_of_upload(self) -> bool {
        matches!(self, Self::Part | Self::Manifest)
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Data,
            2 => Self::Tombstone,
            3 => Self::Part,
            4 => Self::Manifest,
            5 => Self::Loss,
            6 => Self::UnidentifiedLoss,
            7 => Self::DamagedRange,
            _ => return None,
        })
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Tombstone => 2,
            Self::Part => 3,
            Self::Manifest => 4,
            Self::Loss => 5,
            Self::UnidentifiedLoss => 6,
            Self::DamagedRange => 7,
        }
    }

    /// Returns whether needles of this kind consist of their header, which is stored twice, and a footer.
    #[must_use]
    pub fn is_header_only(self) -> bool {
        match self {
            Self::Tombstone | Self::Loss | Self::UnidentifiedLoss | Self::DamagedRange => true,
            Self::Data | Self::Part | Self::Manifest => false,
        }
    }

    /// Returns whether needles of this kind stand for an object that could not be carried over.
    #[must_use]
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Loss | Self::UnidentifiedLoss)
    }
}
