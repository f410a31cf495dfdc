//! What a scrub finds wrong.

use thiserror::Error;

use crate::base::types::NeedleId;
use crate::volume::format::Unreadable;
use crate::volume::index::Location;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// The record of a commit is damaged. What is in the commit can be read.
    #[error("the record of a commit is damaged")]
    CommitRecord,
    /// Needles of a commit cannot be identified.
    #[error("needles cannot be identified")]
    Unidentified,
    /// A section of a needle is damaged.
    #[error("{0}")]
    Needle(Unreadable),
    /// The footer of a needle is damaged. It is needed only when the header is damaged, too.
    #[error("its footer is damaged")]
    Footer,
    /// One of the two headers of a tombstone, or of the record of a loss, is damaged.
    #[error("one of its two headers is damaged")]
    HeaderCopy,
    /// A part of a multipart object is missing or damaged; the number counts from 0.
    #[error("part {0} of it is missing or damaged")]
    Part(usize),
    /// The log says that a needle lives, and the index does not have it: it would not be found.
    #[error("it lives by the log, and the index does not have it")]
    NotIndexed,
    /// The index has an entry where the log has no live needle.
    #[error("the index has it, and by the log nothing lives there")]
    NotInLog,
    /// Index and log differ in more places than can be listed.
    #[error("the index and the log differ")]
    Index,
}

impl Flaw {
    /// Its name in the admin API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CommitRecord => "commit_record",
            Self::Unidentified => "unidentified",
            Self::Needle(Unreadable::Header) => "header",
            Self::Needle(Unreadable::Meta) => "attributes",
            Self::Needle(Unreadable::Chunk(_)) => "data",
            Self::Footer => "footer",
            Self::HeaderCopy => "header_copy",
            Self::Part(_) => "part",
            Self::NotIndexed => "not_indexed",
            Self::NotInLog => "not_in_log",
            Self::Index => "index",
        }
    }

    /// Whether the index is wrong, and not the bytes on disk.
    #[must_use]
    pub fn is_of_index(self) -> bool {
        matches!(self, Self::NotIndexed | Self::NotInLog | Self::Index)
    }
}

/// Something that a scrub found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: a needle, a part, or a range of the log.
    pub at: Location,
    /// The object that it concerns, where that is known.
    pub id: Option<NeedleId>,
    /// What is wrong.
    pub flaw: Flaw,
    /// Whether the device could not read the place, instead of reading other bytes than were written.
    pub is_io: bool,
}
