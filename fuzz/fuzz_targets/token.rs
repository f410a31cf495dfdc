//! See `hayloft_fuzz::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hayloft_fuzz::token::run(data));
