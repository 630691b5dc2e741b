//! Feeds [`linkgate_fuzz::canonical`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| linkgate_fuzz::canonical::check(input));
