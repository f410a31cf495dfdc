//! Parser of volume numbers on the command line.

use clap::builder::TypedValueParser;
use clap::value_parser;

use crate::base::types::VolumeId;

/// Returns the parser of a volume number. Its errors are those of any 32-bit number.
pub(super) fn volume_id() -> impl TypedValueParser<Value = VolumeId> {
    value_parser!(u32).map(VolumeId)
}
