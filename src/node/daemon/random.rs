//! Random numbers, for ids, seeds and the runtimes of the threads.

/// A random number from the kernel (`getrandom(2)`).
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("getrandom(2) does not fail with a valid buffer");
    u64::from_le_bytes(bytes)
}
