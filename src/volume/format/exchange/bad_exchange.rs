//! What is wrong with a stream of the exchange format.

use thiserror::Error;

/// What is wrong with a stream of the exchange format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadExchange {
    /// The first bytes are others.
    #[error("it is no stream of records")]
    Magic,
    /// The version is not known.
    #[error("it has version {0} of the format, which is not known here")]
    Version(u32),
    /// A checksum does not match.
    #[error("a checksum does not match")]
    Checksum,
    /// A field has a value that it cannot have.
    #[error("a record is impossible")]
    Impossible,
    /// A record does not follow the one before it.
    #[error("a record is not the next one")]
    Order,
    /// The stream ends before its last record.
    #[error("it was cut short")]
    Cut,
}
