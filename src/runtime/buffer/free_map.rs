//! Which pages of a pool are free, and the search for a run of them.

/// Maximum length of a run that is taken from the low end of a pool (pages). Longer ones are taken from the
/// high end, so that request heads do not fragment the space that photos need.
const SMALL_RUN_PAGES: u32 = 4;

/// The free pages of a pool.
pub struct FreeMap {
    /// A set bit is a free page.
    words: Vec<u64>,
    pages: u32,
    /// No page below this one is free.
    lowest: u32,
    /// No run of this many or more pages is free. Makes a failing allocation, which is frequent under
    /// overload, cheap.
    absent_run: u32,
}

impl FreeMap {
    /// Creates a map of `pages` pages, all of them free.
    pub fn new(pages: u32) -> Self {
        let mut map = Self {
            words: vec![0; (pages as usize).div_ceil(64)],
            pages,
            lowest: pages,
            absent_run: 1,
        };
        map.set(0, pages, true);
        map
    }

    /// Marks a run of pages as free or taken.
    ///
    /// # Panics
    /// When a page of it is so already.
    pub fn set(&mut self, first: u32, count: u32, free: bool) {
        let (mut page, end) = (first, first + count);
        while page < end {
            let bit = page % 64;
            let run = (64 - bit).min(end - page);
            let mask = (u64::MAX >> (64 - run)) << bit;
            let word = &mut self.words[page as usize / 64];
            if free {
                assert!(*word & mask == 0, "a page was freed twice");
                *word |= mask;
            } else {
                assert!(*word & mask == mask, "a page was given out twice");
                *word &= !mask;
            }
            page += run;
        }
        if free {
            self.lowest = self.lowest.min(first);
            if self.absent_run <= self.pages {
                let run = self.next(first, false) - self.end_of_last(first, false);
                self.absent_run = self.absent_run.max(run + 1);
            }
        } else if first == self.lowest {
            self.lowest = end;
        }
    }

    /// Number of pages.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Number of free pages.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The word that contains a page, with a bit set for each page whose state is `free`.
    fn word(&self, page: u32, free: bool) -> u64 {
        let word = self.words[page as usize / 64];
        if free { word } else { !word }
    }

    /// The first page from `page` on whose state is `free`; the number of pages if there is none.
    fn next(&self, mut page: u32, free: bool) -> u32 {
        while page < self.pages {
            let rest = self.word(page, free) >> (page % 64);
            if rest != 0 {
                return (page + rest.trailing_zeros()).min(self.pages);
            }
            page = (page / 64 + 1) * 64;
        }
        self.pages
    }

    /// The page after the last page below `page` whose state is `free`; 0 if there is none.
    fn end_of_last(&self, mut page: u32, free: bool) -> u32 {
        while page > 0 {
            let below = page - 1;
            let rest = self.word(below, free) << (63 - below % 64);
            if rest != 0 {
                return page - rest.leading_zeros();
            }
            page = below / 64 * 64;
        }
        0
    }

