//! Kinds of records.

/// Kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// An object, with its attributes and its body.
    Object,
    /// A large object, with its attributes. Its body follows in pieces.
    LargeObject,
    /// A piece of the body of the large object before it.
    Piece,
    /// The end of a large object whose body is not complete: it was replaced or deleted meanwhile, or cannot
    /// be read. What came of it does not count.
    Withdrawn,
    /// The deletion of an object.
    Deletion,
    /// An object that lives and cannot be read.
    Damaged,
    /// The end of the stream.
    End,
}

impl ExchangeKind {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Object => 1,
            Self::LargeObject => 2,
            Self::Piece => 3,
            Self::Withdrawn => 4,
            Self::Deletion => 5,
            Self::Damaged => 6,
            Self::End => 7,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Object,
            2 => Self::LargeObject,
            3 => Self::Piece,
            4 => Self::Withdrawn,
            5 => Self::Deletion,
            6 => Self::Damaged,
            7 => Self::End,
            _ => return None,
        })
    }
}
