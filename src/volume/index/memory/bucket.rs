//! A bucket, and processor-specific operations on it: prefetch, and comparison of all its entries at
//! once.
//!
//! A lookup waits for memory. The fewer instructions it takes, the more lookups a processor has in
//! flight. Therefore the code for each lookup is also compiled for processors with AVX2 and BMI, and the
//! variant is chosen at run time.
#![expect(unsafe_code, reason = "prefetches; calls what needs instructions that it has asked for")]

use super::super::layout::Entry;
use super::super::segment::BUCKET_LEN;

/// A cache line of entries.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket(pub [Entry; BUCKET_LEN]);

/// Starts loading a bucket into the cache.
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

/// A way to compare the entries of a bucket.
pub trait Compare: Copy {
    /// Returns one bit for each entry whose `compared` bits equal `wanted`. All entries are compared,
    /// because a mispredicted branch would cost more.
    fn matching(self, bucket: &Bucket, compared: Entry, wanted: Entry) -> u32;
}

/// Compares one entry after the other; for any processor.
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

/// Compares four entries at a time. A value exists only if the processor has AVX2, BMI1 and BMI2.
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
        // SAFETY: the processor has AVX2, since `self` exists.
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

/// An operation on buckets.
pub trait Work {
    /// Result of the operation.
    type Output;

    /// Runs the operation. Must be inlined, with everything that should be compiled for the chosen
    /// instructions.
    fn run(self, compare: impl Compare) -> Self::Output;
}

/// Runs an operation with the best instructions that the processor has.
#[inline]
pub fn best<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = Avx2::new() {
        // SAFETY: the processor has the features that the function is compiled for, since `avx2` exists.
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
        fn plain_and_best_comparison_find_the_same_matches(
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
