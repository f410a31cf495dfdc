//! See `hayloft_fuzz::gzip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hayloft_fuzz::gzip::run(data));
