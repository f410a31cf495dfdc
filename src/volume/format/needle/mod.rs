//! Needles: header, attributes, chunk checksums, data, padding, footer.
//!
//! - `kind`, `layout`: kinds of needles, and the sections of which they consist.
//! - `header`, `footer`, `attribute`: these sections. `attribute_set`: the attributes that this build knows.
//!   `expiry`: the first of them, and `renewal`: a change of it. `encode`: all of a needle around its data.
//! - `subject`: what is in the place of an id. `loss`: records of what a compaction could not carry over.
//! - `reseal`: moving a needle to another place.
//! - `verify`: checksums of a needle that was read.

mod attribute;
mod attribute_set;
mod encode;
mod expiry;
mod footer;
mod header;
mod kind;
mod layout;
mod loss;
mod renewal;
mod reseal;
mod spare;
mod subject;
#[cfg(test)]
mod tests;
mod verify;

pub use attribute::{Attribute, attribute_bytes, attributes};
pub use attribute_set::{AttributeSet, ClusterAttributes, UnfitAttributes};
pub use encode::{
    encode_before_data, encode_behind_data, encode_chunk_table, encode_chunk_table_before,
    encode_data_needle, encode_loss, encode_tombstone, put_chunk_table,
};
pub use expiry::{EXPIRY_LEN, ExpiryValue, expiry_of};
pub use footer::{Footer, footer_at};
pub use header::{NeedleHeader, decode_header};
pub use kind::Kind;
pub use layout::{FOOTER_LEN, HEADER_LEN, NeedleLayout};
pub use loss::Loss;
pub use renewal::{with_expiry, with_expiry_len_max};
pub use reseal::reseal;
pub use spare::{Spare, damaged_spare};
pub use subject::{EarlierRange, HASH_PREFIX_BITS, HashPrefix};
pub use verify::{Unreadable, verify_data, verify_meta, verify_range};
