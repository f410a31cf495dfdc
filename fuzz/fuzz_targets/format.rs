//! See `hayloft_fuzz::format`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hayloft_fuzz::format::run(data));
