//! See `hayloft_fuzz::chunked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hayloft_fuzz::chunked::run(data));
