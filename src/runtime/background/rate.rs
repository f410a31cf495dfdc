//! Times of rates.

/// Time that `bytes` take at `rate` bytes per second (nanoseconds).
///
/// # Panics
/// If `rate` is 0.
pub(super) fn time_of(bytes: u64, rate: u64) -> u64 {
    let ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
    u64::try_from(ns).unwrap_or(u64::MAX)
}
