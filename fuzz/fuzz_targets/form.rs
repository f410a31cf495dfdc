//! See `hayloft_fuzz::form`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hayloft_fuzz::form::run(data));
