//! A bucket, and what a processor can do with one: load it ahead, compare all its entries at once.
//!
//! A lookup waits for memory. The fewer instructions it takes, the more lookups a processor has under
//! way at once: so what is done for each is compiled for processors with AVX2 and BMI, too, and the
//! processor at hand is asked for them.
#![expect(unsafe_code, reason = "prefetches; calls what needs instructions that it has asked for")]

use super::super::layout::Entry;
use super::super::segment::BUCKET_LEN;

/// A cache line of entries.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket(pub [Entry; BUCKET_LEN]);

/// Begins to load a bucket into the cache.
#[inline]
pub fn prefetch(bucket: &Bucket) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; it reads and changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(bucket).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bucket;
}

/// A way to compare entries.
pub trait Compare: Copy {
    /// Which entries of a bucket have these compared bits: a bit for each. All are looked at, since a
    /// branch that is foreseen wrongly costs more.
    fn matching(self, bucket: &Bucket, compared: Entry, wanted: Entry) -> u32;
}

/// One after the other, as any processor can.
#[derive(Clone, Copy)]
pub struct Plain;

impl Compare for Plain {
    #[inline(always)]
    fn matching(self, bucket: &Bucket, compared: Entry, wanted: Entry) -> u32 {
        let mut set = 0;
        for (index, entry) in bucket.0.iter().enumerate() {
            set |= u32::from(entry & compared == wanted) << index;
        }
        set
    }
}

/// Four at a time. There is one only where the processor has AVX2, BMI1 and BMI2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    #[inline]
    fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        has.then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Compare for Avx2 {
    #[inline(always)]
    fn matching(self, bucket: &Bucket, compared: Entry, wanted: Entry) -> u32 {
        // SAFETY: the processor has AVX2, or there would be no `self`.
        unsafe { matching_avx2(bucket, compared, wanted) }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn matching_avx2(bucket: &Bucket, compared: Entry, wanted: Entry) -> u32 {
    use std::arch::x86_64::{
        _mm256_and_si256, _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_load_si256,
        _mm256_movemask_pd, _mm256_set1_epi64x,
    };
    let (first, second) = bucket.0.split_at(BUCKET_LEN / 2);
    let (compared, wanted) =
        (_mm256_set1_epi64x(compared.cast_signed()), _mm256_set1_epi64x(wanted.cast_signed()));
    let [first, second] = [first, second].map(|half| {
        // SAFETY: four entries, 32 bytes, and halves of a bucket are aligned to as many.
        let entries = unsafe { _mm256_load_si256(half.as_ptr().cast()) };
        let equal = _mm256_cmpeq_epi64(_mm256_and_si256(entries, compared), wanted);
        _mm256_movemask_pd(_mm256_castsi256_pd(equal)).cast_unsigned()
    });
    first | second << (BUCKET_LEN / 2)
}

/// Work on buckets.
pub trait Work {
    /// What comes of it.
    type Output;

    /// Does it. Must be inlined, with all that should be compiled for the processor at hand.
    fn run(self, compare: impl Compare) -> Self::Output;
}

/// Does work with the best instructions that the processor has.
#[inline]
pub fn best<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = Avx2::new() {
        // SAFETY: the processor has what the function is compiled for, since there is an `avx2`.
        return unsafe { run_avx2(work, avx2) };
    }
    work.run(Plain)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn run_avx2<W: Work>(work: W, avx2: Avx2) -> W::Output {
    work.run(avx2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Matching<'a>(&'a Bucket, Entry, Entry);

    impl Work for Matching<'_> {
        type Output = u32;

        fn run(self, compare: impl Compare) -> u32 {
            compare.matching(self.0, self.1, self.2)
        }
    }

    proptest! {
        #[test]
        fn all_ways_to_compare_agree(
            entries in prop::array::uniform8(prop_oneof![Just(0), 0_u64..4, any::<Entry>()]),
            compared in prop_oneof![Just(Entry::MAX), Just(3), Just(1 << 63), any::<Entry>()],
            at in 0..BUCKET_LEN,
        ) {
            let (bucket, wanted) = (Bucket(entries), entries[at] & compared);
            let expected = (0..).zip(entries).fold(0, |set, (index, entry)| {
                set | u32::from(entry & compared == wanted) << index
            });
            prop_assert_ne!(expected & 1 << at, 0);
            prop_assert_eq!(Plain.matching(&bucket, compared, wanted), expected);
            prop_assert_eq!(best(Matching(&bucket, compared, wanted)), expected);
        }
    }
}
