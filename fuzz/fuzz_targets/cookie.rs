//! Feeds [`linkgate_fuzz::cookie`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| linkgate_fuzz::cookie::check(input));
