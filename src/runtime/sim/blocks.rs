//! Which blocks of a file are allocated.

use std::ops::Range;

use super::page::PAGE;

/// Set of block numbers, as disjoint ranges in ascending order. A block is as long as a page (4096 bytes).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    ranges: Vec<Range<usize>>,
}

/// Returns the blocks that `len` bytes at `at` touch.
#[must_use]
pub fn touched(at: usize, len: usize) -> Range<usize> {
    at / PAGE..(at + len).div_ceil(PAGE)
}

impl Blocks {
    /// Number of blocks in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }

    /// Number of blocks of `wanted` that are not in the set.
    #[must_use]
    pub fn missing(&self, wanted: &Range<usize>) -> usize {
        let common = |range: &Range<usize>| {
            range.end.min(wanted.end).saturating_sub(range.start.max(wanted.start))
        };
        wanted.len() - self.ranges.iter().map(common).sum::<usize>()
    }

    /// Adds blocks.
    pub fn insert(&mut self, added: Range<usize>) {
        if self.missing(&added) == 0 {
            return;
        }
        let (mut start, mut end) = (added.start, added.end);
        // Ranges that touch become one, so that equal sets are equal values.
        self.ranges.retain(|range| {
            let is_apart = range.end < start || range.start > end;
            if !is_apart {
                (start, end) = (start.min(range.start), end.max(range.end));
            }
            is_apart
        });
        let at = self.ranges.partition_point(|range| range.start < start);
        self.ranges.insert(at, start..end);
    }

    /// Removes all blocks from `end` on.
    pub fn truncate(&mut self, end: usize) {
        self.ranges.retain(|range| range.start < end);
        if let Some(last) = self.ranges.last_mut() {
            last.end = last.end.min(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[Range<usize>]) -> Blocks {
        let mut blocks = Blocks::default();
        ranges.iter().for_each(|range| blocks.insert(range.clone()));
        blocks
    }

    #[test]
    fn blocks_are_counted_once_in_any_order() {
        let blocks = set(&[10..12, 4..6, 5..8, 0..1, 12..14]);
        assert_eq!(blocks.ranges, [0..1, 4..8, 10..14]);
        assert_eq!(blocks.count(), 9);
        assert_eq!(blocks, set(&[0..1, 10..14, 4..8]));
        assert_eq!(set(&[0..1, 4..8, 1..4]).ranges, vec![0..8]);
        assert_eq!(set(&[3..3, 5..5]), Blocks::default());
    }

    #[test]
    fn only_blocks_outside_the_set_are_missing() {
        let blocks = set(&[4..8, 10..14]);
        for (wanted, missing) in [(4..8, 0), (0..4, 4), (7..11, 2), (0..20, 12), (14..15, 1)] {
            assert_eq!(blocks.missing(&wanted), missing, "{wanted:?}");
        }
    }

    #[test]
    fn truncation_removes_blocks_at_and_after_the_end() {
        for (end, left) in [(20, 8), (12, 6), (10, 4), (5, 1), (4, 0)] {
            let mut blocks = set(&[4..8, 10..14]);
            blocks.truncate(end);
            assert_eq!(blocks.count(), left, "{end}");
        }
    }

    #[test]
    fn bytes_touch_whole_blocks() {
        assert_eq!(touched(0, 1), 0..1);
        assert_eq!(touched(PAGE - 1, 2), 0..2);
        assert_eq!(touched(2 * PAGE, PAGE), 2..3);
    }
}
