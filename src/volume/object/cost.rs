//! Space that objects take in the log.

use crate::base::limits::{ATTRIBUTES_MAX, CHUNK, UNIT};
use crate::volume::format::{NeedleLayout, manifest_len};
use crate::volume::log::forming::COMMIT_OVERHEAD;

/// Maximum space that a part of `len` bytes takes in the log (bytes).
pub fn part_cost(len: usize) -> u64 {
    NeedleLayout::data(0, len).len as u64 + COMMIT_OVERHEAD
}

/// Maximum space that a body of `len` bytes takes in the log, manifest included (bytes). Many short parts
/// take the most: an uneven length costs a part one more unit for rounding, and one more chunk in the
/// manifest.
pub fn body_cost(len: u64) -> u64 {
    let parts = len.div_ceil(CHUNK);
    let manifest = manifest_cost(to_usize(parts), to_usize(2 * parts));
    parts * (part_cost(to_usize(CHUNK)) + UNIT) + manifest
}

fn manifest_cost(parts: usize, chunks: usize) -> u64 {
    NeedleLayout::manifest(ATTRIBUTES_MAX, manifest_len(parts, chunks)).len as u64 + COMMIT_OVERHEAD
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("a body is at most 1 GiB long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Space taken by a body of `len` bytes in parts of the lengths `lens`, used in rotation (bytes).
    fn cost_of(len: u64, lens: &[u64]) -> u64 {
        let (mut rest, mut cost, mut parts, mut chunks) = (len, 0, 0, 0);
        for part in lens.iter().cycle() {
            let part = rest.min(*part);
            if part == 0 {
                break;
            }
            cost += part_cost(to_usize(part));
            parts += 1;
            chunks += to_usize(part.div_ceil(CHUNK));
            rest -= part;
        }
        cost + manifest_cost(parts, chunks)
    }

    proptest! {
        #[test]
        fn body_never_costs_more_than_its_reservation(
            len in 1u64..50 << 20,
            lens in prop::collection::vec((CHUNK..CHUNK + 2000).prop_union(CHUNK..1 << 20), 1..4),
        ) {
            prop_assert!(cost_of(len, &lens) <= body_cost(len));
        }
    }

    #[test]
    fn longest_bodies_never_cost_more_than_their_reservation() {
        for len in [1 << 30, (1 << 30) - 1, (1 << 30) - CHUNK + 1] {
            for part in [CHUNK, CHUNK + 1, CHUNK + 312, CHUNK + 313, CHUNK + 328, 1 << 20] {
                assert!(cost_of(len, &[part]) <= body_cost(len), "{len} bytes in {part}");
            }
        }
    }
}
