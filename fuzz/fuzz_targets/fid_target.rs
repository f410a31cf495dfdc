//! See `hayloft_fuzz::fid_target`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hayloft_fuzz::fid_target::run(data));
