//! Shared test code: each encoder must accept exactly what its decoder accepts. Something that is encoded
//! and acknowledged but refused by the decoder is lost at the next start.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use super::rising::RISING_MAX;
use crate::base::limits::{BLOCK, COMMIT_LEN_MAX, LOG_START, VOLUME_SIZE_MAX};

/// Returns whether `encode` ends without a panic.
pub fn accepts(encode: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(encode)).is_ok()
}

/// A number, in most cases at the edge of the range of some field.
pub fn number() -> impl Strategy<Value = u64> {
    let edges = [
        0,
        1,
        BLOCK,
        LOG_START,
        LOG_START + BLOCK,
        LOG_START + 2 * BLOCK,
        COMMIT_LEN_MAX,
        VOLUME_SIZE_MAX,
        RISING_MAX,
        u64::MAX,
    ];
    let near = (prop::sample::select(edges.to_vec()), 0u64..5)
        .prop_map(|(edge, more)| edge.saturating_sub(2).saturating_add(more));
    let blocks = (0u64..40).prop_map(|blocks| blocks * BLOCK);
    prop_oneof![3 => prop::sample::select(edges.to_vec()), 3 => blocks, 2 => near, 1 => any::<u64>()]
}