    /// Takes a run of `count` pages and returns its first page.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        if count >= self.absent_run {
            return None;
        }
        let found =
            if count <= SMALL_RUN_PAGES { self.lowest_run(count) } else { self.highest_run(count) };
        match found {
            Some(first) => self.set(first, count, false),
            None => self.absent_run = count,
        }
        found
    }

    fn lowest_run(&self, count: u32) -> Option<u32> {
        let mut start = self.next(self.lowest, true);
        while start < self.pages {
            let end = self.next(start, false);
            if end - start >= count {
                return Some(start);
            }
            start = self.next(end, true);
        }
        None
    }

    fn highest_run(&self, count: u32) -> Option<u32> {
        let mut end = self.end_of_last(self.pages, true);
        while end > 0 {
            let start = self.end_of_last(end, false);
            if end - start >= count {
                return Some(end - count);
            }
            end = self.end_of_last(start, true);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_are_found_at_any_position_of_the_map() {
        for pages in [1, 63, 64, 65, 130, 200] {
            for count in 1..=pages {
                for gap in [0, 1, 62, 63, 64, 65] {
                    if gap + count > pages {
                        continue;
                    }
                    let mut map = FreeMap::new(pages);
                    map.set(0, pages, false);
                    map.set(gap, count, true);
                    assert_eq!(map.lowest_run(count), Some(gap));
                    assert_eq!(map.highest_run(count), Some(gap));
                    assert_eq!(map.lowest_run(count + 1), None);
                    assert_eq!(map.highest_run(count + 1), None);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn small_runs_are_taken_lowest_first_and_long_ones_highest(
            pages in 1..200u32,
            steps in prop::collection::vec((any::<bool>(), 1..40u32, any::<prop::sample::Index>()), 1..80),
        ) {
            let mut map = FreeMap::new(pages);
            let mut free = vec![true; pages as usize];
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (is_take, count, which) in steps {
                if !is_take && !held.is_empty() {
                    let (first, count) = held.swap_remove(which.index(held.len()));
                    map.set(first, count, true);
                    free[first as usize..][..count as usize].fill(true);
                    continue;
                }
                let mut runs = free.windows(count as usize).enumerate();
                let fits = |(_, run): &(usize, &[bool])| run.iter().all(|page| *page);
                let expected = match count <= SMALL_RUN_PAGES {
                    true => runs.find(fits),
                    false => runs.rev().find(fits),
                };
                let expected = expected.map(|(first, _)| u32::try_from(first).unwrap());
                prop_assert_eq!(map.take(count), expected, "{} of {:?}", count, free);
                if let Some(first) = expected {
                    free[first as usize..][..count as usize].fill(false);
                    held.push((first, count));
                }
            }
            for (first, count) in held {
                map.set(first, count, true);
            }
            prop_assert_eq!(map.take(pages), Some(0));
        }
    }

    #[test]
    fn failed_search_records_the_absent_length() {
        let mut map = FreeMap::new(100);
        let all: Vec<u32> = (0..20).map(|_| map.take(5).unwrap()).collect();
        assert_eq!(map.take(5), None);
        assert_eq!(map.absent_run, 5);
        map.set(all[7], 5, true);
        map.set(all[9], 5, true);
        assert_eq!(map.take(6), None);
        assert_eq!(map.absent_run, 6, "there are runs of 5 pages");
        map.set(all[8], 5, true);
        assert_eq!(map.absent_run, 16, "and now one of 15");
        assert_eq!(map.take(15), Some(all[9]));
    }

    #[test]
    fn refused_full_run_is_found_after_all_pages_are_free() {
        let mut map = FreeMap::new(100);
        let first = map.take(1).unwrap();
        assert_eq!(map.take(100), None);
        map.set(first, 1, true);
        assert_eq!(map.take(101), None);
        assert_eq!(map.take(100), Some(0));
    }

    #[test]
    #[should_panic = "a page was freed twice"]
    fn freeing_a_free_page_panics() {
        let mut map = FreeMap::new(70);
        map.take(70);
        map.set(60, 7, true);
        map.set(66, 2, true);
    }

    #[test]
    #[should_panic = "a page was given out twice"]
    fn taking_a_taken_page_panics() {
        let mut map = FreeMap::new(70);
        map.set(60, 7, false);
        map.set(66, 2, false);
    }

    proptest! {
        /// An allocation fails if and only if no run of that many free pages exists.
        #[test]
        fn allocation_fails_only_without_a_long_enough_run(
            pages in 1..200u32,
            steps in prop::collection::vec((any::<bool>(), 1..80u32), 1..200),
        ) {
            let mut map = FreeMap::new(pages);
            let mut free = vec![true; pages as usize];
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for (take, number) in steps {
                if take {
                    let wanted = number as usize;
                    let is_there = free.windows(wanted).any(|run| run.iter().all(|&free| free));
                    let found = map.take(number);
                    prop_assert_eq!(found.is_some(), is_there, "{} of {:?}", number, free);
                    let Some(first) = found else { continue };
                    let run = &mut free[first as usize..][..wanted];
                    prop_assert!(run.iter().all(|&free| free), "given out twice");
                    run.fill(false);
                    taken.push((first, number));
                } else if !taken.is_empty() {
                    let (first, count) = taken.swap_remove(number as usize % taken.len());
                    map.set(first, count, true);
                    free[first as usize..][..count as usize].fill(true);
                }
            }
        }
    }
}
